from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mer_lib import experiments, progress, tables
from mer_lib.ceilings import ceilings
from mer_lib.corpora.base import EMOTIONS
from mer_lib.corpora.duet import process
from mer_lib.experiments import RUN, TABLES, keep_results
from mer_lib.metrics import holm, mean_interval, paired_difference
from mer_lib.progress import BUILDING


def runs(corpus: str = "duet-i", folds: int = 3, seeds: int = 2, table: str = "table3") -> pd.DataFrame:
    """Made-up results: a score that tells variant, fold and seed apart."""
    rows = []
    for number, variant in enumerate(TABLES[table]):
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


@pytest.mark.parametrize(("table", "wa", "f1"), [("table6", 84.79, 83.02), ("table7", 84.64, 83.63)])
def test_tables_6_and_7_have_wa_and_f1_of_the_deck_beside_ours(table: str, wa: float, f1: float) -> None:
    made = tables.ablation(runs(table=table), "duet-i", table)
    variant = {"table6": "A+T (w/o attention, L_sp)", "table7": "Bi-GRU"}[table]
    assert list(made.index) == list(TABLES[table])
    assert made.loc[variant, "reported"].tolist() == [wa, f1]
    assert list(made["measured"].columns) == ["WA", "F1", "UA"]
    assert made.loc["A+T", "reported"].tolist() == [85.92, 84.48]
    assert list(made["ceiling"].columns) == ["WA", "UA"]
    assert (
        made.loc[variant, "ceiling"].tolist()
        == tables.table3(runs(), "duet-i").loc["A+T", "ceiling"][["WA", "UA"]].tolist()
    )


@pytest.mark.parametrize("table", ["parts", "weights", "alignment"])
def test_a_table_that_the_deck_does_not_have_has_no_numbers_of_the_deck(table: str) -> None:
    made = tables.ablation(runs(table=table), "duet-i", table)
    assert "reported" not in made
    assert set(made.index) == set(TABLES[table])


def test_a_table_that_nobody_has_is_refused() -> None:
    with pytest.raises(ValueError, match="no table 'table9'; there are table3, table6"):
        tables.ablation(runs(), "duet-i", "table9")
    with pytest.raises(ValueError, match="no result table 8"):
        tables.deck(8, "IEMOCAP")


@pytest.mark.parametrize(
    ("table", "corpus", "variant", "column", "value"),
    [
        ("table4", "duet-i", "Lian 2019", "WA", 78.02),
        ("table4", "duet-i", "A+T", "WA", 85.92),
        ("table5", "duet-m", "MMIN: T", "F1", 55.73),
        ("table5", "duet-m", "plain Bi-GRU: A+T", "F1", 82.70),
        ("table5", "duet-m", "A", "F1", 55.50),
    ],
)
def test_tables_4_and_5_stand_beside_the_deck_on_the_one_dataset_that_it_has(
    table: str, corpus: str, variant: str, column: str, value: float
) -> None:
    made = tables.ablation(runs(corpus, table=table), corpus, table)
    assert list(made.index) == list(TABLES[table])
    assert made.loc[variant, ("reported", column)] == value
    other = "duet-m" if corpus == "duet-i" else "duet-i"
    assert "reported" not in tables.ablation(runs(other, table=table), other, table)


def test_a_system_that_hears_only_is_held_against_the_ceiling_of_hearing() -> None:
    made = tables.ablation(runs("duet-m", table="table5"), "duet-m", "table5")
    for channel in ("A", "T", "A+T"):
        assert made.loc[f"MMIN: {channel}", "ceiling"].equals(made.loc[channel, "ceiling"])


def test_a_system_that_reads_the_dialogue_is_held_against_the_ceiling_with_context() -> None:
    made = tables.ablation(runs("duet-x", table="table4"), "duet-x", "table4")
    best = 100 * ceilings(process("duet-x")).loc["both+context", ["accuracy", "mean_recall"]]
    assert made.loc["DANN", "ceiling"].tolist() == pytest.approx(best.tolist())
    assert made.loc["DANN", ("share", "UA")] == pytest.approx(100 * made.loc["DANN", ("measured", "UA")] / best.iloc[1])
    assert made.loc["MER-HAN", "ceiling"].equals(made.loc["A+T", "ceiling"])
    assert (made["ceiling"].loc["DANN"] > made["ceiling"].loc["A+T"]).all()
    seen = made["sees", "context"]
    assert set(seen.index[seen == "utterance"]) == {"MER-HAN", "Maji 2023", "A", "T", "A+T"}


