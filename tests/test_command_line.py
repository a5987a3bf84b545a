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
import soundfile
from conftest import make_corpus

from mer_lib import audit, conditions, corpora, experiments, systems
from mer_lib.__main__ import main
from mer_lib.corpora import duet
from mer_lib.corpora.base import Corpus, CorpusError, Fold
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


# Answers on one's own files


@pytest.fixture
def voices(tmp_path: Path) -> Path:
    """A folder with sounds of the tiny corpus, one of them in another format, and some that cannot be used."""
    wave = make_corpus().waveform("S1-03")  # angry
    soundfile.write(tmp_path / "angry.wav", wave, 16000)
    soundfile.write(tmp_path / "stereo.wav", np.repeat(np.stack([wave, wave], 1), 3, axis=0), 48000)
    soundfile.write(tmp_path / "silent.wav", np.zeros(16000), 16000)
    soundfile.write(tmp_path / "short.wav", wave[:160], 16000)
    soundfile.write(tmp_path / "long.wav", np.tile(wave, 400), 16000)
    (tmp_path / "text.wav").write_text("not a sound")
    return tmp_path


def predicted(asked: list[str], capsys: pytest.CaptureFixture[str], code: int = 0) -> dict[str, object]:
    assert main(["predict", "--corpus", "tiny", "--json", *asked]) == code
    return json.loads(capsys.readouterr().out)


