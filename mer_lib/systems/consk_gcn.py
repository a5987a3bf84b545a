"""CONSK-GCN: turns that mean alike, or feel alike, talk to each other over a graph.

Fu, Okada, Wang, Guo, Song, Liu & Dang (2021): CONSK-GCN: Conversational Semantic- and Knowledge-Oriented Graph
Convolutional Network for Multimodal Emotion Recognition. ICME. Compared with the authors' code (fuyahuii/ConSK-GCN).

A bidirectional LSTM reads the dialogue. Its states are the nodes of a graph with edges to the turns within a window,
one kind of edge for each pair of same or other speaker, up to now or later. An edge weighs more where two turns mean
alike (semantic affinity) and where their emotional words do (knowledge affinity); a relational graph convolution passes
messages along the edges.

Kept: sequence encoder, window, both affinities, kinds of edges, a decision from node and message. Simplified: the
paper takes its knowledge from ConceptNet and the NRC-VAD lexicon, here word vectors are weighted by the affect that a
small lexicon of our own gives them, without a learned map; the authors' code multiplies the knowledge affinity by 10
and leaves it as it is, here that factor stands within a softmax, so that the edges from a turn still sum to 1;
speakers are same or other, so that any number may talk; one layer each. One modality: audio alone has no words to
know, so only semantic affinity is left; text alone lacks nothing. Context: the LSTM reads the whole dialogue, the
graph `window` turns before and after, and who speaks when.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mer_lib.features.batches import Batch
from mer_lib.model import Output, Recurrent, Words, classifier, pool
from mer_lib.systems.dialogue import UtteranceEncoder, dialogues, padded
from mer_lib.systems.parts import SystemConfig

LEXICON = {
    (0.95, 0.85): "excited thrilled overjoyed ecstatic amazing fantastic exciting love awesome incredible celebrate",
    (0.90, 0.60): "happy glad delighted joy wonderful great smile laugh laughing fun lovely beautiful proud cheerful",
    (0.80, 0.30): "grateful thankful calm peaceful pleased relaxed nice gentle warm comfortable hope kind good",
    (0.50, 0.10): "okay fine ordinary usual normal quiet plain average",
    (0.25, 0.25): "tired lonely empty lost bored dull regret miss alone disappointed",
    (0.10, 0.35): "sad unhappy sorry cry cried crying tears grief mourn miserable hopeless heartbroken depressed died",
    (0.15, 0.75): "afraid scared worried nervous terrified fear awful terrible horrible hurt pain bad worst",
    (0.10, 0.90): "angry mad furious rage hate shout shouted scream yelled stupid damn disgusting outrageous unfair",
}
"""Valence and arousal, from 0 to 1, and words that carry them: our own judgement, plain English."""

KINDS = 4

SHARPNESS = 10.0
"""Of the knowledge affinity, before the softmax: without it, all edges would weigh nearly the same.

The semantic affinity has no such factor, as in the authors' code: its weights differ by a factor e at most."""


@dataclass(frozen=True)
class ConskGcnConfig(SystemConfig):
    """Options of CONSK-GCN.

    Attributes:
        window: Turns before and after that a turn has edges to.
        knowledge: Share of the knowledge affinity in an edge; the semantic affinity has the rest.
    """

    window: int = 10
    knowledge: float = 0.5


def affect(words: Sequence[str]) -> Tensor:
    """How far each word is from a calm and neutral one, 0 to 1, (words,); 0 for words that `LEXICON` lacks.

    |(valence - 1/2, arousal / 2)|, scaled to 1 at the strongest corner. Source: Zhong et al. (2019), affectiveness.
    """
    of = {word: math.hypot(v - 0.5, a / 2) * math.sqrt(2) for (v, a), line in LEXICON.items() for word in line.split()}
    return torch.tensor([of.get(word, 0.0) for word in words])


def alike(x: Tensor, y: Tensor) -> Tensor:
    """1 - angle / pi between all pairs: (batch, n, d) and (batch, m, d) to (batch, n, m), from 0 to 1."""
    cosine = F.normalize(x, dim=-1) @ F.normalize(y, dim=-1).transpose(1, 2)
    return 1 - cosine.clamp(-0.9999, 0.9999).acos() / math.pi  # the slope of acos is infinite at the ends


