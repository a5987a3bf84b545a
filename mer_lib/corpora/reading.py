"""What the loaders of released corpora share: finding files, reading text and sound, and saying what was left out.

Nothing is dropped in silence: a loader puts what it cannot use into a list of `Skip`, which becomes
`Corpus.skipped`. Nor is anything mended in silence: what was mended in a text becomes `Corpus.repaired`. Shown in
chapter 02.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import math
import multiprocessing
import os
import re
import stat
from collections import Counter
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


LOUDEST = 8.0
"""Sound in floating point may pass 1, where it was turned up; by so much it was never scaled (our choice)."""

_WHOLE = 0.99
"""A file with this share of what its header promises is whole (our choice)."""

_NO_SOUND = "cannot be read as sound"  # libsndfile's own reason may be that of another thread


class Skip(NamedTuple):
    """Something that was left out: an utterance, a line or a file, where it stands, and why."""

    what: str
    where: str
    why: str


class Repair(NamedTuple):
    """What was mended in a text: how, in which file, and how often."""

    how: str
    where: str
    times: int


class UnusableError(CorpusError):
    """A file that cannot be used; `why` does not name it, so that equal reasons can be counted."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(path, why)  # so that it can travel between processes
        self.path, self.why = path, why

    def __str__(self) -> str:
        return f"{self.path} {self.why}. Restore it."


# Finding files

_FOREIGN = "__MACOSX"
"""Folder that macOS adds to an archive: it repeats every name, and holds nothing."""


def home(root: str | Path | None, name: str, holds: str, ask: str) -> Path:
    """Return the folder of a corpus that does not ship.

    Args:
        root: What the reader gave; `~` is the reader's home.
        name: Name of the corpus.
        holds: What the folder must hold, in words.
        ask: Where one gets the corpus.

    Raises:
        CorpusError: If none was given, it is no folder, or it cannot be looked into.
    """
    if root is None:
        raise CorpusError(f"{name} does not ship with the book: give the folder that holds {holds} as root. Ask {ask}.")
    try:
        folder = Path(root).expanduser()
        if not folder.is_dir():
            raise CorpusError(f"There is no folder {root}. Give the folder that holds {holds} as root.")
        os.scandir(folder).close()
    except (OSError, RuntimeError, ValueError) as error:  # no permission, a user without a home, a name that is none
        raise CorpusError(f"The folder {root} cannot be read ({_reason(error)}). Give one that can be.") from None
    return folder


def find(folder: Path, *names: str) -> Path | None:
    """Return the file or folder that has one of some names, in a folder or up to two levels deeper; or None.

    Raises:
        UnusableError: If there is none, and a folder where it may be cannot be looked into.
    """
    below = [folder, *_folders(folder, 2)]
    if found := next((place / name for name in names for place in below if os.path.exists(place / name)), None):
        return found
    for place in below:
        try:
            os.scandir(place).close()
        except OSError as error:
            raise UnusableError(place, f"cannot be read ({_reason(error)})") from None
    return None


def _folders(folder: Path, levels: int) -> list[Path]:
    """Folders below a folder, the upper ones first, without hidden ones and those that macOS adds."""
    try:
        inside = sorted(
            path for path in folder.iterdir() if not _hidden(path.name) and _is_utf8(path.name) and os.path.isdir(path)
        )
    except OSError:
        return []  # told by who reads the files
    return inside + [deeper for place in inside if levels > 1 for deeper in _folders(place, levels - 1)]


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == _FOREIGN


def _is_utf8(name: str) -> bool:
    return printable(name) == name


