"""What the loaders of released corpora share: finding files, reading text and sound, and saying what was left out.

Nothing is dropped in silence: a loader puts what it cannot use into a list of `Skip`, which becomes
`Corpus.skipped`. Shown in chapter 02.
"""

from __future__ import annotations

import csv
import hashlib
import io
import multiprocessing
import os
import re
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import soundfile

from mer_lib.corpora.base import COLUMNS, SAMPLE_RATE, Corpus, CorpusError

SHORTEST = 0.1
"""Seconds. Nobody says a word in less, and speech encoders need more than a few windows (our choice)."""

SILENCE = 1e-4
"""A sound that never leaves its mean by more is silent: three steps of 16 bits (our choice)."""

RATES = (8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000, 176400, 192000)
"""Sample rates that are resampled, in Hz. Another one is rather a damaged header."""


_NO_SOUND = "cannot be read as sound"  # libsndfile's own reason may be that of another thread


class Skip(NamedTuple):
    """Something that was left out: an utterance, a line or a file, where it stands, and why."""

    what: str
    where: str
    why: str


class UnusableError(CorpusError):
    """A file that cannot be used; `why` does not name it, so that equal reasons can be counted."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(path, why)  # so that it can travel between processes
        self.path, self.why = path, why

    def __str__(self) -> str:
        return f"{self.path} {self.why}. Restore it."


# Finding files


def home(root: str | Path | None, name: str, holds: str, ask: str) -> Path:
    """Return the folder of a corpus that does not ship.

    Args:
        root: What the reader gave.
        name: Name of the corpus.
        holds: What the folder must hold, in words.
        ask: Where one gets the corpus.

    Raises:
        CorpusError: If none was given, or it is no folder.
    """
    if root is None:
        raise CorpusError(f"{name} does not ship with the book: give the folder that holds {holds} as root. Ask {ask}.")
    if not Path(root).is_dir():
        raise CorpusError(f"There is no folder {root}. Give the folder that holds {holds} as root.")
    return Path(root)


def find(folder: Path, *names: str) -> Path | None:
    """Return the file or folder that has one of some names, in a folder or one level deeper; None if there is none."""
    for name in names:
        for path in [folder / name, *sorted(folder.glob(f"*/{name}"))]:
            if path.exists():
                return path
    return None


def files(folder: Path, *endings: str) -> list[Path]:
    """List the files below a folder by their ending, without the `._*` that macOS puts beside them.

    Links to folders are followed, each folder once.
    """
    found, known = [], set()
    for place, below, names in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(place)) in known:
            below.clear()
            continue
        known.add(real)
        found += [Path(place) / n for n in names if n.lower().endswith(endings) and not n.startswith(".")]
    return sorted(found)


def by_name(paths: Iterable[Path], skipped: list[Skip]) -> dict[str, Path]:
    """Index files by their name without ending; what has a name for the second time is skipped."""
    found: dict[str, Path] = {}
    for path in paths:
        if path.stem in found:
            skipped.append(Skip(path.stem, str(path), "is a second file of that name"))
        else:
            found[path.stem] = path
    return found


# Reading text


def text(path: Path) -> str:
    """Read a text file: UTF-8 or UTF-16 where it begins with a mark, else UTF-8, else Windows-1252.

    Raises:
        UnusableError: If it cannot be read, or is no text.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UnusableError(path, f"cannot be read ({error.strerror})") from None
    marked = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    for encoding in ["utf-16"] if marked else ["utf-8-sig", "cp1252"]:
        try:
            decoded = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in decoded:
            return decoded
    raise UnusableError(path, "is no text, neither in UTF-8 nor in Windows-1252")


def lines(content: str) -> Iterator[tuple[int, str]]:
    """Go through the lines that are not blank: number from 1, and the line without spaces around it."""
    for number, line in enumerate(re.split(r"\r\n|\r|\n", content), start=1):
        if line.strip():
            yield number, line.strip()


def table(content: str, where: str, columns: Iterable[str]) -> tuple[list[tuple[str, dict[str, str]]], list[Skip]]:
    """Read comma-separated values with a header.

    Args:
        content: The file.
        where: Its name, for errors and for what is skipped.
        columns: Must be there; others may be.

    Returns:
        For each row where it ends and its fields by column; and the rows that do not fit the header, or swallow
        the lines below them.

    Raises:
        CorpusError: If a column is missing, or a field is longer than any text.
    """
    reader = csv.reader(io.StringIO(content, newline=""))
    try:
        read = [(reader.line_num, row) for row in reader if any(field.strip() for field in row)]
    except csv.Error as error:
        raise CorpusError(f"{where}, line {reader.line_num}, cannot be read ({error}). Restore it.") from None
    header = [name.strip() for name in read[0][1]] if read else []
    if missing := [name for name in columns if name not in header]:
        raise CorpusError(f"{where} lacks the columns {', '.join(missing)}; its first line must name them. Restore it.")
    rows, skipped = [], []
    for number, row in read[1:]:
        here = f"{where}, line {number}"
        if any("\n" in field or "\r" in field for field in row):
            skipped.append(Skip(",".join(row), here, "swallows lines: a quotation mark is not closed"))
        elif len(row) != len(header):
            skipped.append(Skip(",".join(row), here, "has not as many fields as the header"))
        else:
            rows.append((here, dict(zip(header, map(str.strip, row), strict=True))))
    return rows, skipped