class RelationalGraph(nn.Module):
    """One relational graph convolution: h_i = ReLU(W g_i + sum_j a_ij W_kind(ij) g_j).

    Source: Schlichtkrull et al. (2018), equation 2, with weights on the edges.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.own = nn.Linear(dim, dim)
        self.message = nn.Linear(dim, KINDS * dim, bias=False)

    def forward(self, nodes: Tensor, weights: Tensor, kinds: Tensor) -> Tensor:
        """(dialogues, turns, d), weights and kinds of edges (dialogues, turns, turns), to (dialogues, turns, d)."""
        messages = self.message(nodes).unflatten(-1, (KINDS, -1)).transpose(1, 2)
        edges = weights.unsqueeze(1) * F.one_hot(kinds, KINDS).movedim(-1, 1)
        return (self.own(nodes) + (edges @ messages).sum(1)).relu()


class ConskGcn(nn.Module):
    """An LSTM over the dialogue, then messages between turns that are alike.

    `words` are those that the rows of `vectors` belong to; without them, nothing is known about any word.
    """

    context = True
    reads_words = True

    def __init__(self, config: ConskGcnConfig, features: int, vectors: Tensor, words: Sequence[str] = ()) -> None:
        super().__init__()
        self.config = config
        names, dim, drop = config.modalities, config.dim, config.dropout
        self.encode = UtteranceEncoder(names, features, vectors, dim, drop)
        self.read = Recurrent(len(names) * dim, dim, "lstm")
        self.similar = nn.Linear(dim, dim, bias=False)
        self.graph = RelationalGraph(dim)
        self.classify = classifier(2 * dim, dim, drop, config.classes)
        if "text" in names:
            known = vectors * affect(words)[:, None] if len(words) else torch.zeros_like(vectors)
            self.knowledge = Words.from_pretrained(known, freeze=True)  # a pretrained encoder's vectors stand for it

    def forward(self, batch: Batch) -> Output:
        """Classify the utterances of whole dialogues."""
        where, mask = dialogues(batch.place)
        row, turn = where.T
        nodes = self.read(padded(torch.cat(list(self.encode(batch).values()), -1), where, mask), mask)
        passed = self.graph(nodes, self.weights(nodes, batch), kinds(batch.place))
        return Output(self.classify(torch.cat([passed, nodes], -1)[row, turn]))

    def weights(self, nodes: Tensor, batch: Batch) -> Tensor:
        """Weights of the edges from each turn, (dialogues, turns, turns), which sum to 1 over its window."""
        where, mask = dialogues(batch.place)
        hidden = ~window(mask, self.config.window)
        meant = alike(nodes, self.similar(nodes)).masked_fill(hidden, float("-inf")).softmax(-1)
        if "text" not in self.config.modalities:
            return meant
        known = padded(pool(self.knowledge(batch.text), batch.text_mask), where, mask)
        felt = (SHARPNESS * alike(known, known)).masked_fill(hidden, float("-inf")).softmax(-1)
        return (1 - self.config.knowledge) * meant + self.config.knowledge * felt


def window(mask: Tensor, reach: int) -> Tensor:
    """Which turns are within `reach` of each other: (dialogues, turns) to (dialogues, turns, turns)."""
    turn = torch.arange(mask.shape[1])
    apart = (turn[:, None] - turn).abs()
    return ((apart <= reach) & mask[:, None]) | (apart == 0)  # padding sees itself, so that no softmax is empty


def kinds(place: Tensor) -> Tensor:
    """Kind of each edge, (dialogues, turns, turns): 2 if it leads to another speaker, plus 1 if to a later turn."""
    where, mask = dialogues(place)
    who = padded(place[:, 2:], where, mask).squeeze(-1)
    turn = torch.arange(mask.shape[1])
    return 2 * (who[:, :, None] != who[:, None]).long() + (turn > turn[:, None]).long()
