"""CATF-LSTM: attention weighs the modalities of an utterance, then the utterances of the dialogue.

Poria, Cambria, Hazarika, Mazumder, Zadeh & Morency (2017b): Multi-level Multiple Attentions for Contextual Multimodal
Sentiment Analysis. ICDM.

An LSTM reads the dialogue, and at each turn attention looks through its states for the turns that matter (CAT-LSTM).
One such network per modality makes contextual vectors; attention over the modalities fuses them (AT-Fusion); a last
one reads the fused vectors and decides.

Kept: both attentions, both levels, a loss for each network of the first level. Simplified: all is trained at once,
not level by level; the paper has weights of its own for the attention at each position, here the state of the turn
asks, so that dialogues may have any length; our common encoder replaces the paper's features. We knew the equations
of CAT-LSTM from memory and could not check them. One modality: one CAT-LSTM. Context: the LSTM reads the turns before,
the attention all turns of the dialogue.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from mer_lib.features.batches import Batch
from mer_lib.losses import unimodal_auxiliary_loss
from mer_lib.model import Output, Recurrent, classifier
from mer_lib.systems.dialogue import AttentionFusion, UtteranceEncoder, dialogues, padded
from mer_lib.systems.parts import SystemConfig


@dataclass(frozen=True)
class CatfLstmConfig(SystemConfig):
    """Options of CATF-LSTM: none of its own."""


class CatLstm(nn.Module):
    """An LSTM whose every step also sees a weighted mean r of all states: h* = tanh(W_p r + W_x h)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.recurrent = Recurrent(dim, dim, "lstm", bidirectional=False)
        self.state, self.query = nn.Linear(dim, dim), nn.Linear(dim, dim, bias=False)
        self.score = nn.Linear(dim, 1, bias=False)
        self.mean, self.own = nn.Linear(dim, dim), nn.Linear(dim, dim, bias=False)

    def forward(self, table: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(dialogues, turns, d) and its mask to the same, and the weights (dialogues, turns, turns looked at)."""
        states = self.recurrent(table, mask)
        scores = self.score((self.query(states)[:, :, None] + self.state(states)[:, None]).tanh()).squeeze(-1)
        weights = scores.masked_fill(~mask[:, None], float("-inf")).softmax(-1)
        return (self.mean(weights @ states) + self.own(states)).tanh(), weights


class CatfLstm(nn.Module):
    """CAT-LSTMs for each modality, AT-Fusion, a CAT-LSTM for what is fused."""

    context = True

    def __init__(self, config: CatfLstmConfig, features: int, vectors: Tensor) -> None:
        super().__init__()
        self.config = config
        names, dim, drop = config.modalities, config.dim, config.dropout
        self.encode = UtteranceEncoder(names, features, vectors, dim, drop)
        self.first = nn.ModuleDict({m: CatLstm(dim) for m in names})
        self.heads = nn.ModuleDict({m: classifier(dim, dim, drop, config.classes) for m in names})
        if len(names) > 1:
            self.fuse = AttentionFusion(names, dim)
            self.second = CatLstm(dim)
            self.classify = classifier(dim, dim, drop, config.classes)

    def forward(self, batch: Batch) -> Output:
        """Classify the utterances of whole dialogues."""
        where, mask = dialogues(batch.place)
        row, turn = where.T
        encoded = self.encode(batch)
        first = {m: self.first[m](padded(x, where, mask), mask)[0][row, turn] for m, x in encoded.items()}
        unimodal = {m: self.heads[m](x) for m, x in first.items()}
        if len(first) == 1:
            (logits,) = unimodal.values()
            return Output(logits)
        fused, _ = self.fuse(first)
        second, _ = self.second(padded(fused, where, mask), mask)
        losses = {"unimodal": unimodal_auxiliary_loss(unimodal, batch.label)}
        return Output(self.classify(second[row, turn]), losses, unimodal)
