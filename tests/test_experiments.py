from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from conftest import make_corpus

from mer_lib import corpora, experiments, training
from mer_lib.corpora.base import EMOTIONS, CorpusError
from mer_lib.experiments import (
    PARTS,
    TABLES,
    VARIANTS,
    IncompleteError,
    Run,
    complete,
    decisions,
    execute,
    fit,
    grid,
    histories,
    keep_results,
    read_results,
    summary,
    sweep,
    trained,
)  # fmt: skip
from mer_lib.metrics import scores
from mer_lib.model import MethodConfig
from mer_lib.training import TrainingConfig, predict

SHORT = TrainingConfig(epochs=1, batch=16)
SMALL = (("dim", 8), ("heads", 2))


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the tiny corpus be the only one there is."""

    def load(name: str, root: str | None = None) -> object:
        if name != "tiny":
            raise CorpusError(f"There is no corpus {name!r}; there is: tiny.")
        return make_corpus()

    monkeypatch.setattr(corpora, "load", load, raising=False)
    for kept in (experiments._corpus, experiments.prepared):
        kept.cache_clear()
    yield
    for kept in (experiments._corpus, experiments.prepared):
        kept.cache_clear()


def small(fold: int = 1, seed: int = 0, variant: str = "A+T") -> Run:
    options = tuple(sorted({**VARIANTS[variant], **dict(SMALL)}.items()))
    return Run("tiny", fold, seed, variant, options=options, training=SHORT)


def test_the_grid_is_every_combination_once() -> None:
    runs = grid("tiny", ["A", "A+T"], folds=[1, 3], seeds=[0, 1, 2])
    assert len(runs) == 12
    assert {(run.variant, run.fold, run.seed) for run in runs} == {
        (variant, fold, seed) for variant in ("A", "A+T") for fold in (1, 3) for seed in (0, 1, 2)
    }
    assert len({run.key() for run in runs}) == 12


def test_without_a_choice_the_grid_takes_all_folds_and_the_rows_of_table_3() -> None:
    runs = grid("tiny")
    assert {run.fold for run in runs} == {1, 2, 3, 4}
    assert [run.variant for run in runs[:4]] == ["A", "T", "A+T (w/o L_ua)", "A+T"]


def test_the_rows_of_table_3_differ_as_their_names_say() -> None:
    built = {variant: fit(small(variant=variant))[0].system.config for variant in TABLES["table3"]}
    assert built["A"].modalities == ("audio",)
    assert built["T"].modalities == ("text",)
    assert built["A+T"].modalities == built["A+T (w/o L_ua)"].modalities == ("audio", "text")
    assert built["A+T"].beta > 0
    assert replace(built["A+T"], beta=0.0) == built["A+T (w/o L_ua)"]


def test_every_row_of_every_table_is_a_variant_and_the_parts_are_all_eight() -> None:
    assert {row for rows in TABLES.values() for row in rows} == set(VARIANTS)
    switches = {
        (o.get("attention", True), o.get("alpha", 1), o.get("beta", 1)) for o in (VARIANTS[r] for r in TABLES["parts"])
    }
    assert len(switches) == len(TABLES["parts"]) == 8


def test_a_part_is_taken_away_by_its_own_option() -> None:
    for part, (option, value) in PARTS.items():
        assert VARIANTS[f"A+T (w/o {part})"] == {option: value}


def test_the_usual_weights_stand_among_the_others() -> None:
    usual = MethodConfig()
    for name in ("alpha", "beta"):
        tried = [float(VARIANTS[row].get(name, getattr(usual, name))) for row in TABLES["weights"]]
        named = [row for row in TABLES["weights"] if f"({name} = " in row]
        assert len(set(tried)) == 4
        assert all(row == f"A+T ({name} = {VARIANTS[row][name]:g})" for row in named)
    assert (usual.alpha, usual.beta) == (0.1, 0.5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_lacks_exactly_what_its_name_says(variant: str) -> None:
    options, name = VARIANTS[variant], variant.partition("(w/o ")[2]
    if variant.startswith("A+T"):
        assert (options.get("attention", True), options.get("alpha", 1) > 0) == (
            "attention" not in name,
            "L_sp" not in name,
        )
    assert (options.get("beta", 1) > 0) == ("L_ua" not in name)
    assert options.get("encoder", "conv") == {"Bi-LSTM": "lstm", "Bi-GRU": "gru"}.get(variant.split(" ")[0], "conv")


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"corpus": "nowhere"}, CorpusError, "no corpus 'nowhere'"),
        ({"variants": ["A+V"]}, ValueError, r"no variant 'A\+V'; there are: A, T, "),
        ({"folds": [1, 9]}, CorpusError, "tiny has no fold 9; it has 1 to 4"),
    ],
)
def test_an_unknown_corpus_variant_or_fold_is_refused_before_anything_is_trained(
    asked: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        grid(**{"corpus": "tiny", **asked})


def test_the_key_changes_with_all_that_changes_the_result_and_not_with_the_folder() -> None:
    run = small()
    others = [
        replace(run, fold=2),
        replace(run, seed=1),
        replace(run, options=(("dim", 16),)),
        replace(run, system="other"),
        replace(run, training=replace(SHORT, rate=0.5)),
    ]
    assert len({run.key(), *(other.key() for other in others)}) == 6
    assert replace(run, root="/elsewhere").key() == run.key()


@pytest.mark.parametrize("column", ["text", "emotion", "speaker"])
def test_the_key_changes_with_what_a_reader_corrects_in_a_table(monkeypatch: pytest.MonkeyPatch, column: str) -> None:
    before, corpus = small().key(), make_corpus()
    corpus.table.loc[corpus.table.index[0], column] = corpus.table[column].iloc[-1]
    monkeypatch.setattr(corpora, "load", lambda name, root=None: corpus)
    experiments._corpus.cache_clear()
    assert small().key() != before


def test_the_key_changes_with_the_corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    before = small().key()
    monkeypatch.setattr(corpora, "load", lambda name, root=None: replace(make_corpus(), version="2"))
    experiments._corpus.cache_clear()
    assert small().key() != before


def test_a_row_of_results_holds_the_run_its_scores_and_its_cost() -> None:
    row = execute(small(fold=2, seed=1))
    assert (row["corpus"], row["system"], row["variant"], row["fold"], row["seed"]) == ("tiny", "method", "A+T", 2, 1)
    assert {"wa", "ua", "f1", *EMOTIONS, "dev_ua", "epoch", "parameters", "seconds", "versions", "key"} <= set(row)
    assert all(0 <= row[name] <= 100 for name in ("wa", "ua", "f1", *EMOTIONS))
    assert row["ua"] == pytest.approx(np.mean([row[e] for e in EMOTIONS]))
    assert row["parameters"] > 0
    assert json.loads(row["training"])["batch"] == 16
    assert json.loads(json.dumps(row)) == row


def test_the_scores_of_a_row_are_those_of_the_test_split() -> None:
    trained, data = fit(small())
    found = scores(predict(trained.system, data.test), data.test.labels.numpy(), trained.prior)
    row = execute(small())
    assert {name: row[name] for name in found} == found


def test_the_same_run_gives_the_same_scores_and_another_seed_other_weights() -> None:
    first, second = fit(small(seed=0))[0], fit(small(seed=0))[0]
    other, data = fit(small(seed=1))
    assert np.array_equal(predict(first.system, data.test), predict(second.system, data.test))
    assert not np.allclose(predict(first.system, data.test), predict(other.system, data.test), atol=1e-4)


def test_a_sweep_keeps_one_file_per_run_and_returns_them_in_order(tmp_path: Path) -> None:
    runs = [small(seed=1, variant="T"), small(seed=0, variant="A")]
    table = sweep(runs, tmp_path / "new" / "store")
    assert list(zip(table["variant"], table["seed"], strict=True)) == [("T", 1), ("A", 0)]
    files = sorted(path.name for path in (tmp_path / "new" / "store").iterdir())
    assert files == sorted(f"{run.key()}.json" for run in runs)


def test_a_sweep_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs, done = [small(seed=s, variant="T") for s in range(3)], []

    def counted(run: Run) -> dict[str, object]:
        done.append(run.seed)
        if len(done) == 3:
            raise KeyboardInterrupt
        return {"seed": run.seed, "key": run.key(), "time": len(done)}

    monkeypatch.setattr(experiments, "execute", counted)
    with pytest.raises(KeyboardInterrupt):
        sweep(runs, tmp_path)
    assert len(list(tmp_path.glob("*.json"))) == 2
    table = sweep(runs, tmp_path)
    assert done == [0, 1, 2, 2]
    assert table["time"].tolist() == [1, 2, 4]
    sweep(runs, tmp_path)
    assert len(done) == 4


def test_a_half_written_run_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f"{small().key()}.77.tmp").write_text('{"seed": 0, "wa": 1')
    monkeypatch.setattr(experiments, "execute", lambda run: {"seed": run.seed, "wa": 50.0})
    assert sweep([small()], tmp_path)["wa"].tolist() == [50]


def test_a_run_that_fails_leaves_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(run: Run) -> dict[str, object]:
        raise FloatingPointError("The loss is nan in epoch 1.")

    monkeypatch.setattr(experiments, "execute", fail)
    with pytest.raises(IncompleteError, match=r"1 of 1 tasks failed, the first of them .*The loss is nan"):
        sweep([small()], tmp_path)
    assert list(tmp_path.glob("*.json")) == []


def test_a_task_that_fails_stops_no_other_and_is_tried_again(tmp_path: Path) -> None:
    tasks, broken = [Asking(number) for number in range(4)], {1}

    def do(task: Asking) -> int:
        if task.number in broken:
            raise KeyError("x")
        return task.number

    with pytest.raises(IncompleteError) as stopped:
        complete(tasks, do, tmp_path, jobs=1)
    assert stopped.value.results == [0, 2, 3]
    (failure,) = stopped.value.failures
    assert (failure.key, failure.task) == ("asking-1", "Asking(number=1)")
    assert failure.reason == "Unexpected KeyError ('x')."
    asked = []
    broken.clear()
    assert complete(tasks, lambda task: asked.append(task) or do(task), tmp_path, jobs=1) == [0, 1, 2, 3]
    assert asked == [tasks[1]]
    assert not list(tmp_path.glob("*.failed")), "what worked in the end has no failure left"


def test_a_failure_says_our_own_sentence_as_it_is(tmp_path: Path) -> None:
    def diverges(task: Asking) -> int:
        raise CorpusError("Fold 1 trains without any sad utterance; use other folds.")

    with pytest.raises(IncompleteError) as stopped:
        complete([Asking(0)], diverges, tmp_path, jobs=1)
    assert stopped.value.failures[0].reason == "Fold 1 trains without any sad utterance; use other folds."


@dataclass(frozen=True)
class Asking:
    """A task that says where it is done."""

    number: int

    def key(self) -> str:
        return f"asking-{self.number}"


@pytest.fixture
def cluster() -> Iterator[None]:
    """Let joblib send what it is given to two workers, which live in this process."""
    distributed = pytest.importorskip("distributed")
    few = {"n_workers": 2, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**few) as workers, distributed.Client(workers), joblib.parallel_config("dask"):
        yield


def test_the_workers_of_a_cluster_do_the_tasks_and_what_is_kept_is_not_done_again(
    tmp_path: Path, cluster: None
) -> None:
    tasks = [Asking(number) for number in range(6)]
    asked = complete(tasks, lambda task: [task.number, threading.current_thread().name], tmp_path, jobs=1)
    assert [number for number, _ in asked] == list(range(6))
    assert all("Dask" in name for _, name in asked)
    assert complete([*tasks, Asking(6)], lambda task: "again", tmp_path) == [*asked, "again"]


def test_a_training_gives_the_same_scores_on_a_cluster_as_here(tmp_path: Path, cluster: None) -> None:
    (there,), here = complete([small()], execute, tmp_path), execute(small())
    assert {name: there[name] for name in ("wa", "ua", "plain", "key")} == {
        name: here[name] for name in ("wa", "ua", "plain", "key")
    }


def results() -> pd.DataFrame:
    """Three folds and two seeds: the fold means of A are 60, 70, 80."""
    scored = {(1, 0): 58, (1, 1): 62, (2, 0): 70, (2, 1): 70, (3, 0): 75, (3, 1): 85}
    rows = [
        {"corpus": "tiny", "variant": "A", "fold": f, "seed": s, "wa": v, "ua": v / 2, "f1": 1.0}
        for (f, s), v in scored.items()
    ]
    return pd.DataFrame(rows + [{**row, "variant": "T", "wa": 90.0} for row in rows])


def test_a_summary_averages_the_seeds_of_a_fold_and_then_takes_students_interval_over_folds() -> None:
    found = summary(results())
    half = 4.302653 * 10 / math.sqrt(3)  # three folds, deviation 10, two degrees of freedom
    assert found.loc[("tiny", "A"), "wa"].tolist() == pytest.approx([70, 70 - half, 70 + half], abs=1e-4)
    assert found.loc[("tiny", "A"), "ua"].tolist() == pytest.approx([35, 35 - half / 2, 35 + half / 2], abs=1e-4)
    assert found.loc[("tiny", "T"), "wa"].tolist() == pytest.approx([90, 90, 90])
    assert found.index.tolist() == [("tiny", "A"), ("tiny", "T")]
    assert found["wa"].columns.tolist() == ["mean", "low", "high"]


def test_a_fold_with_more_seeds_does_not_count_more() -> None:
    more = pd.concat([results(), results().query("fold == 1").assign(seed=5, wa=60.0)])
    assert summary(more).loc[("tiny", "A"), ("wa", "mean")] == pytest.approx(70)


def test_a_summary_can_be_grouped_by_one_column() -> None:
    found = summary(results(), by=["variant"])
    assert found.index.tolist() == ["A", "T"]
    assert found.index.name == "variant"
    assert found.loc["A", ("wa", "mean")] == pytest.approx(70)


def test_a_single_fold_has_a_mean_and_no_interval() -> None:
    row = summary(results().query("fold == 1")).loc[("tiny", "A"), "wa"]
    assert row["mean"] == 60
    assert math.isnan(row["low"])
    assert math.isnan(row["high"])


def test_results_come_back_from_the_file_as_they_went(tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.csv"
    keep_results(results(), path)
    pd.testing.assert_frame_equal(read_results(path), results(), check_dtype=False)
    assert [file.name for file in path.parent.iterdir()] == ["results.csv"]


def test_two_that_keep_rows_in_one_file_at_once_lose_none(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"

    def keep(seed: int) -> None:
        keep_results(results().query("fold == 1 and seed == 0").assign(seed=seed), path)

    joblib.Parallel(n_jobs=4, prefer="threads")(joblib.delayed(keep)(seed) for seed in range(12))
    assert sorted(set(read_results(path)["seed"])) == list(range(12))
    assert [file.name for file in tmp_path.iterdir()] == ["results.csv"]


def test_the_texts_of_a_real_row_survive_the_file(tmp_path: Path) -> None:
    row = pd.DataFrame([execute(small())])
    keep_results(row, tmp_path / "results.csv")
    found = read_results(tmp_path / "results.csv")
    pd.testing.assert_frame_equal(found, row, check_exact=False, atol=1e-4)
    assert json.loads(found["options"][0])["dim"] == 8


def test_new_runs_join_the_file_and_replace_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    keep_results(results(), path)
    better = results().query("variant == 'A' and fold == 1").assign(wa=99.0)
    keep_results(pd.concat([better, better.assign(variant="A+T")]), path)
    found = read_results(path).set_index(["variant", "fold", "seed"])["wa"]
    assert len(found) == len(results()) + len(better)
    assert found["A"][1].tolist() == [99, 99]
    assert found["A+T"][1].tolist() == [99, 99]
    assert found["A"][2].tolist() == [70, 70]
    assert set(found["T"]) == {90}


def test_kept_decisions_give_back_the_scores_of_their_run(tmp_path: Path) -> None:
    keep_results(pd.DataFrame([execute(small()), execute(small(fold=2, variant="T"))]), tmp_path / "results.csv")
    record = read_results(tmp_path / "results.csv")
    said = decisions(record)
    for run in record.to_dict("records"):
        mine = said[(said["fold"] == run["fold"]) & (said["variant"] == run["variant"])]
        assert 100 * (mine["plain"] == mine["emotion"]).mean() == pytest.approx(run["wa"], abs=1e-3)
        recalls = (mine["adjusted"] == mine["emotion"]).groupby(mine["emotion"]).mean()
        assert 100 * recalls.mean() == pytest.approx(run["ua"], abs=1e-3)
        assert 100 * recalls["sad"] == pytest.approx(run["sad"], abs=1e-3)


def test_decisions_on_other_data_are_refused() -> None:
    run = execute(small())
    with pytest.raises(ValueError, match=r"A\+T on tiny, fold 1, has 2 decisions for \d+ test utterances"):
        decisions(pd.DataFrame([run | {"plain": "01"}]))


def test_kept_histories_are_those_of_the_training(tmp_path: Path) -> None:
    keep_results(pd.DataFrame([execute(small()), execute(small(variant="T"))]), tmp_path / "results.csv")
    found = histories(read_results(tmp_path / "results.csv"))
    mine = found[found["variant"] == "A+T"].reset_index(drop=True)
    expected = pd.DataFrame(fit(small())[0].history)
    pd.testing.assert_frame_equal(mine[list(expected)], expected, atol=1e-4, rtol=0)
    assert found.loc[found["variant"] == "T", "similarity"].isna().all()


def test_results_that_are_not_there_say_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no results at .*nothing\.csv\. Make them with `make sweep`"):
        read_results(tmp_path / "nothing.csv")


@pytest.mark.parametrize(
    ("text", "lacks"),
    [
        ("corpus,variant,fold,seed,wa\nx,A,1,0,50\n", r"lacks \['ua'\]"),
        ("corpus,variant,fold,seed,wa,ua\n", "lacks rows"),
        ("", "not a table of runs"),
    ],
    ids=["a column", "rows", "everything"],
)
def test_a_file_that_is_no_table_of_runs_is_named(tmp_path: Path, text: str, lacks: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"bad\.csv.*{lacks}"):
        read_results(path)


def test_a_training_is_read_from_the_cache_the_second_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MER_LIB_CACHE", str(tmp_path))
    first, data = trained(small())
    monkeypatch.setattr(experiments, "fit", lambda run: pytest.fail("trained again"))
    second, _ = trained(small())
    fresh, _ = fit(small())
    for result in (first, second):
        np.testing.assert_array_equal(predict(result.system, data.dev), predict(fresh.system, data.dev))
        assert [row["dev_ua"] for row in result.history] == [row["dev_ua"] for row in fresh.history]
        assert set(result.history[0]) == set(fresh.history[0])
        np.testing.assert_array_equal(result.prior, fresh.prior)
    assert second.seconds == first.seconds


def test_another_seed_or_other_code_is_another_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MER_LIB_CACHE", str(tmp_path))
    for change in (lambda: small(), lambda: small(seed=1)):
        trained(change())
    monkeypatch.setattr(experiments, "_code", lambda: "changed")
    trained(small())
    assert len(list(tmp_path.glob("trained-*.safetensors"))) == 3


def test_every_system_is_tried_with_the_same_rates_on_one_fold() -> None:
    runs = experiments.tuning("tiny", ["gated fusion", "A+T"])
    assert {(run.variant, run.training.rate) for run in runs} == {
        (variant, rate) for variant in ("gated fusion", "A+T") for rate in experiments.RATES
    }
    assert {(run.fold, run.seed) for run in runs} == {(1, 0)}


def test_what_tunes_never_touches_the_test_split(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(training, "predict", lambda system, part: asked.append(part) or predict(system, part))
    run = small()
    row = experiments.tried(run)
    data = experiments.prepared(run.corpus, run.fold)
    assert asked
    assert all(part.ids == data.dev.ids for part in asked)
    assert 0 <= row["dev_ua"] <= 100
    assert {"wa", "ua", "plain"}.isdisjoint(row)


def test_the_rate_that_was_best_on_dev_over_all_corpora_is_used_but_the_method_keeps_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tried = [("a", 1e-3, 60.0), ("b", 1e-3, 70.0), ("a", 4e-3, 50.0), ("b", 4e-3, 90.0)]
    rows = [
        {"corpus": corpus, "variant": variant, "rate": rate, "dev_ua": ua}
        for corpus, rate, ua in tried
        for variant in ("gated fusion", "A+T")
    ]
    keep_results(pd.DataFrame(rows), tmp_path / "tuning.csv", ["corpus", "variant", "rate"])
    monkeypatch.setattr(experiments, "folder", lambda name: tmp_path)
    experiments.rates.cache_clear()
    try:
        found = {run.variant: run.training.rate for run in grid("tiny", ["gated fusion", "A+T", "LMF"], [1])}
        assert experiments.rates() == {"gated fusion": 4e-3}
    finally:
        experiments.rates.cache_clear()
    assert found == {"gated fusion": 4e-3, "A+T": TrainingConfig().rate, "LMF": TrainingConfig().rate}


def test_rates_that_were_tried_with_encoders_are_not_those_of_the_books_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        {"corpus": "tiny", "variant": "LMF", "audio": encoder, "text": "", "rate": rate, "dev_ua": score}
        for encoder, rate, score in (("", 1e-3, 60.0), ("", 2e-3, 50.0), ("wavlm layer -1", 2e-3, 90.0))
    ]
    monkeypatch.setattr(experiments, "folder", lambda name: tmp_path)
    experiments.keep_results(
        pd.DataFrame(rows), tmp_path / "tuning.csv", ["corpus", "variant", "rate", "audio", "text"]
    )
    experiments.rates.cache_clear()
    assert experiments.rates()["LMF"] == 1e-3
    experiments.rates.cache_clear()
