"""The utterances of one fold as tensors, padded batch by batch, with masks."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mer_lib.corpora.base import EMOTIONS, Corpus, CorpusError, Fold
from mer_lib.features.audio import FEATURES, corpus_frames, normalise
from mer_lib.features.check import check_audio
from mer_lib.features.pitch import shipped_pitch
from mer_lib.features.pretrained import Pretrained, SpeechInputs, TextInputs
from mer_lib.features.stored import speech_vectors, text_vectors
from mer_lib.features.text import WordVectors, word_vectors

MODALITIES = ("audio", "text")

BUCKET = 8

STEP_FEATURES = 2 * len(FEATURES)
"""Numbers per step."""


@dataclass
class Batch:
    """Several utterances, padded to the longest. Masks are True where there is something to see.

    Attributes:
        audio: (batch, steps, features).
        audio_mask: (batch, steps).
        text: (batch, words), ids; or (batch, words, ...), what a pretrained encoder says of each word or part of one.
        text_mask: (batch, words).
        text_span: (batch, words, 2), where each word begins and ends in its utterance, 0 to 1.
        label: (batch,), index into the emotions of the corpus.
        place: (batch, 3), numbers of the dialogue, of the turn in it, and of the speaker. Only systems with
            `context` read it; their batches hold whole dialogues, the turns of each in order.
    """

    audio: Tensor
    audio_mask: Tensor
    text: Tensor
    text_mask: Tensor
    text_span: Tensor
    label: Tensor
    place: Tensor | None = None

    def mask(self, modality: str) -> Tensor:
        """Return the mask of "audio" or "text", (batch, time)."""
        return self.audio_mask if modality == "audio" else self.text_mask


class Utterances:
    """The utterances of one split, as tensors of their own length.

    Args:
        ids: Utterance ids.
        audio: (steps, features) each; or a function that returns them, called when sound is first asked for.
        text: Word ids, (words,) each; or their vectors, (words, ...) each.
        spans: (words, 2) each.
        labels: Index into `emotions` each.
        places: Numbers of dialogue, turn and speaker each; by default every utterance is a dialogue of its own.
        steps: How many steps of sound each has; needed where `audio` is a function.
        emotions: The classes of the corpus.

    Raises:
        CorpusError: If there is no utterance, a sequence is empty, or a feature is NaN or infinite.
    """

    def __init__(
        self,
        ids: Sequence[str],
        audio: Sequence[np.ndarray] | Callable[[], Sequence[np.ndarray | Tensor]],
        text: Sequence[np.ndarray],
        spans: Sequence[np.ndarray],
        labels: Sequence[int],
        places: np.ndarray | None = None,
        steps: Sequence[int] | None = None,
        emotions: tuple[str, ...] = EMOTIONS,
    ) -> None:
        if not len(ids):
            raise CorpusError("A split without utterances cannot be batched; look at the fold it comes from.")
        self.ids = list(ids)
        self.text = [_ids_or_vectors(words) for words in text]
        self.spans = [torch.as_tensor(span, dtype=torch.float32) for span in spans]
        self._sound = audio if callable(audio) else lambda: audio
        self._steps = [len(table) for table in self.audio] if steps is None else list(steps)
        for name, length, words in zip(ids, self.steps, self.text, strict=True):
            if not length or not len(words):
                raise CorpusError(f"{name} has {length} frames and {len(words)} words; both need at least one.")
            _require_finite(name, words)
        self.labels = torch.as_tensor(np.asarray(labels), dtype=torch.long)
        self.emotions = emotions
        alone = np.column_stack([np.arange(len(ids)), np.zeros((len(ids), 2), int)])
        self.places = torch.tensor(alone if places is None else places, dtype=torch.long)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def audio(self) -> list[Tensor]:
        """(steps, features) each."""
        tables = [torch.as_tensor(table, dtype=torch.float32) for table in self._sound()]
        for name, table in zip(self.ids, tables, strict=True):
            _require_finite(name, table)
        return tables

    @property
    def steps(self) -> list[int]:
        """How many steps of sound each has."""
        return [self._length(row) for row in range(len(self))]

    def _length(self, row: int) -> int:
        return len(self.audio[row]) if "audio" in vars(self) else self._steps[row]  # who replaced a sound is heeded

    def with_text(self, text: Sequence[np.ndarray], spans: Sequence[np.ndarray]) -> Utterances:
        """The same utterances with other texts: ids or vectors, and spans, as for the class."""
        facts = self.labels, self.places.numpy(), self.steps, self.emotions
        return Utterances(self.ids, lambda: self.audio, text, spans, *facts)

    def batch(self, rows: Sequence[int], reads: Sequence[str] = MODALITIES) -> Batch:
        """Pad the utterances at the given positions into one batch.

        Args:
            rows: Positions.
            reads: Modalities that the batch is read for. Sound that nobody reads is not loaded: its steps are empty.
        """
        lengths = [self._length(row) for row in rows]
        empty = torch.zeros(len(rows), max(lengths), 0)
        text = [self.text[row] for row in rows]
        return Batch(
            audio=pad_sequence([self.audio[r] for r in rows], batch_first=True) if "audio" in reads else empty,
            audio_mask=_mask(lengths),
            text=pad_sequence(text, batch_first=True),
            text_mask=_mask([len(words) for words in text]),
            text_span=pad_sequence([self.spans[row] for row in rows], batch_first=True),
            label=self.labels[list(rows)],
            place=self.places[list(rows)],
        )

    def batches(
        self, size: int, shuffle: torch.Generator | None = None, reads: Sequence[str] = MODALITIES
    ) -> Iterator[Batch]:
        """Go through all utterances once: in order, or in an order drawn from `shuffle`; `reads` as for `batch`.

        A shuffled batch holds utterances of similar length (sorted within `BUCKET` batches at a time), so
        that little of it is padding: twice as fast where lengths vary.
        """
        if shuffle is None:
            yield from (self.batch(rows.tolist(), reads) for rows in torch.arange(len(self)).split(size))
            return
        parts = []
        for bucket in torch.randperm(len(self), generator=shuffle).split(size * BUCKET):
            lengths = torch.tensor([self._length(row) for row in bucket.tolist()])
            parts += bucket[lengths.argsort(stable=True)].split(size)
        for number in torch.randperm(len(parts), generator=shuffle).tolist():
            yield self.batch(parts[number].tolist(), reads)

    def dialogues(self, size: int, shuffle: torch.Generator | None = None) -> Iterator[list[int]]:
        """Go through the positions of all utterances by whole dialogues, as many at a time as `size` holds.

        A dialogue longer than `size` comes alone. Turns are in order; the dialogues are, too, or in an order
        drawn from `shuffle`.
        """
        numbers, turns = self.places[:, 0].numpy(), self.places[:, 1].numpy()
        rows = np.lexsort((turns, numbers))
        found = np.split(rows, np.flatnonzero(np.diff(numbers[rows])) + 1)
        together: list[int] = []
        order = range(len(found)) if shuffle is None else torch.randperm(len(found), generator=shuffle).tolist()
        for number in order:
            if together and len(together) + len(found[number]) > size:
                yield together
                together = []
            together += found[number].tolist()
        yield together


def _require_finite(name: str, values: Tensor) -> None:
    if not values.isfinite().all():
        raise CorpusError(f"The features of {name} hold NaN or infinity. Look at its sound and its normalisation.")


def _ids_or_vectors(words: np.ndarray) -> Tensor:
    tensor = torch.as_tensor(words)
    return tensor.float() if tensor.is_floating_point() else tensor.long()


def _mask(lengths: Sequence[int]) -> Tensor:
    """(batch, longest), True up to each length."""
    return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


@dataclass
class Prepared:
    """One fold, ready to train on.

    Attributes:
        fold: The split, without what was left out.
        train: To learn from.
        dev: To choose by.
        test: To be touched once.
        vectors: Of words. Where texts went through a pretrained encoder, one row that only tells the width.
        features: Numbers per step of sound.
        pretrained: Modality to the encoder that was asked for; empty for the default features.
    """

    fold: Fold
    train: Utterances
    dev: Utterances
    test: Utterances
    vectors: WordVectors
    features: int = STEP_FEATURES
    pretrained: dict[str, Pretrained] = field(default_factory=dict)

    @property
    def emotions(self) -> tuple[str, ...]:
        """The classes of the corpus."""
        return self.train.emotions


def prepare(
    corpus: Corpus,
    fold: Fold,
    normalise_by: str = "speaker",
    audio: Pretrained | None = None,
    text: Pretrained | None = None,
) -> Prepared:
    """Turn one fold of a corpus into tensors.

    Word vectors are learned from the corpus's unlabelled pool of the training sessions where there is
    one, and from the training texts elsewhere; never from the dev or test session. Utterances whose sound
    cannot be used (see `check_audio`) are left out of the fold.

    A pretrained encoder takes the place of frames or of word vectors. Its steps of sound are normalised as frames
    are, and its layers each by itself; the pieces of text are taken as they come. If layers of it are to learn, what
    they learn from is the sound and the text themselves, prepared as the encoder wants them.

    Args:
        corpus: Any corpus.
        fold: One of `corpus.folds()`.
        normalise_by: "speaker" or "id" (each utterance by itself); see `normalise`.
        audio: Encoder of speech; None for the frames of chapter 04.
        text: Encoder of text; None for the word vectors of chapter 05.

    Raises:
        CorpusError: If a part has no usable utterance, or a class no training utterance.
        EncoderError: If an encoder cannot be used.
    """
    corpus = check_audio(corpus)
    table = corpus.table  # without the utterances whose sound cannot be used
    fold = Fold(fold.name, *([name for name in part if name in table.index] for part in fold[1:]))
    if empty := [part for part in ("train", "dev", "test") if not getattr(fold, part)]:
        raise CorpusError(
            f"No utterance of the {empty[0]} part of fold {fold.name} of {corpus.name} can be used; `skipped` of the"
            " corpus says why of each. Restore its sounds, or use other folds."
        )
    if missing := _absent(corpus, fold.train):
        raise CorpusError(
            f"Fold {fold.name} of {corpus.name} trains without any {missing[0]} utterance; use other folds."
        )
    say_absent(corpus, fold)
    places = table[["dialogue", "turn", "speaker"]].apply(lambda column: pd.factorize(column, sort=True)[0])
    asked = {m: encoder for m, encoder in (("audio", audio), ("text", text)) if encoder}
    for encoder in asked.values():
        encoder.home()  # one that is missing is said to be so before anything is computed
    encode, vectors = _texts(corpus, fold, text)
    sounds, features = _sounds(corpus, table[normalise_by].to_dict(), audio)
    steps = None if audio else shipped_steps(corpus)

    def split(ids: list[str]) -> Utterances:
        labels = [corpus.emotions.index(emotion) for emotion in table.loc[ids, "emotion"]]
        words, spans = zip(*(encode(name) for name in ids), strict=True)
        known = [steps[name] for name in ids] if steps else None
        turns = places.loc[ids].to_numpy()
        return Utterances(ids, lambda: [sounds()[i] for i in ids], words, spans, labels, turns, known, corpus.emotions)

    return Prepared(fold, split(fold.train), split(fold.dev), split(fold.test), vectors, features, asked)


def say_absent(corpus: Corpus, fold: Fold) -> None:
    """Print which classes dev or test of a fold lack, since scores there are means over fewer; the same only once.

    Processes that help with the work are silent.
    """
    for part in ("dev", "test"):
        absent = _absent(corpus, getattr(fold, part))
        if 0 < len(absent) < len(corpus.emotions) and multiprocessing.current_process().name == "MainProcess":
            _say(
                f"Fold {fold.name} of {corpus.name} has no {' or '.join(absent)} utterance in {part}:"
                " UA and F1 there are means over the classes that it has."
            )


def _absent(corpus: Corpus, ids: Sequence[str]) -> list[str]:
    """Classes of which a part has no utterance."""
    there = set(corpus.table.loc[list(ids), "emotion"])
    return [emotion for emotion in corpus.emotions if emotion not in there]


@cache
def _say(sentence: str) -> None:
    print(sentence)


def _sounds(
    corpus: Corpus, groups: dict[str, str], asked: Pretrained | None
) -> tuple[Callable[[], Mapping[str, np.ndarray]], int]:
    """What makes what systems hear of every utterance, when it is first called; and how many numbers a step has."""

    @cache
    def sounds() -> Mapping[str, np.ndarray]:
        if asked is None:
            return {name: pair(table) for name, table in normalise(corpus_frames(corpus), groups).items()}
        if asked.top:
            inputs = SpeechInputs(asked)
            return {name: inputs(corpus.waveform(name), corpus.sample_rate).numpy() for name in groups}
        return normalise(speech_vectors(corpus, asked), groups, may_be_nan=np.array(False))

    return sounds, asked.home().width if asked else STEP_FEATURES


def shipped_steps(corpus: Corpus) -> dict[str, int] | None:
    """How many steps each utterance has, where that is known without a look at its sound."""
    known = shipped_pitch(corpus)
    return {name: -(-len(found.track) // 2) for name, found in known.items()} if known else None


def _texts(
    corpus: Corpus, fold: Fold, asked: Pretrained | None
) -> tuple[Callable[[str], tuple[np.ndarray, np.ndarray]], WordVectors]:
    """What systems read of an utterance and where in its text it stands, by id; and the word vectors."""
    texts = corpus.table["text"]
    if asked is None:
        vectors = fold_vectors(corpus, fold)
        return lambda name: vectors.encode(texts[name]), vectors
    inputs = TextInputs(asked)
    vectors = WordVectors(inputs.words(), np.zeros((1, asked.home().width), dtype=np.float32))
    if asked.top:
        cut = {name: inputs(text) for name, text in texts.items()}
        return lambda name: (cut[name][0].numpy(), cut[name][1]), vectors
    states, spans = text_vectors(corpus, asked)
    return lambda name: (states[name], spans[name]), vectors


def pair(frames: np.ndarray) -> np.ndarray:
    """Put two neighbouring frames side by side: (time, features) to (time / 2, 2 features).

    An odd last frame is repeated.
    """
    even = np.concatenate([frames, frames[-1:]]) if len(frames) % 2 else frames
    return even.reshape(len(even) // 2, -1)


def fold_vectors(corpus: Corpus, fold: Fold) -> WordVectors:
    """Word vectors learned without the dev and test sessions of a fold."""
    train = corpus.table.loc[fold.train]
    if corpus.unlabelled is None:
        return word_vectors(train["text"].tolist(), min_count=2)
    return word_vectors(corpus.unlabelled(sorted(train["session"].unique())))
