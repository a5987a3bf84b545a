"""The method: encoders, subspace mapping, cross-modality attention, heads.

The deck gives the names of the parts and nothing else; every shape and formula here is our
reconstruction (chapter 11 has the table of what comes from where).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from mer_lib.corpora.base import EMOTIONS
from mer_lib.features.batches import MODALITIES, Batch
from mer_lib.losses import subspace_mapping_loss, unimodal_auxiliary_loss


def check_modalities(given: tuple[str, ...]) -> None:
    """Raise a ValueError unless these are one or both of `MODALITIES`."""
    if not given or set(given) - set(MODALITIES):
        raise ValueError(f"modalities are {given!r}; they can be audio, text or both.")


@dataclass(frozen=True)
class MethodConfig:
    """Every switch of the method.

    Attributes:
        modalities: ("audio", "text"), or one of them alone.
        dim: Width d of every representation.
        heads: Heads of the attention.
        dropout: Share of values dropped, everywhere.
        encoder: "conv" (ours), "lstm" or "gru" (both bidirectional; Table 7).
        attention: Whether the unique sequences of the two modalities attend to each other.
        alignment: Prior on where attention looks: "bias" (learned width around the same relative
            position), "words" (only the frames of the word) or "none".
        alpha: Weight of L_sp; 0 switches it off.
        beta: Weight of L_ua; 0 switches it off.
        similarity: Weight of the similarity term within L_sp (MISA: 1.0).
        difference: Weight of the difference term within L_sp (MISA: 0.3).
        reconstruction: Weight of a term that rebuilds each encoding from its public and unique
            part; 0 switches it off.
        classes: Number of classes, those of the corpus.
    """

    modalities: tuple[str, ...] = MODALITIES
    dim: int = 64
    heads: int = 4
    dropout: float = 0.1
    encoder: str = "conv"
    attention: bool = True
    alignment: str = "bias"
    alpha: float = 0.1
    beta: float = 0.5
    similarity: float = 1.0
    difference: float = 0.3
    reconstruction: float = 0.0
    classes: int = len(EMOTIONS)

    def __post_init__(self) -> None:
        known = {"encoder": ("conv", "lstm", "gru"), "alignment": ("bias", "words", "none")}
        for name, values in known.items():
            if getattr(self, name) not in values:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it can be {', '.join(values)}.")
        check_modalities(self.modalities)


@dataclass
class Output:
    """What a system returns; each field has the name that the text of the book uses.

    Attributes:
        logits: (batch, classes).
        losses: Name to scalar: what to add to the task's cross-entropy, already weighted.
        unimodal: Modality to the logits of its own head, (batch, classes).
        encoded: Modality to H_m, (batch, time, d).
        public: Modality to pooled p_m, (batch, d).
        unique: Modality to pooled u_m before attention, (batch, d).
        attended: Modality to pooled u_m after attention, (batch, d).
        attention: Modality that asks to weights, (batch, heads, time, time of the other).
    """

    logits: Tensor
    losses: dict[str, Tensor] = field(default_factory=dict)
    unimodal: dict[str, Tensor] = field(default_factory=dict)
    encoded: dict[str, Tensor] = field(default_factory=dict)
    public: dict[str, Tensor] = field(default_factory=dict)
    unique: dict[str, Tensor] = field(default_factory=dict)
    attended: dict[str, Tensor] = field(default_factory=dict)
    attention: dict[str, Tensor] = field(default_factory=dict)


def pool(sequence: Tensor, mask: Tensor) -> Tensor:
    """Mean over the time steps that the mask shows: (batch, time, d) and (batch, time) to (batch, d)."""
    weight = mask.unsqueeze(-1).to(sequence.dtype)
    return (sequence * weight).sum(1) / weight.sum(1).clamp_min(1.0)


class Words(nn.Embedding):
    """Vectors of words: looked up by their ids, or as they come where a pretrained encoder has made them."""

    def forward(self, words: Tensor) -> Tensor:
        """(batch, time), ids, or (batch, time, d), vectors, to (batch, time, d)."""
        return words if words.is_floating_point() else super().forward(words)


class Dropout(nn.Module):
    """Drop whole features of a sequence, the same ones at every time step (Gal & Ghahramani 2016).

    Against independent draws it saves most of the random numbers, a third of the training time here.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """(batch, ..., d) to the same; does nothing in evaluation."""
        if not self.training or not self.rate:
            return x
        shape = (x.shape[0], *[1] * (x.dim() - 2), x.shape[-1])
        kept = torch.rand(shape, device=x.device) >= self.rate
        return x * (kept / (1 - self.rate))


