"""Hidden states of a whole corpus on disk: made block by block, so that memory does not grow and nothing is lost.

A block of utterances is one file, written whole or not at all. A run that was stopped goes on with the first block
that is missing; a finished one is read without loading the encoder. Shown in chapter 06.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor

from mer_lib.cache import alone, cache_folder, digest, whole
from mer_lib.corpora.base import Corpus, CorpusError
from mer_lib.features.pretrained import Encoder, Pretrained, SpeechEncoder, TextEncoder
from mer_lib.progress import progress
from mer_lib.shipped import folder

BLOCK = 64
"""Utterances in one file."""

_VERSION = "2"  # change it whenever the numbers change, so that no old file is read


class Shards(Mapping[str, np.ndarray]):
    """Arrays of many utterances in files of `BLOCK` utterances each; one is read when it is asked for.

    Files are mapped into memory, one at a time, and no more of them is read than is asked for.

    Args:
        folder: Holds the files.
        ids: Utterance ids, in the order in which they were stored.
        what: "vectors" or "spans".
    """

    def __init__(self, folder: Path, ids: Sequence[str], what: str = "vectors") -> None:
        self.folder, self.what = folder, what
        self._block = {name: number // BLOCK for number, name in enumerate(ids)}
        self._open: tuple[int, Any] = (-1, None)

    def __getitem__(self, name: str) -> np.ndarray:
        number = self._block[name]
        if self._open[0] != number:
            self._open = number, safe_open(shard(self.folder, number), framework="numpy")
        return self._open[1].get_tensor(f"{self.what}/{name}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._block)

    def __len__(self) -> int:
        return len(self._block)


def shard(folder: Path, number: int) -> Path:
    """The file of a block."""
    return folder / f"{number:05}.safetensors"


def speech_vectors(corpus: Corpus, asked: Pretrained, device: torch.device | str | None = None) -> Shards:
    """Hidden states of every sound of a corpus, from the cache as far as they are there.

    Args:
        corpus: Any corpus whose sounds can all be used (see `check_audio`).
        asked: Which encoder, and which layer.
        device: Where it runs; by default CUDA or MPS where there is one. On CUDA it computes in half precision. Which
            device made a file is not part of its name, so that one made on a GPU can be used elsewhere.

    Returns:
        Utterance id to (steps, width), or to (steps, layers + 1, width) if all layers are asked for, one step every
        `STEP_SECONDS`; float32.

    Raises:
        EncoderError: If the encoder cannot be used.
        CorpusError: If a sound cannot be read, or its hidden states are not finite.
    """

    def encode(encoder: Encoder, ids: list[str]) -> dict[str, np.ndarray]:
        assert isinstance(encoder, SpeechEncoder)
        inputs = [encoder.prepare(corpus.waveform(name), corpus.sample_rate) for name in ids]
        return _named(ids, encoder.vectors(inputs), corpus)

    ids = corpus.table["id"].tolist()
    folder = _folder("speech", corpus, asked, corpus.fingerprint())
    _fill(folder, ids, lambda: SpeechEncoder(asked, device), encode)
    return Shards(folder, ids)


def text_vectors(corpus: Corpus, asked: Pretrained, device: torch.device | str | None = None) -> tuple[Shards, Shards]:
    """Hidden states of every text of a corpus, and where each piece stands; from the cache as far as they are there.

    Args:
        corpus: Any corpus.
        asked: Which encoder, and which layer.
        device: As for `speech_vectors`.

    Returns:
        Utterance id to (pieces, width), or to (pieces, layers + 1, width) if all layers are asked for; and utterance
        id to (pieces, 2), begin and end of each piece in its text, from 0 to 1. A piece is a word or a part of one.

    Raises:
        EncoderError: If the encoder cannot be used.
        CorpusError: If hidden states are not finite.
    """

    def encode(encoder: Encoder, ids: list[str]) -> dict[str, np.ndarray]:
        assert isinstance(encoder, TextEncoder)
        pieces, spans = zip(*(encoder.prepare(text) for text in corpus.table.loc[ids, "text"]), strict=True)
        for name in [name for name, found in zip(ids, pieces, strict=True) if len(found) >= encoder.prepare.limit]:
            print(f"{asked.name} reads at most {encoder.prepare.limit} pieces; of the text of {name} it reads no more.")
        found = _named(ids, encoder.vectors(pieces), corpus)
        return found | {f"spans/{name}": span for name, span in zip(ids, spans, strict=True)}

    ids = corpus.table["id"].tolist()
    folder = _folder("text", corpus, asked, digest(*ids, *corpus.table["text"]))
    _fill(folder, ids, lambda: TextEncoder(asked, device), encode)
    return Shards(folder, ids), Shards(folder, ids, "spans")


def _folder(kind: str, corpus: Corpus, asked: Pretrained, content: str) -> Path:
    """Named after everything that changes what is in it."""
    return cache_folder() / f"{kind}-{corpus.name}-{digest(_VERSION, str(BLOCK), asked.key(), content)}"


def _named(ids: Sequence[str], found: Sequence[Tensor], corpus: Corpus) -> dict[str, np.ndarray]:
    for name, states in zip(ids, found, strict=True):
        if not states.isfinite().all():
            raise CorpusError(
                f"The hidden states of {name} in {corpus.name} are not finite. Look at its sound and text."
            )
    return {f"vectors/{name}": np.ascontiguousarray(x.cpu().numpy()) for name, x in zip(ids, found, strict=True)}


@torch.no_grad()
def _fill(
    folder: Path,
    ids: list[str],
    load: Callable[[], Encoder],
    encode: Callable[[Encoder, list[str]], dict[str, np.ndarray]],
) -> None:
    """Make the files that are missing; who wants what another process is making waits for it."""
    blocks = [ids[start : start + BLOCK] for start in range(0, len(ids), BLOCK)]
    with alone(folder / "lock"):
        todo = [number for number, block in enumerate(blocks) if not _whole(shard(folder, number), block)]
        encoder = load() if todo else None
        for number in progress(todo, f"hidden states, {folder.name}"):
            assert encoder is not None
            arrays = encode(encoder, blocks[number])
            with whole(shard(folder, number)) as unfinished:
                save_file(arrays, unfinished)


def _whole(path: Path, ids: list[str]) -> bool:
    """Whether a file is there, undamaged, and holds these utterances."""
    try:
        with safe_open(path, framework="numpy") as file:
            return {f"vectors/{name}" for name in ids} <= set(file.keys())
    except (FileNotFoundError, SafetensorError):
        return False


def shipped_states(name: str) -> tuple[list[str], dict[str, np.ndarray]]:
    """Read the hidden states of a real encoder that ship with the book (`data/states`).

    Args:
        name: "minilm" or "whisper-tiny-en".

    Returns:
        Ids of utterances of `duet-i`; and, for the "trained" encoder and its "random" twin, the mean over time of each
        layer, (utterances, layers + 1, width), in half precision.

    Raises:
        FileNotFoundError: If there are none of that name.
    """
    path = folder("states") / f"{name}.safetensors"
    if not path.is_file():
        known = ", ".join(sorted(found.stem for found in path.parent.glob("*.safetensors")))
        raise FileNotFoundError(f"No hidden states of {name!r} ship; there are {known}.")
    with safe_open(path, framework="numpy") as file:
        held = {how: file.get_tensor(how) for how in file.keys()}  # noqa: SIM118
    return held.pop("ids").tobytes().decode().split("\n"), held
