"""How Duet is stored: Ogg Opus files in one zip per session, the same bytes for the same sound."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile

from mer_lib.corpora.base import SAMPLE_RATE, CorpusError

COMPRESSION = 0.98
"""From 0 to 1. Here 1.4 kB per second of speech; 0.95 takes 2.4, and 1.0 is not usable."""

_EPOCH = (1980, 1, 1, 0, 0, 0)
_TAGS = b"OpusTags" + (4).to_bytes(4, "little") + b"duet" + bytes(4)


def encode(wave: np.ndarray) -> bytes:
    """Compress a sound to Ogg Opus.

    Args:
        wave: float, shape (samples,), mono, at 16,000 Hz, within -1 and 1.

    Returns:
        A whole file, the same for the same sound and version of libsndfile.
    """
    file = io.BytesIO()
    soundfile.write(file, wave, SAMPLE_RATE, format="OGG", subtype="OPUS", compression_level=COMPRESSION)
    return b"".join(_anew(page) for page in _pages(file.getvalue()))


def pack(path: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write files into a zip, not compressed again, the same bytes for the same files."""
    part = path.with_suffix(".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as packed:
        for name, content in files:
            packed.writestr(zipfile.ZipInfo(name, _EPOCH), content)
    os.replace(part, path)


def read(path: Path, name: str) -> np.ndarray:
    """Read one sound out of a zip.

    Args:
        path: The zip.
        name: The file in it.

    Returns:
        float32, shape (samples,), mono, at 16,000 Hz.

    Raises:
        CorpusError: If the zip or the file in it is missing or damaged.
    """
    try:
        wave, rate = soundfile.read(io.BytesIO(_zip(path, path.stat().st_mtime_ns).read(name)), dtype="float32")
    except FileNotFoundError:
        raise CorpusError(f"There is no {path}. Restore it, or generate the corpus again.") from None
    except KeyError:
        raise CorpusError(f"{path} holds no {name}. Restore the zip, or generate the corpus again.") from None
    except zipfile.BadZipFile as error:
        raise CorpusError(f"{path} is damaged or cut short ({error}). Restore it.") from None
    except soundfile.LibsndfileError as error:
        raise CorpusError(f"{name} in {path} is damaged or cut short ({error.error_string}). Restore it.") from None
    if wave.ndim != 1 or rate != SAMPLE_RATE:
        raise CorpusError(f"{name} in {path} is not mono at {SAMPLE_RATE} Hz. Restore the zip.")
    return wave


@lru_cache(maxsize=16)
def _zip(path: Path, written: int) -> zipfile.ZipFile:
    """Hold a zip of some megabytes in memory: an open file must not be shared between processes.

    `written` is when: a corpus that is generated again into the same folder is read again.
    """
    return zipfile.ZipFile(io.BytesIO(path.read_bytes()))


def _pages(stream: bytes) -> Iterator[bytes]:
    """Split an Ogg stream (RFC 3533) into its pages."""
    while stream:
        segments = stream[26]
        size = 27 + segments + sum(stream[27 : 27 + segments])
        yield stream[:size]
        stream = stream[size:]


def _anew(page: bytes) -> bytes:
    """Write a page with serial number 0 (libsndfile draws one) and short tags (libsndfile pads them to 0.8 kB)."""
    segments = page[26]
    head, lacing, body = bytearray(page[:27]), page[27 : 27 + segments], page[27 + segments :]
    if body.startswith(b"OpusTags"):
        head[26], lacing, body = 1, bytes([len(_TAGS)]), _TAGS
    head[14:18] = head[22:26] = bytes(4)
    head[22:26] = _checksum(bytes(head) + lacing + body).to_bytes(4, "little")
    return bytes(head) + lacing + body


def _remainder(byte: int) -> int:
    value = byte << 24
    for _ in range(8):
        value = (value << 1) & 0xFFFFFFFF ^ (0x04C11DB7 if value >> 31 else 0)
    return value


_REMAINDERS = [_remainder(byte) for byte in range(256)]


def _checksum(page: bytes) -> int:
    """Cyclic redundancy check of Ogg: polynomial 0x04c11db7, nothing reflected."""
    value = 0
    for byte in page:
        value = (value << 8) & 0xFFFFFFFF ^ _REMAINDERS[value >> 24 ^ byte]
    return value
