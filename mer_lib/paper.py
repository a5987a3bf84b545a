"""The numbers that the deck reports, to print beside our own and never as our own."""

from __future__ import annotations

import pandas as pd

from mer_lib.shipped import folder

TABLES = (3, 4, 5, 6, 7)


def reported(table: int) -> pd.DataFrame:
    """Read one of the deck's result tables.

    Args:
        table: Its number in the deck, 3 to 7.

    Returns:
        One row per printed number, in per cent, with the columns `table`, `dataset` ("IEMOCAP" or "MSP-Improv"),
        `system`, `reference`, `modality` ("A", "T", "A+T"), `l_ua`, `l_sp`, `attention` (True, False, or missing
        where the deck does not say), `metric` ("accuracy" of one class, "average", "WA", "F1"), `class`, `value`,
        `best` (printed bold) and `reproduced` (the deck's authors ran that system themselves).

    Raises:
        ValueError: If the deck has no such result table.

    Shown in chapters 11, 12, 13 and 16.
    """
    if table not in TABLES:
        raise ValueError(f"The deck has no result table {table!r}; it has {', '.join(map(str, TABLES))}.")
    rows = pd.read_csv(folder("paper") / f"table{table}.csv", keep_default_na=False)
    switches = ["l_ua", "l_sp", "attention", "best", "reproduced"]
    for column in switches:
        rows[column] = rows[column].map({"yes": True, "no": False, "": pd.NA}).astype("boolean")
    return rows
