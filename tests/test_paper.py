from __future__ import annotations

import pandas as pd
import pytest

from mer_lib.paper import TABLES, reported

COUNTS = {3: 40, 4: 12, 5: 18, 6: 16, 7: 24}
"""Numbers printed in each table of the deck, counted by hand."""


@pytest.mark.parametrize("table", TABLES)
def test_every_printed_number_is_there_once(table: int) -> None:
    rows = reported(table)
    assert len(rows) == COUNTS[table]
    assert not rows.duplicated([c for c in rows if c not in ("value", "best")]).any()
    assert rows["value"].between(0, 100).all()


def test_an_unknown_table_is_named() -> None:
    with pytest.raises(ValueError, match="no result table 8; it has 3, 4, 5, 6, 7"):
        reported(8)


def test_switches_are_true_false_or_missing() -> None:
    rows = reported(6)
    assert rows["l_ua"].tolist() == [True] * 6 + [False] * 2 + [True] * 6 + [False] * 2
    assert reported(4)["l_ua"].isna().all()


def test_numbers_that_the_deck_prints_twice_agree() -> None:
    """Average of Table 3 = WA of Tables 4, 6 and 7; F1 of Table 5 = F1 of Tables 6 and 7."""
    three = _full(3).query("metric == 'average' and modality == 'A+T' and l_ua").set_index("dataset")["value"]
    six = _full(6).query("l_ua and l_sp and attention").set_index(["dataset", "metric"])["value"]
    seven = _full(7).query("system == 'Our Method' and l_ua").set_index(["dataset", "metric"])["value"]
    pd.testing.assert_series_equal(six.sort_index(), seven.sort_index())
    for dataset in ("IEMOCAP", "MSP-Improv"):
        assert three[dataset] == six[dataset, "WA"]
    alone = reported(3).query("metric == 'average' and dataset == 'IEMOCAP'")
    alone = alone[alone["l_ua"].fillna(True)].set_index("modality")["value"]
    four = reported(4).query("system == 'Our Method'").set_index("modality")["value"]
    pd.testing.assert_series_equal(alone, four)
    five = reported(5).query("system == 'Our Method' and modality == 'A+T'")["value"].item()
    assert five == six["MSP-Improv", "F1"]


def test_the_best_mark_is_on_the_largest_number_of_its_column() -> None:
    rows = reported(3)
    largest = rows.groupby(["dataset", "class"])["value"].transform("max")
    assert (rows["best"] == (rows["value"] == largest)).all()


def _full(table: int) -> pd.DataFrame:
    """Switches as plain truth values; where the deck does not say, False."""
    rows = reported(table)
    return rows.assign(**{c: rows[c].fillna(False).astype(bool) for c in ("l_ua", "l_sp", "attention")})
