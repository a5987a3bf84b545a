"""MCTN: multimodal cyclic translation network (Pham, Liang, Manzini, Morency & Póczos 2019, AAAI).

A sequence-to-sequence network translates a source modality into a target modality, and what it produced back into the
source. The encoding on the way, which must know enough to make the target up, is classified. The target is needed in
training only: a prediction reads the source alone.

Kept: the cycle with one encoder and one decoder for both directions, squared errors with weight 0.1, classification
from the source's encoding. Changed: an error is divided by the mean square of its target, since word vectors are such
small numbers that their error would count for nothing. Simplified: the decoder attends to the encoding and knows where
in the utterance each step of the target lies, but does not read the steps it wrote before: no loop over time, no
teacher to force. Our choice.

`modalities` are the sources, all that is seen at test; training always reads both, as the target of the other. So A
and T of the deck's Table 5 are the paper's own system, with audio or with text as the source. The paper has no A+T
without a third modality to translate into; here each is translated into the other, and both encodings are classified
together (our reading). Sees one utterance: no context.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mer_lib.features.batches import Batch
from mer_lib.model import MODALITIES, Attention, Output, Recurrent, classifier, embeddings, frame_spans
from mer_lib.systems.parts import SystemConfig, pooled, squared_error


@dataclass(frozen=True)
class MCTNConfig(SystemConfig):
    """Options of MCTN; its `modalities` are the sources.

    Attributes:
        translation: Weight of the error of the translated target.
        cycle: Weight of the error of the source that was translated back.
    """

    translation: float = 0.1
    cycle: float = 0.1


class MCTN(nn.Module):
    """Source to target to source; the source's encoding is classified. Shown in chapter 13."""

    def __init__(self, config: MCTNConfig, features: int, vectors: Tensor) -> None:
        super().__init__()
        self.config = config
        dim, drop = config.dim, config.dropout
        self.embed = embeddings(MODALITIES, features, vectors, dim, drop)
        self.encoder, self.decoder = Recurrent(dim, dim, "lstm"), Recurrent(dim, dim, "lstm")
        self.place, self.attention = nn.Linear(2, dim), Attention(dim, 4, drop)
        width = {"audio": features, "text": vectors.shape[1]}
        self.write = nn.ModuleDict({m: nn.Linear(dim, width[m]) for m in MODALITIES})
        self.classify = classifier(len(config.modalities) * dim, dim, drop, config.classes)

    def forward(self, batch: Batch) -> Output:
        """Classify a batch; the translations are made in training only."""
        encoded = {m: self.encode(m, self.given(m, batch), batch) for m in self.config.modalities}
        logits = self.classify(torch.cat(list(pooled(encoded, batch).values()), -1))
        losses = self._losses(encoded, batch) if self.training else {}
        return Output(logits, losses, encoded=encoded)

    def given(self, modality: str, batch: Batch) -> Tensor:
        """What there is to translate, (batch, time, width): audio features, or fixed word vectors."""
        return batch.audio if modality == "audio" else self.embed["text"][0](batch.text)

    def encode(self, modality: str, x: Tensor, batch: Batch) -> Tensor:
        """(batch, time, width), given or made up, to (batch, time, d)."""
        embed = self.embed["audio"] if modality == "audio" else self.embed["text"][1:]
        return self.encoder(embed(x), batch.mask(modality))

    def translate(self, source: str, encoded: Tensor, target: str, batch: Batch) -> Tensor:
        """The encoding of the source, (batch, time, d), to a made-up target, (batch, time of target, width)."""
        spans = frame_spans(batch.audio_mask) if target == "audio" else batch.text_span
        asked, _ = self.attention(self.place(spans), encoded, batch.mask(source))
        return self.write[target](self.decoder(asked, batch.mask(target)))

    def _losses(self, encoded: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Errors of the targets, and of the sources after the whole cycle; weighted."""
        there, back = [], []
        for source, encoding in encoded.items():
            target = "text" if source == "audio" else "audio"
            made_up = self.translate(source, encoding, target, batch)
            returned = self.translate(target, self.encode(target, made_up, batch), source, batch)
            there.append(relative_error(made_up, self.given(target, batch), batch.mask(target)))
            back.append(relative_error(returned, self.given(source, batch), batch.mask(source)))
        return {
            "translation": self.config.translation * torch.stack(there).mean(),
            "cycle": self.config.cycle * torch.stack(back).mean(),
        }


def relative_error(predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error over what the mask shows; 1 for who writes zeros, whatever the scale of the target."""
    size = squared_error(torch.zeros_like(target), target, mask)
    return squared_error(predicted, target, mask) / size.clamp_min(1e-9)
