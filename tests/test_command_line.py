from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import make_corpus

from mer_lib import conditions, corpora, experiments, systems
from mer_lib.__main__ import main
from mer_lib.corpora import duet
from mer_lib.corpora.base import Corpus, CorpusError
from mer_lib.experiments import read_results
from mer_lib.shipped import folder
from mer_lib.training import TrainingConfig

LOAD = corpora.load


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Know the tiny corpus beside the real ones, and train for one epoch only."""

    def load(name: str, root: str | None = None, **options: object) -> Corpus:
        return make_corpus() if name == "tiny" else LOAD(name, root=root, **options)

    monkeypatch.setattr(corpora, "load", load)
    monkeypatch.setattr(experiments, "TrainingConfig", lambda: TrainingConfig(epochs=1))
    for kept in (experiments._corpus, experiments.prepared):
        kept.cache_clear()
    yield
    for kept in (experiments._corpus, experiments.prepared):
        kept.cache_clear()


def strict(text: str) -> list[dict[str, object]]:
    """Parse JSON as its standard has it, without NaN."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_a_run_prints_one_row_of_json_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--corpus", "tiny", "--variant", "T", "--fold", "S2", "--seed", "3", "--json"]) == 0
    (row,) = strict(capsys.readouterr().out)
    assert (row["corpus"], row["system"], row["variant"], row["fold"], row["seed"]) == ("tiny", "method", "T", 2, 3)
    assert 0 <= row["ua"] <= 100
    assert json.loads(row["options"]) == {"modalities": ["text"]}