def test_a_page_shows_what_a_training_costs_where_it_asks_for_that() -> None:
    made = tables.ablation(runs("duet-m", table="table5"), "duet-m", "table5")
    plain, full = (tables.styled(made, "Table 5", *more).to_html() for more in ((), (tables.COMPARED,)))
    assert "one training" in full
    assert "1,002" in full
    assert ">utterance<" in full
    assert "one training" not in plain
    assert "1,002" not in plain


def test_of_a_sweep_under_way_only_what_all_variants_have_is_compared() -> None:
    under_way = pd.concat([runs().iloc[:-1], runs("duet-m")])
    kept = tables.shared(under_way)
    assert len(kept[kept["corpus"] == "duet-i"]) == 4 * 5
    assert len(kept[kept["corpus"] == "duet-m"]) == 4 * 6
    assert tables.differences(kept)["folds"].tolist() == [3] * 6
    assert tables.shared(runs().head(0)).empty


def parts(cells: dict[str, list[float]], seeds: int = 1) -> pd.DataFrame:
    """Runs of the eight combinations; one value per fold."""
    places = [(v, f, s) for v in TABLES["parts"] for f in range(len(cells[v])) for s in range(seeds)]
    rows = [
        {"corpus": "duet-i", "variant": v, "fold": f + 1, "seed": s, "ua": cells[v][f] + s - (seeds - 1) / 2}
        for v, f, s in places
    ]
    return pd.DataFrame(rows)


def made_of(attention: float, l_sp: float, l_ua: float, both: float = 0.0) -> dict[str, float]:
    """Cells that are a sum: 60, what each part adds, and what attention and L_ua add when both are there."""
    cells = {}
    for variant in TABLES["parts"]:
        has = {part: part not in variant for part in ("attention", "L_sp", "L_ua")}
        cells[variant] = 60 + attention * has["attention"] + l_sp * has["L_sp"] + l_ua * has["L_ua"]
        cells[variant] += both * (has["attention"] and has["L_ua"])
    return cells


def test_main_effects_and_interactions_are_those_that_were_put_in() -> None:
    found = tables.contrasts(pd.DataFrame([made_of(3, 1, -2), made_of(3, 1, -2, both=4)]))
    assert found.loc[0].tolist() == pytest.approx([3, 1, -2, 0, 0, 0, 0])
    # Where both are there they add 4: each of them 2 more on average, and half of 4 is the interaction.
    assert found.loc[1].to_dict() == pytest.approx(
        {"attention": 5, "L_sp": 1, "L_ua": 0, "attention x L_sp": 0, "attention x L_ua": 2, "L_sp x L_ua": 0,
         "attention x L_sp x L_ua": 0}
    )  # fmt: skip


def test_an_effect_is_a_difference_of_two_means_of_four_cells() -> None:
    rng = np.random.default_rng(0)
    cells = {variant: rng.normal(80, 2) for variant in TABLES["parts"]}
    found = tables.contrasts(pd.DataFrame([cells])).loc[0]
    with_, without = ([v for v in cells if ("L_sp" in v) is lacks] for lacks in (False, True))
    assert found["L_sp"] == pytest.approx(np.mean([cells[v] for v in with_]) - np.mean([cells[v] for v in without]))
    assert abs(np.mean(list(cells.values())) + found.sum() / 2 - cells["A+T"]) < 1e-9, "all present: all signs +"


def test_effects_have_intervals_over_folds_with_seeds_averaged_first() -> None:
    folds = [made_of(a, 1, 2) for a in (1.0, 2.0, 3.0)]
    cells = {v: [fold[v] for fold in folds] for v in TABLES["parts"]}
    found = tables.effects(parts(cells, seeds=2))
    mean, low, high = mean_interval([1.0, 2.0, 3.0])
    assert found.loc[("duet-i", "attention"), ["difference", "low", "high"]].tolist() == pytest.approx(
        [mean, low, high]
    )
    assert found.loc[("duet-i", "L_ua"), ["difference", "low", "high"]].tolist() == pytest.approx([2, 2, 2])
    assert found["folds"].tolist() == [3] * 7
    assert (found["p_holm"] >= found["p"]).all()


