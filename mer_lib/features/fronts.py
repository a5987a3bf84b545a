"""What of a pretrained encoder learns together with a system: a weighted sum of its layers, or its top layers.

Shown in chapter 06.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from mer_lib.features.batches import Batch
from mer_lib.features.pretrained import ALL, Encoder, EncoderError, Pretrained, SpeechEncoder, TextEncoder


class LayerSum(nn.Module):
    """A weighted sum of all layers: h = sum_k softmax(w)_k h_k, at first their mean.

    Source: Peters et al. (2018), without their common factor, which the linear layer behind it can learn;
    for speech Yang et al. (2021). Shown in chapter 06.

    Args:
        layers: How many hidden states there are to weigh.
    """

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(layers))

    @property
    def weights(self) -> Tensor:
        """What each layer counts, (layers,); they sum to 1."""
        return self.scores.softmax(0)

    def forward(self, states: Tensor) -> Tensor:
        """(..., layers, width) to (..., width)."""
        return torch.einsum("...kd,k->...d", states, self.weights)


class TopLayers(nn.Module):
    """A pretrained encoder of which only the top layers learn.

    The rest stays as it was pretrained: no gradient, no dropout. So does everything beside the layers, such as
    embeddings, convolutions and the last norm. Lower layers are computed again in every step, which costs as much as
    extracting the corpus once per epoch.

    Args:
        encoder: On whatever device it runs; what comes out is on the processor, where systems are.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder.requires_grad_(False)
        self.learning = _layers(encoder)[encoder.number - encoder.asked.top : encoder.number]
        for layer in self.learning:
            layer.requires_grad_(True)

    def train(self, mode: bool = True) -> TopLayers:
        """Switch dropout on in the layers that learn, and nowhere else."""
        super().train(mode)
        self.encoder.eval()
        for layer in self.learning:
            layer.train(mode)
        return self

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, samples) or (batch, ids), with a mask, to (batch, time, ..., width) and its mask (batch, time)."""
        found = [row.cpu() for row in self.encoder.vectors([row[seen] for row, seen in zip(x, mask, strict=True)])]
        lengths = torch.tensor([len(row) for row in found])
        return pad_sequence(found, batch_first=True), torch.arange(int(lengths.max())) < lengths[:, None]


def _layers(encoder: Encoder) -> list[nn.Module]:
    """The layers of an encoder, lowest first."""
    for name, module in encoder.model.named_modules():
        if name.split(".")[-1] in ("layer", "layers") and len(list(module.children())) == encoder.home.layers:
            return list(module.children())
    raise EncoderError(f"Nobody knows where the layers of {encoder.asked.name} are; use it frozen, with top=0.")


class Fronted(nn.Module):
    """A system behind pretrained encoders of which something learns with it. The system sees an ordinary batch.

    Args:
        asked: Modality to its encoder.
        system: Takes a `Batch`.
        device: Where encoders run whose top layers learn.
    """

    def __init__(self, asked: dict[str, Pretrained], system: nn.Module, device: str | None = None) -> None:
        super().__init__()
        self.system = system
        kinds: dict[str, Any] = {"audio": SpeechEncoder, "text": TextEncoder}
        self.tops = nn.ModuleDict({m: TopLayers(kinds[m](a, device)) for m, a in asked.items() if a.top})
        self.sums = nn.ModuleDict({m: LayerSum(a.home().layers + 1) for m, a in asked.items() if a.layer == ALL})

    @property
    def context(self) -> bool:
        """Whether the system reads the dialogue around an utterance."""
        return getattr(self.system, "context", False)

    def forward(self, batch: Batch) -> Any:
        """Do what the system does with a batch."""
        for m in ("audio", "text"):
            x, mask = getattr(batch, m), batch.mask(m)
            if m in self.tops:
                x, mask = self.tops[m](x, mask)
            if m in self.sums:
                x = self.sums[m](x)
            batch = replace(batch, **{m: x, f"{m}_mask": mask})
        return self.system(batch)


def fronted(system: nn.Module, asked: dict[str, Pretrained]) -> nn.Module:
    """Put in front of a system what learns with it; the system itself if nothing does."""
    learning = {m: encoder for m, encoder in asked.items() if encoder.learns}
    return Fronted(learning, system) if learning else system


def pretrained_parameters(system: nn.Module) -> list[nn.Parameter]:
    """The parameters of a system that were pretrained and learn on."""
    tops = [module for module in system.modules() if isinstance(module, TopLayers)]
    return [p for top in tops for layer in top.learning for p in layer.parameters()]
