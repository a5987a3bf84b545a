"""The corpora, each by its name, all with the face of `mer_lib.corpora.base.Corpus`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mer_lib.corpora import duet, iemocap, meld, msp_improv
from mer_lib.corpora.base import Corpus, CorpusError
from mer_lib.corpora.reading import say_left_out

BROUGHT = {module.NAME: module.load for module in (iemocap, msp_improv, meld)}
"""Loaders of the corpora that the reader brings."""


def names() -> list[str]:
    """Names that `load` knows."""
    return [*duet.names(), *BROUGHT]


def load(name: str, root: str | Path | None = None, **options: Any) -> Corpus:
    """Load a corpus; print how much of it was left out and why, if anything was.

    Args:
        name: One of `names()`.
        root: Folder of the corpus; None for the one that ships.
        options: What the corpus's own `load` takes besides.

    Raises:
        CorpusError: If the corpus is unknown or cannot be read.
    """
    if name in duet.names():
        return duet.load(name, root, **options)
    if name not in BROUGHT:
        raise CorpusError(f"There is no corpus {name!r}; known are {', '.join(names())}.")
    corpus = BROUGHT[name](root, **options)
    say_left_out(name, len(corpus), corpus.skipped)
    return corpus