def test_effects_need_all_eight_combinations_and_two_folds() -> None:
    cells = {v: [60.0, 61.0] for v in TABLES["parts"]}
    table = parts(cells)
    with pytest.raises(ValueError, match=r"all eight combinations of the parts; there is no A\+T \(w/o L_sp\)"):
        tables.effects(table[table["variant"] != "A+T (w/o L_sp)"])
    with pytest.raises(ValueError, match="at least two"):
        tables.effects(table[table["fold"] == 1])


def test_every_variant_is_compared_with_the_full_method_and_the_number_of_tests_is_counted() -> None:
    both = pd.concat([runs(table="table6"), runs("duet-m", table="table6")])
    both["ua"] += np.random.default_rng(0).normal(0, 3, len(both))
    found = tables.differences(both)
    assert len(found) == 6
    assert ("duet-m", "A+T (w/o attention)") in found.index
    folds = both[both["corpus"] == "duet-i"].pivot_table("ua", "fold", "variant")
    expected = paired_difference(folds["A+T"], folds["A+T (w/o attention)"])
    row = found.loc[("duet-i", "A+T (w/o attention)")]
    assert {name: row[name] for name in expected} == pytest.approx(expected)
    assert found["p_holm"].tolist() == holm(found["p"]).tolist()
    assert found["p_holm"].min() == pytest.approx(min(1, 6 * found["p"].min()))


def test_nothing_is_compared_with_a_full_method_that_is_missing() -> None:
    with pytest.raises(ValueError, match=r"no run of A\+T on 'duet-i' to compare with"):
        tables.differences(runs().query("variant != 'A+T'"))


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
    best = 100 * ceilings(process("duet-x"), dialogues=10).loc[["late", "additive"], "accuracy"]
    assert by_kind.loc["all", ["late", "additive"]].tolist() == pytest.approx(best.tolist())


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
    with pytest.raises(ValueError, match="Table 3 of the deck is not on 'MELD'; it is on IEMOCAP, MSP-Improv"):
        tables.deck(3, "MELD")
    with pytest.raises(ValueError, match="Table 5 of the deck is not on 'IEMOCAP'; it is on MSP-Improv"):
        tables.deck(5, "IEMOCAP")


def test_a_further_seed_lies_within_the_prediction_interval() -> None:
    record = runs(folds=1, seeds=5)
    live = record[record["seed"] == 0]
    found = tables.agreement(live, record)
    assert found["inside"].all()
    # 61, 61.5 ... 63: mean 62, deviation sqrt(0.625); the 99.95% point of Student's t with 4 degrees is 8.610
    half = 8.6103 * np.sqrt(0.625 * 6 / 5)
    assert found.loc["A", ["mean", "low", "high"]].tolist() == pytest.approx([62, 62 - half, 62 + half], abs=1e-3)
    assert not tables.agreement(live.assign(ua=live["ua"] + 10), record)["inside"].any()


def test_the_spread_of_seeds_is_taken_from_all_folds() -> None:
    record = runs(folds=2, seeds=5)
    wide = record["ua"].where(record["fold"] == 1, 3 * record["ua"])  # fold 2: three times as far apart
    record = record.assign(ua=wide)
    live = record[(record["seed"] == 0) & (record["fold"] == 1)]
    low, high = tables.agreement(live, record).loc["A", ["low", "high"]]
    pooled = np.sqrt((0.625 + 9 * 0.625) / 2)  # of two folds with four degrees of freedom each
    assert (high - low) / 2 == pytest.approx(5.0413 * pooled * np.sqrt(6 / 5), abs=1e-3)


