"""What a command answers, and what commands share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Answer:
    """What goes to stdout, and what could not be done.

    Attributes:
        found: A table; or sentences, one a line.
        problems: Sentences for stderr.
        data: What JSON shows where it is not the table.
    """

    found: pd.DataFrame | Sequence[str]
    problems: Sequence[str] = ()
    data: Any = None

    def as_text(self) -> str:
        """For a reader."""
        return self.found.to_string(index=False) if isinstance(self.found, pd.DataFrame) else "\n".join(self.found)

    def as_json(self) -> str:
        """For a program."""
        return json.dumps(rows(self.found) if self.data is None else self.data, indent=1)


def rows(table: Any) -> list[dict[str, Any]]:
    """The rows of a table for JSON, which has no NaN: what is unknown, like an end of an interval, becomes null."""
    return table.astype(object).where(table.notna(), None).to_dict("records")


def flat(table: pd.DataFrame) -> pd.DataFrame:
    """A summary with one line of column names."""
    table = table.round(2)
    table.columns = ["_".join(column) for column in table.columns]
    return table.reset_index()


def path(text: str) -> Path:
    """A path as a shell would read it, also where no shell did: `~` is the home folder."""
    return Path(text).expanduser()
