"""The corpora, each by its name, all with the face of `mer_lib.corpora.base.Corpus`."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from mer_lib.corpora import duet, iemocap, meld, msp_improv
from mer_lib.corpora.base import Corpus, CorpusError
from mer_lib.corpora.reading import say_left_out

BROUGHT = {module.NAME: module.load for module in (iemocap, msp_improv, meld)}
"""Loaders of the corpora that the reader brings."""


def names() -> list[str]:
    """Names that `load` knows."""
    return [*duet.names(), *BROUGHT]


def bare(name: str) -> str:
    """Name of a corpus without the options that follow it."""
    return name.partition("?")[0]


def load(name: str, root: str | Path | None = None, **options: Any) -> Corpus:
    """Load a corpus; print how much of it was left out and why, if anything was.

    Args:
        name: One of `names()`. Options may follow as in an address, "msp-improv?conditions=PS", so that a name is
            all that a chapter or a command needs.
        root: Folder of the corpus; None for the one that ships.
        options: What the corpus's own `load` takes besides.

    Raises:
        CorpusError: If the corpus or an option is unknown, or the corpus cannot be read.
    """
    options = dict(parse_qsl(name.partition("?")[2], keep_blank_values=True)) | options
    name = bare(name)
    if name not in names():
        raise CorpusError(f"There is no corpus {name!r}; known are {', '.join(names())}.")
    loader = BROUGHT.get(name, duet.load)
    known = list(inspect.signature(loader).parameters)
    if unknown := sorted(set(options) - set(known)):
        raise CorpusError(f"{name} has no option {unknown[0]!r}; it takes {', '.join(known[known.index('root') :])}.")
    if loader is duet.load:
        return duet.load(name, root, **options)
    corpus = loader(root, **options)
    say_left_out(name, len(corpus), corpus.skipped)
    return corpus
