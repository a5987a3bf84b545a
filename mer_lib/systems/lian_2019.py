"""Lian 2019: fuse voice and words by attention, then read the dialogue knowing who speaks.

Lian, Tao, Liu & Huang (2019): Conversational Emotion Analysis via Attention Mechanisms. Interspeech.

Attention weighs the audio and the text vector of an utterance. A bidirectional GRU with self-attention reads the fused
vectors of the dialogue. An embedding of the speaker is a further input, so that the network can follow each person.

Kept: all three parts. Simplified: our common encoder replaces the paper's acoustic and lexical features; speakers are
numbered within their dialogue in the order in which they speak, since nobody in the test split speaks in training.
One modality: nothing to fuse, the rest stays. Context: the whole dialogue, later turns too, and who speaks when.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mer_lib.features.batches import Batch
from mer_lib.model import Output, classifier
from mer_lib.systems.dialogue import AttentionFusion, ContextEncoder, UtteranceEncoder, dialogues, padded, speakers
from mer_lib.systems.parts import SystemConfig


@dataclass(frozen=True)
class Lian2019Config(SystemConfig):
    """Options of Lian 2019.

    Attributes:
        speakers: Number of speaker embeddings; in a dialogue of more people, the later ones share the last.
    """

    speakers: int = 8


class Lian2019(nn.Module):
    """Attention fusion, speaker embeddings, a GRU with self-attention over the dialogue."""

    context = True

    def __init__(self, config: Lian2019Config, features: int, vectors: Tensor) -> None:
        super().__init__()
        self.config = config
        dim, drop = config.dim, config.dropout
        self.encode = UtteranceEncoder(config.modalities, features, vectors, dim, drop)
        self.fuse = AttentionFusion(config.modalities, dim)
        self.who = nn.Embedding(config.speakers, dim)
        nn.init.normal_(self.who.weight, std=0.1)  # with 1, as PyTorch begins, who speaks drowns what is said
        self.read = ContextEncoder(2 * dim, dim, drop)
        self.classify = classifier(dim, dim, drop, config.classes)

    def forward(self, batch: Batch) -> Output:
        """Classify the utterances of whole dialogues."""
        where, mask = dialogues(batch.place)
        row, turn = where.T
        fused, _ = self.fuse(self.encode(batch))
        who = self.who(speakers(batch.place).clamp_max(self.config.speakers - 1))
        turns = self.read(padded(torch.cat([fused, who], -1), where, mask), mask)
        return Output(self.classify(turns[row, turn]))
