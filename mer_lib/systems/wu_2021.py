"""Wu 2021: one branch hears each word while it is spoken, another reads the sentences around.

Wu, Zhang & Woodland (2021): Emotion Recognition by Fusing Time Synchronous and Time Asynchronous Representations.
ICASSP.

The time synchronous branch puts the vector of the current word beside each frame of sound, looks at neighbouring
frames and pools by several attentions at once. The time asynchronous branch pools the vectors of the sentence and of
its neighbours in the dialogue. A layer on both vectors decides.

Kept: both branches, pooling with several heads, the second branch reads text alone. Simplified: two convolutions
instead of the deeper time delay network; where a word is spoken is guessed from its place in the text, since there is
no forced alignment; means of word vectors instead of BERT's sentence vectors; how many neighbours is our choice, and
the second branch is not told which sentence is the utterance's own, nor how far off another one is. One modality:
audio alone has the first branch on frames of sound and no context; text alone has both branches, the first on words.
Context: the words, never the sound, of `neighbours` turns before and after.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mer_lib.features.batches import Batch
from mer_lib.model import ConvBlock, Output, classifier, frame_spans, pool
from mer_lib.systems.dialogue import dialogues, padded
from mer_lib.systems.parts import SystemConfig, level


@dataclass(frozen=True)
class Wu2021Config(SystemConfig):
    """Options of Wu 2021.

    Attributes:
        heads: Attentions that pool side by side.
        neighbours: Sentences read before and after the one in question.
    """

    heads: int = 5
    neighbours: int = 3


class MultiHeadPool(nn.Module):
    """Several weighted means over time, side by side, mapped to width d. Source: Lin et al. (2017)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, heads, bias=False))
        self.out = nn.Linear(heads * dim, dim)

    def forward(self, sequence: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, time, d) and (batch, time) to (batch, d) and the weights (batch, heads, time), which sum to 1."""
        scores = self.score(sequence).masked_fill(~mask[..., None], float("-inf"))
        weights = scores.softmax(1).transpose(1, 2)
        return self.out((weights @ sequence).flatten(1)), weights


def word_of_step(batch: Batch) -> Tensor:
    """Number of the word that is spoken in the middle of each step of sound, or next to it: (batch, steps)."""
    middle = frame_spans(batch.audio_mask).mean(-1)[:, :, None]
    begin, end = batch.text_span[:, None].unbind(-1)
    outside = (begin - middle).clamp_min(0) + (middle - end).clamp_min(0)
    return outside.masked_fill(~batch.text_mask[:, None], float("inf")).argmin(-1)


def around(where: Tensor, mask: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """The turns from `reach` before to `reach` after each utterance, (batch, 2 reach + 1), and which there are."""
    turns = where[:, 1:] + torch.arange(-reach, reach + 1)
    there = (turns >= 0) & (turns < mask.sum(1)[where[:, :1]])
    return turns.clamp(0, mask.shape[1] - 1), there


class Wu2021(nn.Module):
    """A time synchronous branch on the utterance, a time asynchronous branch on the sentences around it."""

    context = True

    def __init__(self, config: Wu2021Config, features: int, vectors: Tensor) -> None:
        super().__init__()
        self.config = config
        names, dim, drop = config.modalities, config.dim, config.dropout
        self.context = "text" in names
        self.embed = level(names, features, vectors, dim, drop)
        self.join = nn.Linear(len(names) * dim, dim)
        self.convs = nn.ModuleList(ConvBlock(dim, drop) for _ in range(2))
        self.pool_steps = MultiHeadPool(dim, config.heads)
        if self.context:
            self.sentence = nn.Sequential(nn.Linear(dim, dim), nn.ReLU())
            self.pool_sentences = MultiHeadPool(dim, config.heads)
        self.classify = classifier((1 + self.context) * dim, dim, drop, config.classes)

    def forward(self, batch: Batch) -> Output:
        """Classify the utterances of whole dialogues."""
        embedded = {m: self.embed[m](getattr(batch, m)) for m in self.config.modalities}
        found = [self._synchronous(embedded, batch)]
        if self.context:
            found.append(self._asynchronous(embedded["text"], batch))
        return Output(self.classify(torch.cat(found, -1)))

    def _synchronous(self, embedded: dict[str, Tensor], batch: Batch) -> Tensor:
        """Each step of sound beside its word, modality to (batch, time, d), to (batch, d)."""
        steps, mask = list(embedded.values()), batch.mask(next(iter(embedded)))
        if len(embedded) == 2:
            steps = [embedded["audio"], embedded["text"].take_along_dim(word_of_step(batch)[..., None], 1)]
            mask = batch.audio_mask
        hidden = self.join(torch.cat(steps, -1))
        for conv in self.convs:
            hidden = conv(hidden, mask)
        return self.pool_steps(hidden, mask)[0]

    def _asynchronous(self, words: Tensor, batch: Batch) -> Tensor:
        """The sentences around each utterance, from words (batch, words, d), to (batch, d)."""
        where, mask = dialogues(batch.place)
        sentences = padded(self.sentence(pool(words, batch.text_mask)), where, mask)
        turns, there = around(where, mask, self.config.neighbours)
        return self.pool_sentences(sentences[where[:, :1], turns], there)[0]
