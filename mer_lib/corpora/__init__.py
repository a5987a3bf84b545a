"""The corpora, each by its name, all with the face of `mer_lib.corpora.base.Corpus`."""

from __future__ import annotations

import inspect
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


def bare(name: str) -> str:
    """Name of a corpus without the options that follow it."""
    return name.partition("?")[0]


def asked(name: str) -> dict[str, str]:
    """Options that follow the name of a corpus, as in "msp-improv?conditions=PS"; several are joined by "&".

    Raises:
        CorpusError: If the corpus or an option is unknown, or an option has no value.
    """
    if bare(name) not in names():
        raise CorpusError(f"There is no corpus {bare(name)!r}; known are {', '.join(names())}.")
    loader = BROUGHT.get(bare(name), duet.load)
    known = [option for option in inspect.signature(loader).parameters if option not in ("name", "root")]
    options = dict(part.partition("=")[::2] for part in name.partition("?")[2].split("&") if part)
    for option, value in options.items():
        if option not in known or not value:
            wrong = "no value for" if option in known else "no"
            raise CorpusError(f"{bare(name)} has {wrong} option {option!r}; it takes {', '.join(known) or 'none'}.")
    return options


def load(name: str, root: str | Path | None = None, **options: Any) -> Corpus:
    """Load a corpus; print how much of it was left out and why, if anything was.

    Args:
        name: One of `names()`. Options may follow, see `asked`, so that a name is all that a chapter needs.
        root: Folder of the corpus; None for the one that ships.
        options: What the corpus's own `load` takes besides.

    Raises:
        CorpusError: If the corpus or an option is unknown, or the corpus cannot be read.
    """
    options, name = asked(name) | options, bare(name)
    if name in duet.names():
        return duet.load(name, root, **options)
    corpus = BROUGHT[name](root, **options)
    say_left_out(name, len(corpus), corpus.skipped, corpus.repaired)
    return corpus
