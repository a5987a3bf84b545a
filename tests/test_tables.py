from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mer_lib import tables
from mer_lib.ceilings import ceilings
from mer_lib.corpora.base import EMOTIONS
from mer_lib.corpora.duet import process
from mer_lib.experiments import TABLES, keep_results
from mer_lib.metrics import mean_interval


def runs(corpus: str = "duet-i", folds: int = 3, seeds: int = 2) -> pd.DataFrame:
    """Made-up results: a score that tells variant, fold and seed apart."""
    rows = []
    for number, variant in enumerate(TABLES["table3"]):
        for fold in range(1, folds + 1):
            for seed in range(seeds):
                score = 60 + 5 * number + fold + seed / 2
                scores = dict.fromkeys(("wa", "ua", "f1", *EMOTIONS), score)
                place = {"corpus": corpus, "system": "method", "variant": variant, "fold": fold, "seed": seed}
                rows.append(
                    {**place, **scores, "parameters": 1000 + fold, "seconds": 2.0, "key": f"{number}{fold}{seed}"}
                )
    return pd.DataFrame(rows)


def test_table_3_has_the_mean_and_interval_over_folds_with_seeds_averaged_first() -> None:
    table = tables.table3(runs(), "duet-i")
    mean, low, high = mean_interval([71.25, 72.25, 73.25])
    assert list(table.index) == list(TABLES["table3"])
    for shown in (*EMOTIONS, "WA", "UA"):
        assert table.loc["A+T (w/o L_ua)", [("measured", shown), ("low", shown), ("high", shown)]].tolist() == (
            pytest.approx([mean, low, high])
        )
    assert table["cost"].loc["A"].tolist() == [1002, 2.0, 3, 2]


@pytest.mark.parametrize(("corpus", "average"), [("duet-i", 85.92), ("duet-m", 86.75)])
def test_the_decks_numbers_stand_beside_the_corpus_that_mirrors_its_dataset(corpus: str, average: float) -> None:
    table = tables.table3(runs(corpus), corpus)
    assert table.loc["A+T", ("reported", "average")] == average
    assert list(table["reported"].columns) == [*EMOTIONS, "average"]


def test_the_deck_has_nothing_to_say_on_duet_x_and_nobody_knows_a_ceiling_of_iemocap() -> None:
    assert "reported" not in tables.table3(runs("duet-x"), "duet-x")
    assert {"ceiling", "share"}.isdisjoint(tables.table3(runs("iemocap"), "iemocap").columns.levels[0])


@pytest.mark.parametrize("name", ["duet-i", "duet-m"])
def test_class_ceilings_average_to_those_of_the_ceilings_module(name: str) -> None:
    by_class, whole = tables.ceilings_by_class(process(name)), ceilings(process(name), dialogues=10)
    for channel in ("audio", "text", "both"):
        assert by_class.loc[channel, "WA"] == pytest.approx(100 * whole.loc[channel, "accuracy"])
        assert by_class.loc[channel, "UA"] == pytest.approx(100 * whole.loc[channel, "mean_recall"])
        assert by_class.loc[channel, list(EMOTIONS)].mean() == pytest.approx(by_class.loc[channel, "UA"])


def test_ceilings_of_a_drawn_corpus_are_those_of_the_ceilings_module() -> None:
    drawn = process("duet-i").draw(1000)
    by_class = tables.ceilings_by_class(process("duet-i"), drawn)
    whole = ceilings(process("duet-i"), drawn, dialogues=10)
    for channel in ("audio", "text", "both"):
        assert by_class.loc[channel, "WA"] == pytest.approx(100 * whole.loc[channel, "accuracy_drawn"])
        assert by_class.loc[channel, "UA"] == pytest.approx(100 * whole.loc[channel, "mean_recall_drawn"])


def test_a_corpus_of_another_process_has_no_ceiling() -> None:
    with pytest.raises(ValueError, match=r"duet-i cannot produce .* was it drawn from another"):
        tables.ceilings_by_class(process("duet-i"), process("duet-x").draw(20))


def test_one_channel_that_is_believed_has_the_planted_recalls_as_its_ceiling() -> None:
    by_class = tables.ceilings_by_class(process("duet-i"))
    assert by_class.loc["audio", list(EMOTIONS)].tolist() == pytest.approx([57, 64, 66, 91])
    assert by_class.loc["text", list(EMOTIONS)].tolist() == pytest.approx([91, 88, 72, 71])


def test_no_emotion_gains_by_its_place_in_a_list_where_answers_are_equally_good() -> None:
    by_class = tables.ceilings_by_class(process("duet-x"))
    np.testing.assert_allclose(by_class[list(EMOTIONS)].to_numpy(), by_class[["UA"]].to_numpy().repeat(4, axis=1))


def test_the_share_of_the_ceiling_is_what_was_measured_over_the_ceiling_of_its_own_channel() -> None:
    table = tables.table3(runs(), "duet-i")
    assert table.loc["A", ("share", "UA")] == pytest.approx(100 * 62.25 / 69.5)
    assert table.loc["T", ("share", "UA")] == pytest.approx(100 * 67.25 / 80.5)