# Reading sound


def sound(path: Path) -> np.ndarray:
    """Read a sound file of any common format.

    Args:
        path: 8 to 32 bits or floats, any number of channels, one of `RATES`.

    Returns:
        float32, shape (samples,), at `SAMPLE_RATE` Hz; channels are averaged.

    Raises:
        UnusableError: If it is missing, unreadable, cut short, empty, not finite, shorter than `SHORTEST`, or silent.
    """
    with _opened(path) as file:
        try:
            wave, rate = file.read(dtype="float32", always_2d=True).mean(axis=1), file.samplerate
        except soundfile.SoundFileError:
            raise UnusableError(path, _NO_SOUND) from None
    if not np.isfinite(wave).all():
        raise UnusableError(path, "holds numbers that are not finite")
    if np.abs(wave - wave.mean()).max() < SILENCE:
        raise UnusableError(path, "is silent")
    return wave if rate == SAMPLE_RATE else _resampled(wave, rate)


def seconds(path: Path) -> float:
    """Return how long a sound file lasts, from its header.

    Raises:
        UnusableError: As `sound`, as far as a header tells.
    """
    with _opened(path) as file:
        return file.frames / file.samplerate


def _opened(path: Path) -> soundfile.SoundFile:
    if not path.is_file():
        raise UnusableError(path, "is missing")
    try:
        file = soundfile.SoundFile(path)
    except (soundfile.SoundFileError, OSError):
        raise UnusableError(path, _NO_SOUND) from None
    if why := _fault(file):
        file.close()
        raise UnusableError(path, why)
    return file


def _fault(file: soundfile.SoundFile) -> str:
    """What its header tells against a file, or nothing."""
    if file.frames == 0:
        return "holds no sound"
    if file.samplerate not in RATES:
        return f"is sampled at {file.samplerate} Hz, which no recorder does"
    if cut := re.search(r"^data : (\d+) \(should be (\d+)\)", file.extra_info, re.MULTILINE):
        # A header written before the length was known states the largest number there is.
        stated, there = map(int, cut.groups())
        if there < 0.99 * stated and stated < 2**31 - 2**16:
            return "is cut short"
    if file.frames / file.samplerate <= SHORTEST:
        return f"is not longer than {SHORTEST} s"
    return ""


def _resampled(wave: np.ndarray, rate: int) -> np.ndarray:
    import torch  # here, since most sound needs no resampling, and torch takes seconds to import

    return _resampler(rate)(torch.from_numpy(wave)).numpy()


@lru_cache(maxsize=len(RATES))
def _resampler(rate: int) -> Any:
    from mer_lib._torchaudio import torchaudio

    return torchaudio.transforms.Resample(rate, SAMPLE_RATE)


# Making the corpus


def corpus(name: str, root: Path, rows: list[dict], skipped: list[Skip], looked_for: str, **more: Any) -> Corpus:
    """Put together what a loader found.

    Args:
        name: Name of the corpus.
        root: Its folder; the column `audio` is relative to it.
        rows: One per utterance, with the columns `COLUMNS` and others, the same in all.
        skipped: What was left out.
        looked_for: In words, for the error.
        more: Further fields of `Corpus`; what is given as `version` is added to the state of the sound files.

    Raises:
        CorpusError: If nothing was found.
    """
    left_out = pd.DataFrame(skipped, columns=list(Skip._fields))
    if not rows:
        raise CorpusError(
            f"{name} has no utterance to use in {root}. Looked for {looked_for}. {_counted(left_out)}."
            " Look whether the archive is unpacked, and whether root is its folder."
        )
    table = pd.DataFrame(rows)
    version = _state(root, table["audio"], more.pop("version", ""))
    return Corpus(
        name=name,
        table=table[[*COLUMNS, *table.columns.drop(COLUMNS)]],
        read=partial(_read, root),
        skipped=left_out,
        version=version,
        fallible=True,
        **more,
    )


def _read(root: Path, row: pd.Series) -> np.ndarray:
    return sound(root / row["audio"])


def _state(root: Path, audio: Iterable[str], more: str) -> str:
    """Sizes and times of the sound files, which change when one is replaced. None is opened."""
    total = hashlib.sha256(more.encode())
    for name in audio:
        path = root / name
        facts = path.stat() if path.exists() else None
        total.update(repr(facts and (facts.st_size, facts.st_mtime_ns)).encode())
    return total.hexdigest()


# Saying what was left out


def say_left_out(name: str, kept: int, skipped: pd.DataFrame) -> None:
    """Print how many utterances and files were left out, and why; the same only once, and nothing if none was.

    Processes that help with the work are silent.
    """
    if len(skipped) and multiprocessing.current_process().name == "MainProcess":
        _say(f"{name}: {kept:,} utterances. {_counted(skipped)}. See corpus.skipped.")


def _counted(skipped: pd.DataFrame, most: int = 8) -> str:
    if skipped.empty:
        return "Nothing was left out"
    counts = skipped["why"].value_counts()
    reasons = [f"{why}: {count:,}" for why, count in counts.iloc[:most].items()]
    rest = [f"other reasons: {counts.iloc[most:].sum():,}"] if len(counts) > most else []
    return f"Left out: {len(skipped):,} ({'; '.join(reasons + rest)})"


@cache
def _say(sentence: str) -> None:
    print(sentence)
