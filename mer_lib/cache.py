"""A cache on disk: tables of numbers by name, written whole or not at all."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import numpy as np
from filelock import FileLock
from platformdirs import user_cache_path
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file


def cache_folder() -> Path:
    """Where features are kept: the environment's MER_LIB_CACHE, or the user's cache folder."""
    return Path(os.environ.get("MER_LIB_CACHE") or user_cache_path("mer_lib")).expanduser()


def cached(name: str, key: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return what `make` makes, made once for each name and key.

    A process that wants what another one is making waits for it. A file that is damaged is made again.

    Raises:
        ValueError: If the cache cannot be written.
    """
    path = cache_folder() / f"{name}-{digest(key)}.safetensors"
    with alone(path.with_suffix(".lock")):
        if path.exists():
            try:
                return load_file(path)
            except SafetensorError:
                path.unlink()
        for stale in path.parent.glob(f"{path.stem}.*.tmp"):  # of a process that was killed; no other one has the lock
            stale.unlink()
        arrays = make()
        with whole(path) as unfinished:
            save_file(arrays, unfinished)
        return arrays


def locked(path: Path) -> AbstractContextManager[object]:
    """A lock for a file that several processes write; it lies in the cache, so that nothing is left beside the file."""
    return alone(cache_folder() / f"file-{digest(str(path.resolve()))}.lock")


def alone(lock: Path) -> AbstractContextManager[object]:
    """Wait until no other process holds a lock, then hold it.

    Raises:
        ValueError: If the file of the lock cannot be written.
    """
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(lock).acquire()
    except OSError as error:
        raise _unwritable(lock.parent, error) from None


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Write a file whole or not at all: what is written to the path that is given takes the place of `path` at the end.

    Raises:
        ValueError: If it cannot be written; nothing of it is left then.
    """
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        yield unfinished
        os.replace(unfinished, path)
    except (OSError, SafetensorError) as error:
        raise _unwritable(path, error) from None
    finally:
        with suppress(OSError):  # it is not there, or its folder is none
            unfinished.unlink()


def require_writable(folder: Path) -> None:
    """Try to write into a folder that may not be there yet, before hours are spent on what is to lie in it.

    Nothing is left behind, not even the folder.

    Raises:
        ValueError: If nothing can be written there.
    """
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists() or place.is_symlink())
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(bytes(4096))  # a full disk takes the name of a file, but nothing in it
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _unwritable(folder, error) from None


def _unwritable(path: Path, error: Exception) -> ValueError:
    why = getattr(error, "strerror", None) or " ".join(str(error).split())
    inside = cache_folder() in (path, *path.parents)
    cure = "name another folder by the environment's MER_LIB_CACHE" if inside else "choose another place"
    return ValueError(f"{path} cannot be written ({why}). Make room or give the right to write there, or {cure}.")


def digest(*parts: str) -> str:
    """A short name for a long description."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
