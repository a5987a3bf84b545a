"""The corpora, each by its name, all with the face of `mer_lib.corpora.base.Corpus`."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from mer_lib.corpora import duet, iemocap, meld, msp_improv
from mer_lib.corpora.base import EMOTIONS, Corpus, CorpusError, label_set
from mer_lib.corpora.reading import say_left_out

_MODULES = (iemocap, msp_improv, meld)

BROUGHT = {module.NAME: module.load for module in _MODULES}
"""Loaders of the corpora that the reader brings."""

SETS = {module.NAME: module.SETS for module in _MODULES if hasattr(module, "SETS")}
"""Their sets of classes, the usual one first: number of classes to the class of each label of the release."""

EVERY_EMOTION = tuple(
    dict.fromkeys(e for known in SETS.values() for classes in known.values() for e in classes.values())
)
"""The classes of all corpora, the usual four first."""


def names() -> list[str]:
    """Names that `load` knows."""
    return [*duet.names(), *BROUGHT]


def bare(name: str) -> str:
    """Name of a corpus without the options that follow it."""
    return name.partition("?")[0]


def options_of(name: str) -> list[str]:
    """Options that may follow the name of a corpus, see `asked`."""
    loader = BROUGHT.get(bare(name), duet.load)
    return [option for option in inspect.signature(loader).parameters if option not in ("name", "root")]


def asked(name: str) -> dict[str, str]:
    """Options that follow the name of a corpus, as in "msp-improv?conditions=PS"; several are joined by "&".

    Raises:
        CorpusError: If the corpus or an option is unknown, or an option has no value.
    """
    if bare(name) not in names():
        raise CorpusError(f"There is no corpus {bare(name)!r}; known are {', '.join(names())}.")
    known = options_of(name)
    options = dict(part.partition("=")[::2] for part in name.partition("?")[2].split("&") if part)
    for option, value in options.items():
        if option not in known or not value:
            wrong = "no value for" if option in known else "no"
            raise CorpusError(f"{bare(name)} has {wrong} option {option!r}; it takes {', '.join(known) or 'none'}.")
    return options


def emotions(name: str) -> tuple[str, ...]:
    """Classes of a corpus, in order, as its name and the options in it tell; nothing is read.

    Raises:
        CorpusError: If the corpus, an option or the set of classes is unknown.
    """
    number, known = asked(name).get("labels", "").partition(":")[0], SETS.get(bare(name))
    if known is None:
        return EMOTIONS
    usual = str(next(iter(known)))  # also those of a label table
    classes = label_set(bare(name), number if number.isdecimal() else usual, known)
    return tuple(dict.fromkeys(classes.values()))


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
