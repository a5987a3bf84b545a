"""bc-LSTM: an LSTM reads the dialogue once per modality, another one reads what they found.

Poria, Cambria, Hazarika, Majumder, Zadeh & Morency (2017a): Context-Dependent Sentiment Analysis in User-Generated
Videos. ACL.

Each modality has an LSTM over the dialogue that turns the vector of an utterance into one that knows its context; it
is trained on the labels. A second LSTM reads the contextual vectors of the modalities side by side and decides. The
paper calls this hierarchical fusion.

Kept: both levels, both directions, a loss for each LSTM of the first level. Simplified: the paper trains the first
level and then the second, here all is trained at once; its text CNN and openSMILE statistics are replaced by our
common encoder. One modality: the first level alone, as in the paper. Context: the whole dialogue, later turns too;
without `bidirectional` (the paper's sc-LSTM) only the turns before.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mer_lib.features.batches import Batch
from mer_lib.losses import unimodal_auxiliary_loss
from mer_lib.model import Output, Recurrent, classifier
from mer_lib.systems.dialogue import UtteranceEncoder, dialogues, padded
from mer_lib.systems.parts import SystemConfig


@dataclass(frozen=True)
class BcLstmConfig(SystemConfig):
    """Options of bc-LSTM.

    Attributes:
        bidirectional: Whether turns are also read backwards; False is the paper's sc-LSTM.
    """

    bidirectional: bool = True


class BcLstm(nn.Module):
    """Two levels of LSTMs over the dialogue."""

    context = True

    def __init__(self, config: BcLstmConfig, features: int, vectors: Tensor) -> None:
        super().__init__()
        self.config = config
        names, dim, drop, both = config.modalities, config.dim, config.dropout, config.bidirectional
        self.encode = UtteranceEncoder(names, features, vectors, dim, drop)
        self.first = nn.ModuleDict({m: Recurrent(dim, dim, "lstm", both) for m in names})
        self.heads = nn.ModuleDict({m: classifier(dim, dim, drop, config.classes) for m in names})
        if len(names) > 1:
            self.second = Recurrent(len(names) * dim, dim, "lstm", both)
            self.classify = classifier(dim, dim, drop, config.classes)

    def forward(self, batch: Batch) -> Output:
        """Classify the utterances of whole dialogues."""
        where, mask = dialogues(batch.place)
        row, turn = where.T
        first = {m: self.first[m](padded(x, where, mask), mask) for m, x in self.encode(batch).items()}
        unimodal = {m: self.heads[m](turns[row, turn]) for m, turns in first.items()}
        if len(first) == 1:
            (logits,) = unimodal.values()
            return Output(logits)
        second = self.second(torch.cat(list(first.values()), -1), mask)
        losses = {"unimodal": unimodal_auxiliary_loss(unimodal, batch.label)}
        return Output(self.classify(second[row, turn]), losses, unimodal)
