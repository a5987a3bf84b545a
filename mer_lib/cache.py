"""A cache on disk: tables of numbers by name, written whole or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from filelock import FileLock
from platformdirs import user_cache_path
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file


def cache_folder() -> Path:
    """Where features are kept: the environment's MER_LIB_CACHE, or the user's cache folder."""
    return Path(os.environ.get("MER_LIB_CACHE") or user_cache_path("mer_lib"))


def cached(name: str, key: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return what `make` makes, made once for each name and key.

    A process that wants what another one is making waits for it. A file that is damaged is made again.
    """
    path = cache_folder() / f"{name}-{digest(key)}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if path.exists():
            try:
                return load_file(path)
            except SafetensorError:
                path.unlink()
        arrays = make()
        unfinished = path.with_suffix(".tmp")
        save_file(arrays, unfinished)
        os.replace(unfinished, path)
        return arrays


def locked(path: Path) -> FileLock:
    """A lock for a file that several processes write; it lies in the cache, so that nothing is left beside the file."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    return FileLock(cache_folder() / f"file-{digest(str(path.resolve()))}.lock")


def digest(*parts: str) -> str:
    """A short name for a long description."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
