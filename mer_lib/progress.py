"""What a reader sees while a cell works: a line on stdout, five seconds after the cell began, gone when it is done."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from typing import Any, TypeVar

from tqdm import tqdm

BUILDING = "MER_BOOK_BUILD"
"""Environment variable that is set where the book is built: nobody watches there, and a page shows results only."""

PATIENCE = 5.0
"""Seconds for which a cell may be silent (our choice)."""

Item = TypeVar("Item")

_cell = {"began": 0.0}  # of the running cell, once `_clock` watches


def _shell() -> Any:
    """The interactive shell of a notebook's kernel; None elsewhere."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell if getattr(shell, "kernel", None) else None


def _clock() -> float:
    """When the running cell began; many short trainings in one cell are as long a silence as one long one."""
    if not _cell["began"]:
        _begin()
        _shell().events.register("pre_run_cell", _begin)
    return _cell["began"]


def _begin(*_: object) -> None:
    _cell["began"] = time.monotonic()


def watched() -> bool:
    """Whether somebody watches: the code runs in a notebook's kernel, and not for the built book."""
    return _shell() is not None and not os.environ.get(BUILDING)


def progress(items: Iterable[Item], what: str, total: int | None = None) -> Iterable[Item]:
    """Go through items, and tell who waits how far it is: in a notebook on stdout, in a terminal on stderr.

    Args:
        items: What is worked on, one after the other.
        what: What is done with them, such as "frames of duet-i".
        total: How many there are, where `items` cannot tell.
    """
    if not watched():
        return tqdm(items, desc=what, total=total, delay=PATIENCE, leave=False, disable=not sys.stderr.isatty())
    began = _clock()
    silent = time.monotonic() - began
    return tqdm(items, desc=what, total=total, delay=max(0.0, PATIENCE - silent), file=sys.stdout, leave=False)
