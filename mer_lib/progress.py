"""What a reader sees while a cell works: one line on stdout, after five seconds, gone when the work is done."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

BUILDING = "MER_BOOK_BUILD"
"""Environment variable that is set where the book is built: nobody watches there, and a page shows results only."""

PATIENCE = 5.0
"""Seconds for which a cell may be silent (our choice)."""

Item = TypeVar("Item")


def watched() -> bool:
    """Whether somebody watches: the code runs in a notebook's kernel, and not for the built book."""
    return "ipykernel" in sys.modules and not os.environ.get(BUILDING)


def progress(items: Iterable[Item], what: str, total: int | None = None) -> Iterable[Item]:
    """Go through items, and tell a reader who waits how far it is.

    Args:
        items: What is worked on, one after the other.
        what: What is done with them, such as "frames of duet-i".
        total: How many there are, where `items` cannot tell.
    """
    if not watched():
        return items
    return tqdm(items, desc=what, total=total, delay=PATIENCE, file=sys.stdout, leave=False, dynamic_ncols=False)