def test_a_record_of_other_settings_or_with_too_few_seeds_is_refused() -> None:
    record = runs(folds=1, seeds=3)
    with pytest.raises(ValueError, match="A on duet-i, fold 1 is of other data or settings"):
        tables.agreement(record.head(1).assign(key="other"), record)
    with pytest.raises(ValueError, match=r"has 2 seeds of A on duet-i, fold 1; it takes three"):
        tables.agreement(record.head(1), record[record["seed"] < 2])


def test_a_live_run_that_the_record_does_not_allow_stops_the_book(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BUILDING, "1")
    record = runs(folds=1, seeds=5)
    live = record[(record["seed"] == 0) & (record["variant"] == "A")]
    assert tables.held(live, record) == ("- A on duet-i, fold 1, seed 0: UA 61.0; 5 recorded seeds allow 54.5 to 69.5.")
    with pytest.raises(ValueError, match=r"A on duet-i, fold 1, seed 0: UA 71.0; .* make the record again"):
        tables.held(live.assign(ua=live["ua"] + 10), record)
    few = tables.held(live, record[record["seed"] < 2])
    assert few == "- A on duet-i, fold 1, seed 0: UA 61.0, not compared: the record has 2 of the three seeds it takes."
    assert "0 of the three" in tables.held(live, pd.DataFrame(columns=RUN))


def test_a_reader_whose_run_differs_is_told_and_not_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    record = runs(folds=1, seeds=5)
    live = record[(record["seed"] == 0) & (record["variant"] == "A")]
    other = live.assign(ua=live["ua"] + 10)
    monkeypatch.setattr(progress, "_shell", object)  # as in a notebook
    monkeypatch.delenv(BUILDING, raising=False)
    assert tables.held(live, record).endswith("allow 54.5 to 69.5.")
    assert "UA 71.0; 5 recorded seeds allow 54.5 to 69.5. **Yours differs**" in tables.held(other, record)
    assert "not compared: The record of A on duet-i, fold 1 is of other" in tables.held(
        live.assign(key="other"), record
    )
    monkeypatch.setenv(BUILDING, "1")  # the book is built
    with pytest.raises(ValueError, match="make the record again"):
        tables.held(other, record)
    with pytest.raises(ValueError, match="is of other data or settings"):
        tables.held(live.assign(key="other"), record)


def test_the_files_of_all_corpora_are_read_and_none_is_an_empty_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "folder", lambda name: tmp_path)
    assert tables.recorded().empty
    for corpus in ("duet-i", "duet-m"):
        keep_results(runs(corpus), tmp_path / f"{corpus}.csv")
    keep_results(runs("duet-x"), tmp_path / "conditions.csv")
    assert set(tables.recorded()["corpus"]) == {"duet-i", "duet-m"}, "a file is named after its corpus"


def test_seconds_of_the_record_are_epochs_times_what_an_epoch_took_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "folder", lambda name: tmp_path)
    keep_results(runs(folds=1, seeds=1).assign(history='{"epoch": [1, 2, 3]}'), tmp_path / "duet-i.csv")
    (tmp_path / "speed.csv").write_text("corpus,variant,seconds_per_epoch\nduet-i,A,0.5\nduet-m,T,9\n")
    seconds = tables.recorded().set_index("variant")["seconds"]
    assert seconds["A"] == 1.5
    assert seconds["T"] == 2.0, "what was not timed keeps its own seconds"


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


def test_the_deck_stands_beside_a_corpus_whatever_options_follow_its_name() -> None:
    assert tables.deck_dataset("msp-improv?conditions=PS") == "MSP-Improv"
    assert tables.deck_dataset("duet-i") == "IEMOCAP"
    assert tables.deck_dataset("duet-x") is None


def test_what_a_record_lacks_is_counted_in_rows_and_in_seeds() -> None:
    record = pd.concat([runs(seeds=5), runs("duet-m", seeds=2)[lambda rows: rows["variant"] != "A"]])
    said = tables.lacking(record, ["duet-i", "duet-m", "duet-x"], "table3").splitlines()
    assert said == [
        "- duet-m: 1 of 4 rows are missing, 3 of 4 rows have fewer than 5 seeds; "
        "`make sweep PROFILE=full TABLE=table3 CORPUS=duet-m`",
        "- duet-x: 4 of 4 rows are missing; `make sweep PROFILE=full TABLE=table3 CORPUS=duet-x`",
    ]