def test_ceilings_by_kind_follow_the_number_of_clauses_where_words_never_err() -> None:
    table = tables.ceilings_by_kind(replace(process("duet-x"), words=(1.0,) * 4))
    focus = [f"focus, {n} clauses" for n in (2, 3, 4)]
    assert table.loc[focus, "text"].tolist() == pytest.approx([50, 100 / 3, 25])
    assert table.loc[["ordinary", "irony"], "text"].tolist() == pytest.approx([100, 0])
    assert table["both"].tolist() == pytest.approx([100] * 6)
    assert table.loc[[*focus, "all"], "share"].tolist() == pytest.approx([25, 15, 10, 100])
    assert table.loc["all", "text"] == pytest.approx(100 / 3 + 0.25 * 50 + 0.15 * 100 / 3 + 0.1 * 25)


def test_ceilings_by_kind_and_by_class_agree_on_the_whole() -> None:
    by_kind, by_class = (make(process("duet-x")) for make in (tables.ceilings_by_kind, tables.ceilings_by_class))
    assert by_kind.loc["all", ["text", "both"]].tolist() == pytest.approx(by_class.loc[["text", "both"], "WA"].tolist())
    assert (by_kind["late"] <= by_kind["both"] + 1e-9).all()


def test_a_kind_is_told_by_what_was_planted() -> None:
    assert tables.kind_of("happy", -1, "sad") == "ordinary"
    assert tables.kind_of("deadpan", -1, "sad") == "irony"
    assert tables.kind_of("angry", 0, "sad|happy|neutral") == "focus, 3 clauses"


def test_variants_that_ran_on_other_folds_or_twice_are_not_put_into_one_table() -> None:
    with pytest.raises(ValueError, match="other folds or seeds"):
        tables.table3(runs().drop(index=0), "duet-i")
    with pytest.raises(ValueError, match="other folds or seeds"):
        tables.table3(pd.concat([runs(), runs().head(1)]), "duet-i")


def test_results_without_the_corpus_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no run of Table 3 on 'duet-m' among the results \(corpora: duet-i\)"):
        tables.table3(runs(), "duet-m")
    with pytest.raises(ValueError, match=r"corpora: none"):
        tables.table3(runs().head(0), "duet-m")


def test_the_deck_is_asked_for_a_dataset_that_it_has() -> None:
    with pytest.raises(ValueError, match="no dataset 'MELD'; it has IEMOCAP, MSP-Improv"):
        tables.deck3("MELD")


def test_a_further_seed_lies_within_the_prediction_interval() -> None:
    record = runs(folds=1, seeds=5)
    live = record[record["seed"] == 0]
    found = tables.agreement(live, record)
    assert found["inside"].all()
    # 61, 61.5 ... 63: mean 62, deviation sqrt(0.625); the 99.95% point of Student's t with 4 degrees is 8.610
    half = 8.6103 * np.sqrt(0.625 * 6 / 5)
    assert found.loc["A", ["mean", "low", "high"]].tolist() == pytest.approx([62, 62 - half, 62 + half], abs=1e-3)
    assert not tables.agreement(live.assign(ua=live["ua"] + 10), record)["inside"].any()


def test_a_record_of_other_settings_or_with_too_few_seeds_is_refused() -> None:
    record = runs(folds=1, seeds=3)
    with pytest.raises(ValueError, match="A on duet-i, fold 1 is of other data or settings"):
        tables.agreement(record.head(1).assign(key="other"), record)
    with pytest.raises(ValueError, match=r"has 2 seeds of A on duet-i, fold 1; it takes three"):
        tables.agreement(record.head(1), record[record["seed"] < 2])


def test_the_files_of_all_corpora_are_read_and_none_is_an_empty_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "folder", lambda name: tmp_path)
    assert tables.recorded().empty
    for corpus in ("duet-i", "duet-m"):
        keep_results(runs(corpus), tmp_path / f"{corpus}.csv")
    assert set(tables.recorded()["corpus"]) == {"duet-i", "duet-m"}


def test_without_a_folder_of_results_the_record_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Path:
        raise FileNotFoundError(name)

    monkeypatch.setattr(tables, "folder", missing)
    assert tables.recorded().empty


def test_the_page_shows_mean_and_interval_in_one_cell_and_the_decks_digits_unchanged() -> None:
    html = tables.styled(tables.table3(runs(), "duet-i"), "A caption.").to_html()
    half = mean_interval([1.0, 2.0, 3.0])[2] - 2
    assert f"62.2<br><small>±{half:.1f}</small>" in html
    assert "57.11" in html
    assert "<caption>A caption.</caption>" in html
    assert "reported by the deck" in html


def test_a_single_fold_is_shown_without_an_interval() -> None:
    html = tables.styled(tables.table3(runs("duet-x", folds=1), "duet-x"), "One fold.").to_html()
    assert "61.2" in html
    assert "nan" not in html
    assert "±" not in html.replace("± 95% interval", "")
