"""The corpora, each by its name, all with the face of `mer_lib.corpora.base.Corpus`."""

from __future__ import annotations

from pathlib import Path

from mer_lib.corpora import duet
from mer_lib.corpora.base import Corpus, CorpusError


def names() -> list[str]:
    """Names that `load` knows."""
    return duet.names()


def load(name: str, root: str | Path | None = None, **options: object) -> Corpus:
    """Load a corpus.

    Args:
        name: One of `names()`.
        root: Folder of the corpus; None for the one that ships.
        options: What the corpus's own `load` takes besides.

    Raises:
        CorpusError: If the corpus is unknown or cannot be read.
    """
    if name in duet.names():
        return duet.load(name, root, **options)
    raise CorpusError(f"There is no corpus {name!r}; known are {', '.join(names())}.")
