"""DANN: recognise the emotion while unlearning who speaks.

Lian, Tao, Liu, Huang, Yang & Li (2020): Context-Dependent Domain Adversarial Neural Network for Multimodal Emotion
Recognition. Interspeech. The gradient reversal is that of Ganin & Lempitsky (2015).

A context encoder reads the fused voice and words of the dialogue. One head reads the emotion from its vectors, another
the speaker; the gradient of the second is turned round before it reaches the encoder, which so learns to hide the
speaker, in the hope that what is left also holds for strangers.

Kept: fusion, context, both heads, the reversal. Simplified: the paper also trains on unlabelled data (its abstract
does not say whose), here nobody sees the test split; the reversal has one strength from the first step on; our encoder
replaces the paper's features. One modality: nothing to fuse, the rest stays. Context: the whole dialogue, later turns
too; the speaker's number is only used in the loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mer_lib.features.batches import Batch
from mer_lib.model import Output, classifier
from mer_lib.systems.dialogue import AttentionFusion, ContextEncoder, UtteranceEncoder, dialogues, padded
from mer_lib.systems.parts import SystemConfig


@dataclass(frozen=True)
class DannConfig(SystemConfig):
    """Options of DANN.

    Attributes:
        reversal: What the gradient of the speaker head is multiplied by, with the sign turned, on its way to the
            encoder. Our choice.
        speakers: Classes of the speaker head. People whose numbers differ by a multiple share a class: in corpora of
            at most so many speakers (IEMOCAP, MSP-IMPROV, Duet) each has one of their own, in MELD groups do.
    """

    reversal: float = 0.1
    speakers: int = 16


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradient, None


def reverse(x: Tensor, strength: float) -> Tensor:
    """Return `x`; the gradient comes back times `-strength`. Source: Ganin & Lempitsky (2015), equations 7 and 8."""
    return _Reversal.apply(x, strength)


class Dann(nn.Module):
    """A context encoder with an emotion head and, behind a gradient reversal, a speaker head."""

    context = True

    def __init__(self, config: DannConfig, features: int, vectors: Tensor) -> None:
        super().__init__()
        self.config = config
        dim, drop = config.dim, config.dropout
        self.encode = UtteranceEncoder(config.modalities, features, vectors, dim, drop)
        self.fuse = AttentionFusion(config.modalities, dim)
        self.read = ContextEncoder(dim, dim, drop)
        self.classify = classifier(dim, dim, drop, config.classes)
        self.speaker = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, config.speakers))

    def forward(self, batch: Batch) -> Output:
        """Classify the utterances of whole dialogues."""
        where, mask = dialogues(batch.place)
        row, turn = where.T
        fused, _ = self.fuse(self.encode(batch))
        turns = self.read(padded(fused, where, mask), mask)[row, turn]
        return Output(self.classify(turns), {"speaker": self._speaker_loss(turns, batch.place)})

    def _speaker_loss(self, turns: Tensor, place: Tensor) -> Tensor:
        """How badly the speaker head does: it makes this smaller, the encoder makes it larger."""
        logits = self.speaker(reverse(turns, self.config.reversal))
        return F.cross_entropy(logits, place[:, 2] % self.config.speakers)