def files(folder: Path, endings: str | tuple[str, ...], skipped: list[Skip]) -> list[Path]:
    """List the files below a folder by their ending, without hidden ones and what macOS adds.

    Links to folders are followed, each folder once. What cannot be read is skipped: a folder that must not be looked
    into, a name that is not UTF-8 (nothing could be written of it), and what is no file, such as a link to nothing.
    """

    def unreadable(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            skipped.append(Skip(Path(error.filename).name, str(error.filename), f"cannot be read ({_reason(error)})"))

    found, known = [], set()
    for place, below, names in os.walk(folder, onerror=unreadable, followlinks=True):
        if (real := os.path.realpath(place)) in known:
            below.clear()
            continue
        known.add(real)
        below[:] = [name for name in below if not _hidden(name)]
        for path in (Path(place) / n for n in names if n.lower().endswith(endings) and not _hidden(n)):
            if why := _unlistable(path, folder):
                skipped.append(Skip(path.stem, str(path), why))
            else:
                found.append(path)
    return sorted(found)


def _unlistable(path: Path, folder: Path) -> str:
    """Why a file below a folder cannot even be listed, or nothing."""
    if not _is_utf8(str(path.relative_to(folder))):
        return "has a name that is not UTF-8"
    return "" if os.path.isfile(path) else "is no file, or a link to nothing"


def printable(text: str) -> str:
    """The same text, with what cannot be encoded written as an escape: file names may hold any byte."""
    return text.encode("utf-8", "backslashreplace").decode()


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


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


def text(path: Path, repaired: list[Repair] | None = None) -> str:
    """Read a text file: UTF-16 where it is, else UTF-8, each byte that is none in Windows-1252; mended, see `mended`.

    Args:
        path: The file.
        repaired: Gets what was mended.

    Raises:
        UnusableError: If it cannot be read, or is no text.
    """
    try:
        if path.exists() and not path.is_file():
            raise UnusableError(path, "is no file")  # a pipe would never end
        content = path.read_bytes()
    except (OSError, ValueError, MemoryError) as error:
        raise UnusableError(path, f"cannot be read ({_reason(error)})") from None
    decoded, repairs = mended(_decoded(content))
    if sum(map(decoded.count, _CONTROLS)) > _BINARY * len(decoded):
        raise UnusableError(path, "is no text, neither in UTF-8 nor in Windows-1252")
    if odd := sum(map(decoded.count, _CONTROLS)):
        repairs["control characters taken out"] += odd
        decoded = decoded.translate(dict.fromkeys(map(ord, _CONTROLS)))
    if repaired is not None:
        repaired += [Repair(how, path.name, count) for how, count in repairs.items()]
    return decoded


_BINARY = 0.05
"""A text holds fewer control characters than this share; a file with more is no text (our choice)."""

_CONTROLS = [chr(code) for code in range(32) if chr(code) not in "\t\n\v\f\r"] + ["\x7f"]


def _decoded(content: bytes) -> str:
    """A text as it stands, bytes that are no UTF-8 as surrogates."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", "replace")
    low, high = content[::2].count(0), content[1::2].count(0)
    if (
        len(content) > 20 and max(low, high) > 0.2 * len(content) and min(low, high) == 0
    ):  # every other byte of English is 0
        return content.decode("utf-16-le" if high else "utf-16-be", "replace")
    return content.decode("utf-8-sig", "surrogateescape")


def mended(text: str) -> tuple[str, Counter[str]]:
    """Mend characters that went through the wrong encoding, and count them.

    A byte that is no UTF-8 is one of Windows-1252. The control characters U+0080 to U+009F mean what Windows-1252 has
    there: nobody types them, and the first tables of MELD hold them in place of apostrophes. UTF-8 that was read as
    Windows-1252 and written again ("â€™") is read once more. Where Windows-1252 has nothing, U+FFFD is left.

    Args:
        text: Bytes that were no UTF-8 as surrogates, see `_decoded`.

    Returns:
        The text, and how often what was mended.
    """
    repairs = Counter[str]()
    if text.isascii():
        return text, repairs
    for how, pattern, by in (
        ("bytes of Windows-1252", _NO_UTF8, lambda m: _WINDOWS[ord(m[0]) - 0xDC00]),
        ("characters encoded twice", _TWICE, _once),
        ("control characters for those of Windows-1252", _C1, lambda m: _WINDOWS[ord(m[0])]),
    ):
        changed = sum(by(found) != found[0] for found in pattern.finditer(text))
        if changed:
            text, repairs[how] = pattern.sub(by, text), changed
    return text, repairs


_WINDOWS = {code: bytes([code]).decode("cp1252", "replace") for code in range(128, 256)}
_BYTE = {sign: code for code, sign in _WINDOWS.items() if sign != "\ufffd"} | {
    chr(code): code for code in range(128, 160)
}
_NO_UTF8 = re.compile("[\udc80-\udcff]")
_C1 = re.compile("[\x80-\x9f]")
_NEXT = "[" + "".join(sign for sign, code in _BYTE.items() if code < 0xC0) + "]"
_SIGNS = "[" + "".join(sign for sign, code in _BYTE.items() if code in (0x80, 0x81, 0x82, 0x84)) + "]"
# Latin letters, signs such as quotation marks, emoji; and no more, since a letter with an accent before two marks is
# the end of a quotation (a caf\u00e9\u2026\u201d), not a Chinese character.
_TWICE = re.compile(f"[\xc2\xc3]{_NEXT}|\xe2{_SIGNS}{_NEXT}|\xf0[\x9f\u0178]{_NEXT}{{2}}")


def _once(found: re.Match[str]) -> str:
    """UTF-8 that was read as Windows-1252, read as UTF-8."""
    try:
        return bytes(_BYTE[sign] for sign in found[0]).decode()
    except UnicodeDecodeError:
        return found[0]


def lines(content: str) -> Iterator[tuple[int, str]]:
    """Go through the lines that are not blank: number from 1, and the line without spaces around it.

    A carriage return ends a line where it does so as a rule; elsewhere it is a stray character of a text.
    """
    alone = content.count("\r") - content.count("\r\n")
    ends = r"\r\n|\r|\n" if alone >= content.count("\n") else r"\r?\n"
    for number, line in enumerate(re.split(ends, content), start=1):
        if line.strip():
            yield number, line.strip()


def table(content: str, where: str, columns: Iterable[str]) -> tuple[list[tuple[str, dict[str, str]]], list[Skip]]:
    """Read comma-separated values with a header.

    Args:
        content: The file.
        where: Its name, for errors and for what is skipped.
        columns: Must be there; others may be.

    Returns:
        For each row where it ends and its fields by column, each in one line; and the rows that do not fit the
        header, or swallow the lines below them.

    Raises:
        CorpusError: If a column is missing.
    """
    records = _records(list(io.StringIO(content, newline="")))
    _, first, _ = next(records, (0, [], True))
    header = [name.strip() for name in first]
    if missing := [name for name in columns if name not in header]:
        raise CorpusError(f"{where} lacks the columns {', '.join(missing)}; its first line must name them. Restore it.")
    rows, skipped = [], []
    for number, row, closed in records:
        here = f"{where}, line {number}"
        if not closed:
            skipped.append(Skip(",".join(row), here, "swallows lines: a quotation mark is not closed"))
        elif len(row) != len(header):
            skipped.append(Skip(",".join(row), here, "has not as many fields as the header"))
        else:
            rows.append((here, dict(zip(header, map(_one_line, row), strict=True))))
    return rows, skipped


def _records(lines: list[str]) -> Iterator[tuple[int, list[str], bool]]:
    """Records of comma-separated values that are not blank: where they end, their fields, and whether all is closed.

    A field in quotation marks may hold several lines. Where a mark is not closed, the field goes on to the next mark,
    whatever that belongs to; then what stands behind that mark breaks the rules, or a line between is a record itself.
    Such a mark costs the line that it stands in: reading goes on with the next.
    """
    at = 0
    while at < len(lines):
        reader = csv.reader(lines[at : at + _LONGEST])
        try:
            row = next(reader)
            used, closed = reader.line_num, reader.line_num == 1 or _closed(lines[at : at + reader.line_num], len(row))
        except csv.Error:  # a field longer than any text
            row, used, closed = [lines[at].strip()], 1, False
        if not closed:
            row, used = [lines[at].strip()], 1
        at += used
        if any(field.strip() for field in row):
            yield at, row, closed


_LONGEST = 50
"""Lines that a record may have. A quotation mark that is not closed sooner never will be (our choice)."""


def _closed(record: list[str], fields: int) -> bool:
    try:
        list(csv.reader(record, strict=True))
        return all(len(next(csv.reader([line]), [])) != fields for line in record[1:-1])
    except csv.Error:
        return False


def _one_line(field: str) -> str:
    return " ".join(field.split()) if "\n" in field or "\r" in field else field.strip()


# Reading sound


def sound(path: Path) -> np.ndarray:
    """Read a sound file of any common format.

    Args:
        path: 8 to 32 bits or floats, any number of channels, one of `RATES`.

    Returns:
        float32, shape (samples,), at `SAMPLE_RATE` Hz; channels are averaged. Where they cancel each other (one is the
        other turned over, as by a wrongly wired microphone), it is the loudest of them.

    Raises:
        UnusableError: If it is missing, unreadable, cut short, empty, not finite, at another scale than -1 to 1,
            shorter than `SHORTEST`, or silent. A file is known to be cut short where its header says how long it is:
            raw streams and a few rare formats (IRCAM, MAT5, PAF, PVF, SD2, XI) do not. MP3 that does not is refused.
    """
    with _opened(path) as file:
        try:  # the number is named, since some codecs cannot be sought, and soundfile would ask them to
            channels, rate, stated = file.read(file.frames, "float32", always_2d=True), file.samplerate, file.frames
        except _UNREADABLE:
            raise UnusableError(path, "cannot be read to its end: it is damaged or cut short") from None
        scaled = file.subtype not in ("FLOAT", "DOUBLE")
    if len(channels) < _WHOLE * stated:
        raise UnusableError(path, "is cut short")
    wave = _mixed(channels)
    if not np.isfinite(wave).all():
        raise UnusableError(path, "holds numbers that are not finite")
    if not scaled and (peak := float(np.abs(wave).max(initial=0.0))) > LOUDEST:
        raise UnusableError(path, f"holds numbers up to {peak:.0f}: sound in floating point lies between -1 and 1")
    if np.abs(wave - wave.mean()).max(initial=0.0) < SILENCE:
        raise UnusableError(path, "is silent")
    return wave if rate == SAMPLE_RATE else _resampled(wave, rate)


def _mixed(channels: np.ndarray) -> np.ndarray:
    """Mean of the channels, (samples, channels) to (samples,), unless they cancel each other: then the loudest.

    Of n channels of which one speaks, or all say different things, the mean has 1 / n of their mean power. A tenth of
    that is left only where they are each other's opposite (the tenth is our choice).
    """
    wave = channels.mean(axis=1)
    if channels.shape[1] == 1 or not np.isfinite(wave).all():
        return wave
    power = channels.astype(float).var(axis=0)
    lost = wave.astype(float).var() < 0.1 * power.mean() / len(power)
    return channels[:, power.argmax()].copy() if lost else wave


def seconds(path: Path) -> float:
    """Return how long a sound file lasts, from its header.

    Raises:
        UnusableError: As `sound`, as far as a header tells.
    """
    with _opened(path) as file:
        return file.frames / file.samplerate


_UNREADABLE = (soundfile.SoundFileError, OSError, ValueError, TypeError, RuntimeError, MemoryError)
"""What libsndfile and its wrapper end in, given a file of anything."""


def _opened(path: Path) -> soundfile.SoundFile:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UnusableError(path, "is missing")  # a folder or a pipe of that name, which would never end
        path.open("rb").close()
        file = soundfile.SoundFile(os.fsencode(path))
    except FileNotFoundError:
        raise UnusableError(path, "is missing") from None
    except OSError as error:
        raise UnusableError(path, f"cannot be read ({_reason(error)})") from None
    except UnusableError:
        raise
    except _UNREADABLE:
        raise UnusableError(path, _NO_SOUND) from None
    if why := _fault(file, path):
        file.close()
        raise UnusableError(path, why)
    return file


def _fault(file: soundfile.SoundFile, path: Path) -> str:
    """What its header tells against a file, or nothing."""
    if _is_cut(file, path):
        return "is cut short"
    if file.format == "MP3" and not _counts_frames(path):
        return "is MP3 that does not state its length: make it a wav"  # libsndfile guesses it, and reads half
    if file.frames == 0:
        return "holds no sound"
    if file.samplerate not in RATES:
        return f"is sampled at {file.samplerate} Hz, which no recorder does"
    if file.frames / file.samplerate <= SHORTEST:
        return f"is not longer than {SHORTEST} s"
    return ""


_STATED = re.compile(r"^\s*(\w[\w ]*?)\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE)
_WRAPPERS = ("RIFF", "FORM")
"""Chunks around all others: what matters is whether the one with the sound is whole, which is named, too."""


def _is_cut(file: soundfile.SoundFile, path: Path) -> bool:
    """Whether a file ends before its header says so."""
    if file.format == "NIST":
        return _cut_sphere(path)
    if file.format == "OGG":
        return not _ends_ogg(path)
    for chunk, *sizes in _STATED.findall(file.extra_info):
        stated, there = map(int, sizes)
        # A header written before the length was known states the largest number there is.
        if chunk not in _WRAPPERS and there < _WHOLE * stated and stated < 2**31 - 2**16:
            return True
    promised = re.search(r"^ *Frames *: (\d+)$", file.extra_info, re.MULTILINE)
    if promised and file.frames < _WHOLE * int(promised[1]) < 2**31 - 2**16:
        return True
    return bool(re.search("seems to be (a )?truncated|^Data length .* should be", file.extra_info, re.MULTILINE | re.I))


def _counts_frames(path: Path) -> bool:
    """Whether the first frame of an MP3 file says how many follow."""
    with path.open("rb") as file:
        head = file.read(10)
        tag = 10 + sum((byte & 127) << 7 * place for place, byte in enumerate(reversed(head[6:])))
        file.seek(tag if head.startswith(b"ID3") else 0)
        return bool(re.search(b"Xing|Info|VBRI", file.read(64)))


def _cut_sphere(path: Path) -> bool:
    """NIST SPHERE: the header is text, and says how many samples follow."""
    with path.open("rb") as file:
        head = file.read(1024)
    facts = {name: int(value) for name, value in re.findall(rb"^(\w+) -(?:i|s\d+) (\d+)$", head, re.MULTILINE)}
    needed = [facts.get(name) for name in (b"sample_count", b"channel_count", b"sample_n_bytes")]
    if None in needed:
        return False
    return path.stat().st_size - 1024 < _WHOLE * math.prod(filter(None, needed))


def _ends_ogg(path: Path) -> bool:
    """Ogg: the last page says that it is the last, and how long it is (RFC 3533)."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2**16 - 300))  # a page is no longer
        last = file.read().rpartition(b"OggS")[2]
    segments = last[22] if len(last) > 22 else 255
    whole = len(last) >= 23 + segments + sum(last[23 : 23 + segments])
    return whole and bool(last[1] & 4)


def _resampled(wave: np.ndarray, rate: int) -> np.ndarray:
    import torch  # here, since most sound needs no resampling, and torch takes seconds to import

    return _resampler(rate)(torch.from_numpy(wave)).numpy()


@lru_cache(maxsize=len(RATES))
def _resampler(rate: int) -> Any:
    from mer_lib._torchaudio import torchaudio

    return torchaudio.transforms.Resample(rate, SAMPLE_RATE)


# Making the corpus


def corpus(
    name: str, root: Path, rows: list[dict], skipped: list[Skip], repaired: list[Repair], looked_for: str, **more: Any
) -> Corpus:
    """Put together what a loader found.

    Args:
        name: Name of the corpus.
        root: Its folder; the column `audio` is relative to it.
        rows: One per utterance, with the columns `COLUMNS` and others, the same in all.
        skipped: What was left out.
        repaired: What was mended in its texts.
        looked_for: In words, for the error.
        more: Further fields of `Corpus`; what is given as `version` is added to the state of the sound files.

    Raises:
        CorpusError: If nothing was found.
    """
    left_out = pd.DataFrame([Skip(*map(printable, skip)) for skip in skipped], columns=list(Skip._fields))
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
        repaired=pd.DataFrame(repaired, columns=list(Repair._fields)),
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


def say_left_out(name: str, kept: int, skipped: pd.DataFrame, repaired: pd.DataFrame | None = None) -> None:
    """Print how many utterances and files were left out, and why; and how often what was mended in the texts.

    The same is said only once, and nothing where there is nothing to say. Processes that help with the work are silent.
    """
    mends = 0 if repaired is None else len(repaired)
    if (not len(skipped) and not mends) or multiprocessing.current_process().name != "MainProcess":
        return
    sentence = f"{name}: {kept:,} utterances."
    if len(skipped):
        sentence += f" {_counted(skipped)}. See corpus.skipped."
    if repaired is not None and mends:
        counts = repaired.groupby("how", sort=False)["times"].sum()
        sentence += f" Mended: {'; '.join(f'{how}: {count:,}' for how, count in counts.items())}. See corpus.repaired."
    _say(sentence)


def _counted(skipped: pd.DataFrame, most: int = 8) -> str:
    if skipped.empty:
        return "Nothing was left out"
    counts = Counter(skipped["why"]).most_common()  # of equally many, the first comes first in every version of pandas
    reasons = [f"{why}: {count:,}" for why, count in counts[:most]]
    rest = [f"other reasons: {sum(count for _, count in counts[most:]):,}"] if len(counts) > most else []
    return f"Left out: {len(skipped):,} ({'; '.join(reasons + rest)})"


@cache
def _say(sentence: str) -> None:
    print(sentence)