def test_a_run_takes_the_fold_by_number_too_and_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--corpus", "tiny", "--variant", "T", "--fold", "2"]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split()[:4] == ["corpus", "system", "variant", "fold"]
    assert row.split()[:4] == ["tiny", "method", "T", "2"]


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (["run", "--corpus", "nowhere"], "There is no corpus 'nowhere'"),
        (["run", "--corpus", "tiny", "--system", "oracle"], "There is no system 'oracle'"),
        (["run", "--corpus", "tiny", "--fold", "9"], "tiny has no fold '9'; it has 1 to 4"),
        (["run", "--corpus", "tiny", "--fold", "S9"], "tiny has no fold 'S9'"),
        (["run", "--corpus", "tiny", "--variant", "V"], "There is no variant 'V'"),
        (["run", "--corpus", "duet-i", "--root", "/no/such/folder"], "There is no folder"),
        (["sweep", "--corpus", "nowhere", "--out", "x.csv"], "There is no corpus 'nowhere'"),
        (["sweep", "--corpus", "tiny", "--variant", "V", "--out", "x.csv"], "There is no variant 'V'"),
        (["sweep", "--corpus", "tiny", "--fold", "9", "--out", "x.csv"], "tiny has no fold 9"),
        (["sweep", "--corpus", "tiny", "--seeds", "0", "--out", "x.csv"], "There is nothing to run"),
        (
            ["conditions", "--condition", "rain", "--out", "x.csv"],
            "There is no condition 'rain'; there are: independent",
        ),
        (["conditions", "--draws", "0", "--out", "x.csv"], "There is nothing to run"),
        (["ceilings", "--corpus", "nowhere"], "There is no corpus 'nowhere'"),
        (["ceilings", "--corpus", "tiny"], "Nobody knows the ceilings of tiny; they are known for duet-i"),
        (["tables", "nothing.csv"], "There are no results at nothing.csv"),
    ],
    ids=" ".join,
)
def test_what_is_asked_wrongly_ends_with_code_2_and_one_sentence_on_stderr(
    asked: list[str], sentence: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(asked) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"mer_lib: {sentence}")
    assert len(err.splitlines()) == 1
    assert err.endswith(".\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "asked", [[], ["fly"], ["run"], ["run", "--corpus", "tiny", "--seed", "x"], ["tables"]], ids=" ".join
)
def test_a_malformed_command_ends_with_code_2_and_leaves_stdout_empty(
    asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(asked)
    assert stopped.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("usage: python -m mer_lib")


def test_a_sound_that_is_broken_is_named_on_stderr(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    broken = replace(make_corpus(), read=lambda row: np.full(100, np.nan, dtype=np.float32))
    monkeypatch.setattr(corpora, "load", lambda name, root=None: broken)
    assert main(["run", "--corpus", "tiny"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "The sound of S1-00 in S1.zip/00 is empty or not finite" in err


def test_a_sweep_of_a_table_trains_its_rows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []

    def watched(runs: list[experiments.Run], *_: object) -> None:
        asked.extend(runs)
        raise CorpusError("That is enough.")

    monkeypatch.setattr(experiments, "complete", watched)
    assert main(["sweep", "--corpus", "tiny", "--table", "table7", "--out", str(tmp_path / "results.csv")]) == 2
    assert [run.variant for run in asked[:6]] == list(experiments.TABLES["table7"])


def test_a_system_or_a_row_is_run_but_not_both(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--corpus", "tiny", "--system", "logistic", "--json"]) == 0
    (row,) = strict(capsys.readouterr().out)
    assert (row["system"], row["variant"], json.loads(row["options"])) == ("logistic", "logistic", {})
    assert main(["run", "--corpus", "tiny", "--variant", "logistic regression", "--json"]) == 0
    (same,) = strict(capsys.readouterr().out)
    assert (same["system"], same["plain"]) == ("logistic", row["plain"])
    assert main(["run", "--corpus", "tiny", "--system", "lmf", "--variant", "A"]) == 2
    assert "Give --variant 'A' or --system 'lmf', not both." in capsys.readouterr().err


def test_tuning_writes_a_row_per_rate(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    asked = ["tune", "--corpus", "tiny", "--table", "alignment", "--jobs", "1", "--json"]
    asked += ["--store", str(tmp_path / "runs"), "--out", str(tmp_path / "tuning.csv")]
    assert main(asked) == 0
    rows = strict(capsys.readouterr().out)
    assert len(rows) == len(experiments.RATES) * len(experiments.TABLES["alignment"])
    assert pd.read_csv(tmp_path / "tuning.csv")["dev_ua"].round(2).tolist() == [round(r["dev_ua"], 2) for r in rows]
    assert main([*asked, "--variant", "logistic regression"]) == 0
    assert {row["variant"] for row in strict(capsys.readouterr().out)} == {"logistic regression"}
    assert len(pd.read_csv(tmp_path / "tuning.csv")) == len(rows) + len(experiments.RATES), "the others are kept"


def test_what_the_record_holds_is_not_trained_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = ["sweep", "--corpus", "tiny", "--fold", "1", "--seeds", "1", "--out", str(tmp_path / "results.csv")]
    assert main([*asked, "--variant", "T", "--store", str(tmp_path / "first"), "--json"]) == 0
    first = strict(capsys.readouterr().out)
    trained = []
    execute = experiments.execute
    monkeypatch.setattr(experiments, "execute", lambda run: trained.append(run.variant) or execute(run))
    more = [*asked, "--variant", "T", "--variant", "A", "--store", str(tmp_path / "second"), "--jobs", "1", "--json"]
    assert main(more) == 0
    assert trained == ["A"]
    again = strict(capsys.readouterr().out)
    assert [(row.pop("done"), row.pop("kept"), row.pop("failed")) for row in [*first, *again]] == [
        (1, 0, 0), (0, 1, 0), (1, 0, 0),
    ]  # fmt: skip
    assert again[0] == pytest.approx(first[0], nan_ok=True)


def test_a_sweep_writes_its_runs_and_prints_their_summary(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "results.csv"
    asked = [
        "sweep",
        "--corpus",
        "tiny",
        "--variant",
        "T",
        "--variant",
        "A",
        "--fold",
        "1",
        "--fold",
        "2",
        "--seeds",
        "2",
    ]
    assert main([*asked, "--store", str(tmp_path / "store"), "--out", str(out), "--json"]) == 0
    printed = strict(capsys.readouterr().out)
    runs = read_results(out)
    assert len(runs) == 8
    assert [row["variant"] for row in printed] == ["T", "A"]
    for row in printed:
        mean = runs[runs["variant"] == row["variant"]].groupby("fold")["ua"].mean().mean()
        assert row["ua_mean"] == pytest.approx(mean, abs=0.011)
        assert row["ua_low"] <= row["ua_mean"] <= row["ua_high"]
    assert main(["tables", str(out), "--json"]) == 0
    for again, row in zip(strict(capsys.readouterr().out), printed, strict=True):
        assert {k: v for k, v in again.items() if k.endswith("mean")} == pytest.approx(
            {k: v for k, v in row.items() if k.endswith("mean")}, abs=0.011
        )


def test_conditions_keep_their_rows_and_print_a_verdict_per_variant(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made_up(asked: list[conditions.Trial], *_: object) -> list[list[dict[str, object]]]:
        place = [
            {"corpus": t.run.corpus, "variant": t.run.variant, "fold": t.run.fold, "seed": t.run.seed}
            | {"condition": name, "draw": t.draw}
            for t in asked
            for name in t.conditions
        ]
        training = json.dumps(asdict(TrainingConfig()), sort_keys=True)
        return [[{**row, "wa": 50.0, "ua": 60.0, "training": training}] for row in place]

    monkeypatch.setattr(conditions, "drawn", lambda corpus, draw, home, jobs: folder("duet"))
    monkeypatch.setattr(experiments, "complete", made_up)
    out = tmp_path / "conditions.csv"
    asked = ["conditions", "--condition", "no words at test", "--seeds", "1", "--out", str(out), "--json"]
    assert main([*asked, "--draws", "2"]) == 0
    rows = strict(capsys.readouterr().out)
    assert [row["variant"] for row in rows] == ["A+T (w/o attention)", "A+T (w/o L_sp)", "A+T (w/o L_ua)"]
    assert rows[0]["difference"] == 0
    assert len(read_results(out)) == 8
    monkeypatch.setattr(experiments, "complete", lambda *_: pytest.fail("the file holds these draws"))
    assert main([*asked, "--draws", "1"]) == 0
    assert {row["ua"] for row in strict(capsys.readouterr().out)} == {60}
    monkeypatch.setattr(experiments, "complete", made_up)
    assert main([*asked, "--draws", "3"]) == 0
    assert len(read_results(out)) == 12, "one draw more"
    assert main([*asked, "--draws", "0"]) == 2


def test_tables_of_one_fold_have_null_where_no_interval_is_known(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "results.csv"
    path.write_text("corpus,variant,fold,seed,wa,ua\ntiny,A,1,0,50,40\ntiny,A,1,1,60,50\n")
    assert main(["tables", str(path), "--json"]) == 0
    assert strict(capsys.readouterr().out) == [
        {
            "corpus": "tiny", "variant": "A", "wa_mean": 55, "wa_low": None, "wa_high": None,
            "ua_mean": 45, "ua_low": None, "ua_high": None,
        },
    ]  # fmt: skip


def test_tables_of_several_files_come_together(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(f"corpus,variant,fold,seed,wa,ua\n{name},A,1,0,50,40\n{name},A,2,0,50,40\n")
    assert main(["tables", str(tmp_path / "one"), str(tmp_path / "two"), "--json"]) == 0
    assert [row["corpus"] for row in strict(capsys.readouterr().out)] == ["one", "two"]


def test_the_lists_of_systems_and_corpora_are_complete(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["systems", "--json"]) == 0
    assert [row["name"] for row in strict(capsys.readouterr().out)] == systems.names()
    assert main(["corpora", "--json"]) == 0
    assert [row["name"] for row in strict(capsys.readouterr().out)] == corpora.names()


def test_ceilings_are_those_of_the_process_with_the_drawn_table_beside_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = duet.process("duet-i").draw(60).assign(text="x", audio="x", start=0.0, end=1.0)
    planted = drawn.set_index("id")[["kind", "voice", "stressed", "says"]].rename_axis(None)
    known = Corpus("duet-i", drawn.drop(columns=list(planted)), lambda row: np.zeros(1), truth=planted)
    monkeypatch.setattr(corpora, "load", lambda name, root=None: known)
    assert main(["ceilings", "--corpus", "duet-i", "--json"]) == 0
    rows = {row["system"]: row for row in strict(capsys.readouterr().out)}
    assert rows["audio"]["accuracy"] < rows["both"]["accuracy"] <= 1
    assert rows["late"]["accuracy"] <= rows["both"]["accuracy"]
    assert 0 <= rows["both"]["accuracy_drawn"] <= 1


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mer_lib", "systems", "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert done.stderr == ""
    assert "method" in [row["name"] for row in strict(done.stdout)]


@pytest.mark.parametrize("command", ["sweep", "tune", "conditions"])
def test_rows_without_a_place_are_refused_before_anything_is_trained(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr(experiments, "complete", lambda *_: pytest.fail("something was trained"))
    asked = [] if command == "conditions" else ["--corpus", "duet-i"]
    assert main([command, *asked, "--out", str(tmp_path)]) == 2
    assert "is a folder; give --out the name of a CSV file" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main([command, *asked, "--out", str(tmp_path / "file" / "rows.csv")]) == 2
    assert "cannot be written" in capsys.readouterr().err