def test_the_extent_of_runs_counts_folds_and_seeds() -> None:
    assert tables.extent(runs(folds=3, seeds=1)) == "3 folds x 1 seed"
    assert tables.extent(runs(folds=1, seeds=2).rename(columns={"fold": "draw"}), ["draw"]) == "1 draw"


def test_a_recipe_can_be_typed_into_any_shell() -> None:
    made = tables.recipe("msp-improv?conditions=PS", "parts", "/data/MSP IMPROV")
    assert made == "make sweep PROFILE=full TABLE=parts CORPUS='msp-improv?conditions=PS' ROOT='/data/MSP IMPROV'"
    assert tables.recipe("duet-m", root="/data/MSP").endswith("CORPUS=duet-m")


# ---- rows with pretrained encoders


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Runs of A+T on two corpora: with the book's own features, and with a pair of encoders that were named."""
    names = experiments.labels("org/speech?layer=all", "org/text")
    for corpus in ("duet-i", "duet-m"):
        rows = []
        for ua, encoders in ((80.0, experiments.labels(None, None)), (60.0, names)):
            rows += [
                {"corpus": corpus, "variant": "A+T", "fold": 1, "seed": seed, **encoders, "wa": ua, "ua": ua + seed}
                | {"history": '{"epoch": [1]}', "seconds": 1.0, "key": f"{ua} {seed}"}
                for seed in range(3)
            ]
        keep_results(pd.DataFrame(rows), tmp_path / f"{corpus}.csv")
    monkeypatch.setattr(tables, "folder", lambda name: tmp_path)
    return names


def test_rows_with_encoders_stand_beside_those_without_in_one_file(kept, tmp_path) -> None:
    found = experiments.read_results(tmp_path / "duet-i.csv")
    assert len(found) == 6
    assert set(found["audio"]) == {"", "speech layer all"}
    assert set(found["text"]) == {"", "text layer -1"}


def test_the_record_of_a_chapter_is_that_of_its_encoders_on_its_corpus_and_of_the_books_features_elsewhere(
    kept,
) -> None:
    own = tables.recorded()
    assert set(own["ua"]) == {80.0, 81.0, 82.0}
    given = tables.recorded("duet-m", "org/speech?layer=all", "org/text")
    assert set(given.loc[given["corpus"] == "duet-m", "ua"]) == {60.0, 61.0, 62.0}
    assert set(given.loc[given["corpus"] == "duet-i", "ua"]) == {80.0, 81.0, 82.0}
    assert tables.recorded("duet-m", "org/speech", "org/text").query("corpus == 'duet-m'").empty


def test_a_live_run_is_held_against_the_record_of_its_own_encoders(kept, monkeypatch) -> None:
    monkeypatch.setenv(BUILDING, "1")
    live = {"corpus": "duet-i", "variant": "A+T", "fold": 1, "seed": 0, "ua": 41.0, "key": "60.0 0"}
    own = {"audio": "", "text": "", "key": "80.0 0"}
    assert "allow 24.5 to 97.5" in tables.held(pd.DataFrame([live | kept]))
    assert "allow 44.5 to 117.5" in tables.held(pd.DataFrame([live | own | {"ua": 50.0}]))
    with pytest.raises(ValueError, match="UA 41.0; 3 recorded seeds allow 44.5"):
        tables.held(pd.DataFrame([live | own]))


def test_the_command_that_makes_the_record_names_the_encoders() -> None:
    told = tables.recipe("iemocap", "table6", "/data/x y", "org/speech?layer=all", "org/text")
    assert told.endswith("CORPUS=iemocap ROOT='/data/x y' AUDIO='org/speech?layer=all' TEXT=org/text")
    assert "AUDIO" not in tables.recipe("duet-i")


def test_a_table_can_be_made_of_rows_with_encoders(kept) -> None:
    rows = tables.recorded("duet-i", "org/speech?layer=all", "org/text")
    rows = rows.assign(f1=50.0, happy=50.0, sad=50.0, neutral=50.0, angry=50.0, parameters=1)
    assert tables.table3(rows, "duet-i").loc["A+T", ("measured", "UA")] == pytest.approx(61)