def test_a_sound_and_its_text_are_answered_together_and_one_by_one(
    voices: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (found,) = predicted([str(voices / "angry.wav"), "--text", "Well, leave me zyzzyva."], capsys)["answers"]
    assert found["variant"] == "A+T"
    assert set(found["alone"]) == {"audio", "text"}
    for shares in (found["probabilities"], *found["alone"].values()):
        assert list(shares) == list(make_corpus().emotions)
        assert sum(shares.values()) == pytest.approx(1, abs=0.001)
    assert found["emotion"] == max(found["probabilities"], key=found["probabilities"].get)
    assert (found["words"], found["unknown"]) == (4, ["zyzzyva"])


def test_without_a_text_the_voice_answers_and_without_a_sound_the_words_and_both_are_said(
    voices: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (found,) = predicted([str(voices / "angry.wav")], capsys)["answers"]
    assert (found["variant"], found["alone"]) == ("A", {})
    assert found["notes"] == ["No text was given, so the voice alone answers."]
    (found,) = predicted(["--text", "leave me"], capsys)["answers"]
    assert (found["variant"], found["sound"]) == ("T", None)
    assert found["notes"] == ["No sound was given, so the words alone answer."]


def test_a_file_that_cannot_be_used_is_named_and_the_others_are_answered(
    voices: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (voices / "list.csv").write_text("file,text\nangry.wav,leave me\n,leave me\nstereo.wav,\n")
    bad = ["silent", "short", "long", "text", "nothing"]
    files = [str(voices / f"{name}.wav") for name in bad]
    assert main(["predict", "--corpus", "tiny", "--json", *files, str(voices / "list.csv")]) == 1
    out, err = capsys.readouterr()
    answers = json.loads(out)["answers"]
    assert ["error" in found for found in answers] == [True] * 5 + [False] * 3
    told = [line for line in err.splitlines() if line.startswith("mer_lib: ")]
    assert len(told) == 5
    for name, line in zip(bad, told, strict=True):
        assert f"{name}.wav" in line


def test_another_rate_and_two_channels_are_answered_almost_alike(
    voices: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = predicted([str(voices / "angry.wav"), str(voices / "stereo.wav")], capsys)["answers"]
    assert one["emotion"] == other["emotion"]


def test_the_answer_for_a_reader_says_what_the_model_does_not_know(
    voices: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    synthetic = replace(make_corpus(), truth=make_corpus().table[["id"]])
    monkeypatch.setattr(corpora, "load", lambda name, root=None: synthetic)
    assert main(["predict", "--corpus", "tiny", str(voices / "angry.wav"), "--text", "leave me"]) == 0
    out = capsys.readouterr().out
    assert "synthetic speech: a model of it knows nothing of people" in out
    assert "Each sound is normalised by itself" in out
    assert [line.split()[0] for line in out.splitlines()[2:5]] == ["voice", "words", "both"]


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ([], "There is nothing to answer about"),
        (["--text", " "], "The text is empty"),
        (["a.wav", "b.wav", "--text", "x"], "--text is the text of one sound"),
        (["list.csv", "--text", "x"], "--text is the text of one sound"),
        (["nowhere.csv"], "There is no file nowhere.csv"),
        (["list.csv"], "list.csv lacks the columns file"),
        (["--text", "x", "--variant", "V"], "There is no variant 'V'"),
        (["--text", "x", "--fold", "9"], "tiny has no fold '9'"),
        (["--text", "x", "--text-encoder", "."], "The configuration of . is missing in that folder"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_answered_is_said_in_a_sentence(
    asked: list[str], sentence: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.csv").write_text("sound,words\na.wav,x\n")
    assert main(["predict", "--corpus", "tiny", *asked]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1].startswith(f"mer_lib: {sentence}")


@pytest.mark.parametrize(
    ("variant", "sentence"),
    [("bc-LSTM", "reads the dialogue around an utterance"), ("gated fusion", "gated fusion needs audio and text")],
)
def test_a_system_that_needs_more_than_there_is_says_so(
    variant: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "--corpus", "tiny", "--variant", variant, "--text", "leave me"]) == 1
    assert sentence in capsys.readouterr().err


# Folds for other programs


def test_exported_folds_read_back_are_those_of_the_corpus_and_stdout_is_json_alone(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["export", "folds", "--corpus", "tiny"]) == 0
    told = capsys.readouterr().out
    found = json.loads(told)
    corpus = make_corpus()
    assert [Fold(**fold) for fold in found["folds"]] == corpus.folds()
    assert found["fingerprint"] == corpus.fingerprint()
    assert main(["export", "folds", "--corpus", "tiny", "--out", str(tmp_path / "new" / "folds.json")]) == 0
    assert (tmp_path / "new" / "folds.json").read_text() == told, "the same in every run"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["folds.json"]
    assert main(["export", "folds", "--corpus", "tiny", "--by", "colour"]) == 2


# A table that was published

TABLE = "system,calm,cross,glad,average\nwords,71.67,60.00,54.67,62.11\nvoice,76.67,68.89,61.33,68.96\n"
TABLE += "both,80.00,70.95,66.67,75.24\n"


def test_a_published_table_is_audited_as_in_chapter_16(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text(TABLE)
    assert main(["audit", str(tmp_path / "table.csv")]) == 0
    table = pd.DataFrame(
        {
            "calm": [71.67, 76.67, 80.0],
            "cross": [60.0, 68.89, 70.95],
            "glad": [54.67, 61.33, 66.67],
            "average": [62.11, 68.96, 75.24],
        },
        index=["words", "voice", "both"],
    )
    assert capsys.readouterr().out.splitlines() == audit.audit(table)[1]
    (tmp_path / "table.csv").write_text(TABLE + "n,60,45,75,\n")
    assert main(["audit", str(tmp_path / "table.csv"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert "both: no whole count of these sizes gives cross." in found["sentences"]
    assert {row["row"] for row in found["numbers"]} == {"words", "voice", "both"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "There is no file"),
        ("", "holds no table"),
        ("system;calm\nwords;71,67\n", "holds no table"),
        ("system,calm\n", "holds no table"),
        ("system,calm,\nwords,71.67,1\n", "has a column without a name, number 3"),
        ("system,calm\nwords,high\n", "'high' in row 'words', column 'calm'"),
        ("system,calm\nwords,nan\n", "'nan' in row 'words', column 'calm'"),
        ("system,calm\nwords,1,2\n", "Row 'words' of"),
        ("system,calm\nwords,1\nwords,2\n", "has two rows named 'words'"),
        ("system,calm,calm\nwords,1,2\n", "Two rows or two columns of the table have the same name"),
        ("system,calm\nwords,171.67\n", "171.67 is not a percentage"),
        ("system,calm\nn,60\n", "The table has no recalls"),
        ('system,calm\n"words,1\n', "cannot be read as a CSV file"),
        ("system,calm\nwords,71.67\nn,60.5\n", "60.5 is not a number of utterances"),
    ],
)
def test_a_csv_file_that_is_no_table_of_recalls_is_refused_in_one_sentence(
    content: str | None, sentence: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "table.csv").write_text(content)
    assert main(["audit", str(tmp_path / "table.csv")]) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert sentence in err


# What goes wrong


def raising(error: BaseException) -> object:
    def load(name: str, root: str | None = None) -> Corpus:
        raise error

    return load


def test_an_error_that_nobody_foresaw_is_no_answer_but_says_what_was_done(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for foreign in (KeyError("x"), ValueError("not enough values to unpack"), RuntimeError("x"), AssertionError()):
        monkeypatch.setattr(corpora, "load", raising(foreign))
        assert main(["run", "--corpus", "tiny"]) == 1
        out, err = capsys.readouterr()
        assert (out, len(err.splitlines())) == ("", 1)
        assert err.startswith(f"mer_lib: Unexpected {type(foreign).__name__}")
        assert "in `run`; run it again with --debug" in err
        for asked in (["--debug", "run"], ["run", "--debug"]):
            with pytest.raises(type(foreign)):
                main([*asked, "--corpus", "tiny"])


def test_a_foreign_error_in_a_sound_names_the_sound(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    def read(row: pd.Series) -> np.ndarray:
        first, _second = [row["id"]]
        return first

    monkeypatch.setattr(corpora, "load", lambda name, root=None: replace(make_corpus(), read=read))
    assert main(["run", "--corpus", "tiny", "--variant", "A"]) == 1
    assert "Unexpected ValueError while reading the sound of S1-00 in S1.zip/00" in capsys.readouterr().err


def test_who_stops_a_command_sees_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpora, "load", raising(KeyboardInterrupt()))
    assert main(["run", "--corpus", "tiny"]) == 130
    assert capsys.readouterr().err == "mer_lib: stopped; what was finished is kept.\n"


def test_who_reads_no_further_sees_no_error() -> None:
    code = "import sys; from mer_lib.__main__ import main; sys.exit(main(['export', 'folds', '--corpus', 'duet-i']))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


def test_a_run_that_fails_is_told_and_tried_again_while_the_rest_is_kept(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute, asked = experiments.execute, ["sweep", "--corpus", "tiny", "--fold", "1", "--seeds", "1", "--jobs", "1"]
    asked += ["--variant", "T", "--variant", "majority", "--json"]
    asked += ["--store", str(tmp_path / "store"), "--out", str(tmp_path / "out.csv")]

    def fail(run: experiments.Run) -> dict[str, object]:
        if run.variant == "T":
            raise CorpusError("Fold S1 of tiny trains without any sad utterance; use other folds.")
        return execute(run)

    monkeypatch.setattr(experiments, "execute", fail)
    for state in ((1, 0), (0, 1)):  # done, then kept
        assert main(asked) == 1
        out, err = capsys.readouterr()
        words, majority = strict(out)
        assert (words["done"], words["kept"], words["failed"], words["ua_mean"]) == (0, 0, 1, None)
        assert (majority["done"], majority["kept"], majority["failed"]) == (*state, 0)
        assert "T on tiny, fold 1, seed 0 failed: Fold S1 of tiny trains without any sad utterance" in err
        assert read_results(tmp_path / "out.csv")["variant"].tolist() == ["majority"]
    monkeypatch.setattr(experiments, "execute", execute)
    assert main(asked) == 0
    assert [row["failed"] for row in strict(capsys.readouterr().out)] == [0, 0]


@pytest.mark.parametrize(
    ("command", "place"),
    [("run", "cache"), ("predict", "cache")]
    + [
        (command, place)
        for command in ("sweep", "tune", "control", "conditions")
        for place in ("out", "store", "cache")
    ],
)
def test_all_places_that_will_be_written_are_tried_first(
    command: str, place: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpora, "load", lambda *_, **__: pytest.fail("something was read"))
    (tmp_path / "file").write_text("")
    places = {name: tmp_path / ("file" if name == place else "free") / name for name in ("out", "store", "cache")}
    monkeypatch.setenv("MER_LIB_CACHE", str(places["cache"]))
    asked = {"conditions": [], "predict": ["--corpus", "tiny", "--text", "x"]}.get(command, ["--corpus", "tiny"])
    if command not in ("run", "predict"):
        asked += ["--store", str(places["store"]), "--out", str(places["out"] / "rows.csv")]
    assert main([command, *asked]) == 2
    assert f"{places[place]} cannot be written" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