class ConvBlock(nn.Module):
    """Convolution over time, added to its input. Padding is silenced first, so it never leaks in."""

    def __init__(self, dim: int, dropout: float, kernel: int = 3) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.conv = nn.Conv1d(dim, dim, kernel, padding=kernel // 2)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(batch, time, d) to the same."""
        hidden = self.norm(x) * mask.unsqueeze(-1)
        hidden = self.conv(hidden.transpose(1, 2)).transpose(1, 2).contiguous()  # else GELU's gradient is slow
        return x + self.dropout(nn.functional.gelu(hidden))


class FeedForward(nn.Module):
    """Two layers applied at every time step, added to the input (Vaswani et al. 2017)."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.layers = nn.Sequential(
            nn.Linear(dim, 2 * dim), nn.GELU(), Dropout(dropout), nn.Linear(2 * dim, dim), Dropout(dropout)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(..., d) to the same."""
        return x + self.layers(self.norm(x))


class Attention(nn.Module):
    """Multi-head attention with a bias on the scores (Vaswani et al. 2017), added to the query.

    Args:
        dim: Width of queries, keys and result.
        heads: Number of heads; divides `dim`.
        dropout: Dropped from the result.
    """

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm_query, self.norm_key = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query, self.value = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim, bias=False)  # a bias would cancel in the softmax
        self.out = nn.Linear(dim, dim)
        self.dropout = Dropout(dropout)

    def forward(
        self, x: Tensor, other: Tensor, other_mask: Tensor, bias: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Let every step of `x` look at the steps of `other`.

        Args:
            x: (batch, time, d), asks.
            other: (batch, other time, d), is looked at.
            other_mask: (batch, other time); hidden steps get weight 0.
            bias: (batch, heads, time, other time), added to the scores.

        Returns:
            (batch, time, d), and the weights (batch, heads, time, other time), which sum to 1.
        """
        seen = self.norm_key(other)
        query, key, value = (
            self._split(self.query(self.norm_query(x))),
            self._split(self.key(seen)),
            self._split(self.value(seen)),
        )
        scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[-1])
        if bias is not None:
            scores = scores + bias
        scores = scores.masked_fill(~other_mask[:, None, None, :], float("-inf"))
        weights = scores.transpose(2, 3).softmax(2).transpose(2, 3)  # along a short last axis it is slow on a CPU
        heard = (weights @ value).transpose(1, 2).flatten(2)
        return x + self.dropout(self.out(heard)), weights

    def _split(self, x: Tensor) -> Tensor:
        """(batch, time, d) to (batch, heads, time, d / heads)."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class AlignmentPrior(nn.Module):
    """Where attention looks before it has learned anything: at the same place in the utterance.

    Our choice. Text and speech of an utterance run side by side, so a word at 40% of the text is
    spoken near 40% of the sound. "bias" subtracts (distance / width)^2 / 2 from the scores, with one
    learned width per head; "words" hides the frames outside the word's own span. Shown in chapter 09.
    """

    def __init__(self, kind: str, heads: int) -> None:
        super().__init__()
        self.kind = kind
        if kind == "bias":
            self.log_width = nn.Parameter(torch.linspace(math.log(0.05), math.log(0.4), heads))

    def forward(self, asks: Tensor, looked_at: Tensor) -> Tensor | None:
        """Return the bias on the scores.

        Args:
            asks: (batch, time, 2), begin and end of each step that asks, from 0 to 1.
            looked_at: (batch, other time, 2), the same of the steps it looks at.

        Returns:
            (batch, heads or 1, time, other time), or None without a prior.
        """
        if self.kind == "none":
            return None
        if self.kind == "words":
            touch = (asks[:, :, None, 1] > looked_at[:, None, :, 0]) & (asks[:, :, None, 0] < looked_at[:, None, :, 1])
            return torch.where(touch, 0.0, -1e4).unsqueeze(1)
        distance = asks.mean(-1)[:, None, :, None] - looked_at.mean(-1)[:, None, None, :]
        return -0.5 * (distance / self.log_width.exp()[None, :, None, None]).square()


def frame_spans(mask: Tensor) -> Tensor:
    """Begin and end of each frame in its utterance, from 0 to 1: (batch, time) to (batch, time, 2)."""
    step = torch.arange(mask.shape[1], device=mask.device)
    edges = torch.stack([step, step + 1], -1)[None] / mask.sum(1)[:, None, None]
    return edges.clamp_max(1.0)


class Recurrent(nn.Module):
    """One recurrent layer over a sequence that knows where it ends; both directions are put side by side.

    Its input is normalised first (LayerNorm, Ba et al. 2016; our choice), as in the blocks of the other encoder: word
    vectors are small numbers, and its gates would hardly move. The second direction is a layer that reads the sequence
    turned round: PyTorch's packed sequences would do the same, but its fast LSTM for CPUs does not take them.

    Args:
        inputs: Width of the input.
        dim: Width of the result, all directions together.
        cell: "lstm" or "gru".
        bidirectional: Whether a second direction begins at the end.
    """

    def __init__(self, inputs: int, dim: int, cell: str = "gru", bidirectional: bool = True) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(inputs)
        layer, directions = {"lstm": nn.LSTM, "gru": nn.GRU}[cell], 1 + bidirectional
        self.layers = nn.ModuleList(layer(inputs, dim // directions, batch_first=True) for _ in range(directions))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(batch, time, inputs) and (batch, time) to (batch, time, dim); padded steps come out as 0."""
        x = self.norm(x)
        read = [self.layers[0](x)[0]]
        if len(self.layers) == 2:
            read.append(turned(self.layers[1](turned(x, mask))[0], mask))
        return torch.cat(read, -1) * mask.unsqueeze(-1)


def turned(sequence: Tensor, mask: Tensor) -> Tensor:
    """Each sequence from its end to its start, (batch, time, d); padding stays behind it. Its own inverse."""
    step = torch.arange(mask.shape[1], device=mask.device)
    source = torch.where(mask, mask.sum(1, keepdim=True) - 1 - step, step)
    return sequence.gather(1, source.unsqueeze(-1).expand_as(sequence))


class Encoder(nn.Module):
    """H_m = Encoder_m(X_m): what a modality says around each time step.

    "conv": two convolutions for the neighbourhood, one self-attention for the whole utterance.
    "lstm", "gru": one bidirectional layer.
    """

    def __init__(self, config: MethodConfig) -> None:
        super().__init__()
        self.kind = config.encoder
        if self.kind == "conv":
            self.convs = nn.ModuleList(ConvBlock(config.dim, config.dropout) for _ in range(2))
            self.attention = Attention(config.dim, config.heads, config.dropout)
            self.feed_forward = FeedForward(config.dim, config.dropout)
        else:
            self.recurrent = Recurrent(config.dim, config.dim, self.kind)
        self.norm = nn.LayerNorm(config.dim)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(batch, time, d) and (batch, time) to (batch, time, d); padded steps come out as 0."""
        if self.kind == "conv":
            for conv in self.convs:
                x = conv(x, mask)
            x, _ = self.attention(x, x, mask)
            x = self.feed_forward(x)
        else:
            x = self.recurrent(x, mask)
        return self.norm(x) * mask.unsqueeze(-1)


def embeddings(modalities: tuple[str, ...], features: int, vectors: Tensor, dim: int, dropout: float) -> nn.ModuleDict:
    """What turns the input of each modality into vectors of width `dim`.

    Args:
        modalities: Of "audio" and "text".
        features: Number of audio features.
        vectors: (vocabulary, dimensions), pretrained word vectors; they stay as they are, since a few noisy labels
            would only spoil them.
        dim: Width of the result.
        dropout: Dropped from the word vectors.
    """
    found = nn.ModuleDict()
    if "audio" in modalities:
        found["audio"] = nn.Linear(features, dim)
    if "text" in modalities:
        words = Words.from_pretrained(vectors.clone(), freeze=True)
        found["text"] = nn.Sequential(words, Dropout(dropout), nn.Linear(vectors.shape[1], dim))
    return found


def classifier(width: int, dim: int, dropout: float, classes: int = len(EMOTIONS)) -> nn.Sequential:
    """The head of the method, and of the systems that it is compared with: (..., width) to (..., classes)."""
    return nn.Sequential(
        nn.LayerNorm(width), nn.Linear(width, dim), nn.GELU(), Dropout(dropout), nn.Linear(dim, classes)
    )


class Method(nn.Module):
    """The whole method for two modalities, or its encoder and head for one.

    Args:
        config: The switches.
        features: Number of audio features.
        vectors: (vocabulary, dimensions), pretrained word vectors; see `embeddings`.
    """

    def __init__(self, config: MethodConfig, features: int, vectors: Tensor) -> None:
        super().__init__()
        self.config, self.reads = config, config.modalities
        dim, drop = config.dim, config.dropout
        self.embed = embeddings(config.modalities, features, vectors, dim, drop)
        self.encoders = nn.ModuleDict({m: Encoder(config) for m in config.modalities})
        parts = 1
        if len(config.modalities) == 2:
            parts = 4
            self.public = nn.Sequential(nn.Linear(dim, dim), nn.Sigmoid())
            self.unique = nn.ModuleDict({m: nn.Sequential(nn.Linear(dim, dim), nn.Tanh()) for m in config.modalities})
            if config.attention:
                self.cross = nn.ModuleDict({m: Attention(dim, config.heads, drop) for m in config.modalities})
                self.prior = AlignmentPrior(config.alignment, config.heads)
            self.after = nn.ModuleDict({m: FeedForward(dim, drop) for m in config.modalities})
            if config.beta:
                self.heads = nn.ModuleDict({m: nn.Linear(dim, config.classes) for m in config.modalities})
            if config.reconstruction:
                self.rebuild = nn.ModuleDict({m: nn.Linear(2 * dim, dim) for m in config.modalities})
        self.classify = classifier(parts * dim, dim, drop, config.classes)

    def forward(self, batch: Batch) -> Output:
        """Classify a batch."""
        x = {"audio": batch.audio, "text": batch.text}
        encoded = {m: self.encoders[m](self.embed[m](x[m]), batch.mask(m)) for m in self.config.modalities}
        if len(encoded) == 1:
            ((modality, sequence),) = encoded.items()
            return Output(self.classify(pool(sequence, batch.mask(modality))), encoded=encoded)
        return self._fuse(encoded, batch)

    def _fuse(self, encoded: dict[str, Tensor], batch: Batch) -> Output:
        public = {m: self.public(h) for m, h in encoded.items()}
        unique = {m: self.unique[m](h) for m, h in encoded.items()}
        attended, weights = self._attend(unique, batch) if self.config.attention else (unique, {})
        attended = {m: self.after[m](u) for m, u in attended.items()}
        pooled = [pool(part[m], batch.mask(m)) for part in (public, attended) for m in encoded]
        output = Output(
            logits=self.classify(torch.cat(pooled, -1)),
            encoded=encoded,
            public={m: pool(p, batch.mask(m)) for m, p in public.items()},
            unique={m: pool(u, batch.mask(m)) for m, u in unique.items()},
            attended={m: pool(u, batch.mask(m)) for m, u in attended.items()},
            attention=weights,
        )
        if self.config.beta:
            output.unimodal = {m: self.heads[m](pool(h, batch.mask(m))) for m, h in encoded.items()}
        output.losses = self._losses(output, batch)
        return output

    def _attend(self, unique: dict[str, Tensor], batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Text asks audio and audio asks text, both at once."""
        spans = {"audio": frame_spans(batch.audio_mask), "text": batch.text_span}
        attended, weights = {}, {}
        for asks, looked_at in (("text", "audio"), ("audio", "text")):
            bias = self.prior(spans[asks], spans[looked_at])
            heard = self.cross[asks](unique[asks], unique[looked_at], batch.mask(looked_at), bias)
            attended[asks], weights[asks] = heard
        return {m: attended[m] for m in unique}, weights

    def _losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """The named losses, weighted: L = CE + alpha L_sp + beta L_ua."""
        config, losses = self.config, {}
        if config.alpha:
            terms = subspace_mapping_loss(output.public, output.unique)
            losses["similarity"] = config.alpha * config.similarity * terms["similarity"]
            losses["difference"] = config.alpha * config.difference * terms["difference"]
        if config.beta:
            losses["unimodal"] = config.beta * unimodal_auxiliary_loss(output.unimodal, batch.label)
        if config.reconstruction:
            losses["reconstruction"] = config.reconstruction * self._reconstruction(output, batch)
        return losses

    def _reconstruction(self, output: Output, batch: Batch) -> Tensor:
        """Mean squared error of each pooled encoding rebuilt from its public and unique vector."""
        errors = []
        for m, rebuild in self.rebuild.items():
            target = pool(output.encoded[m], batch.mask(m)).detach()
            errors.append((rebuild(torch.cat([output.public[m], output.unique[m]], -1)) - target).square().mean())
        return torch.stack(errors).mean()
