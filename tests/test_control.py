from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import make_corpus

from mer_lib import control, corpora, experiments
from mer_lib.__main__ import main
from mer_lib.experiments import VARIANTS, Run, fit_on, prepared, read_results
from mer_lib.losses import central_moment_discrepancy
from mer_lib.probes import pooled
from mer_lib.training import TrainingConfig

SHORT = TrainingConfig(epochs=3, batch=16)


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(corpora, "load", lambda name, root=None: make_corpus())
    monkeypatch.setattr(experiments, "TrainingConfig", lambda: TrainingConfig(epochs=1))
    for kept in (experiments._corpus, experiments.prepared):
        kept.cache_clear()
    yield
    for kept in (experiments._corpus, experiments.prepared):
        kept.cache_clear()


def small(variant: str = "A+T") -> Run:
    options = tuple(sorted({**VARIANTS[variant], "dim": 8, "heads": 2}.items()))
    return Run("tiny", 1, 0, variant, options=options, training=SHORT)


def test_a_training_that_is_watched_is_the_one_that_nobody_watches() -> None:
    data = prepared("tiny", 1)
    seen: list[dict[str, float]] = []
    watched = fit_on(small(), data, lambda system: seen.append(control.measured(system, data)))
    alone = fit_on(small(), data)
    assert watched.history == alone.history
    assert len(seen) == len(alone.history)
    for name, weight in alone.system.state_dict().items():
        assert torch.equal(weight, watched.system.state_dict()[name]), name


def test_what_is_measured_last_is_what_the_last_epoch_left() -> None:
    data = prepared("tiny", 1)
    kept = []
    fit_on(small(), data, lambda system: kept.append(pooled(system, data.dev)))
    last, vectors = control.follow(small())[-1], kept[-1]
    audio, text = (torch.as_tensor(vectors[f"public {m}"]) for m in ("audio", "text"))
    assert last["similarity"] == pytest.approx(float(central_moment_discrepancy(audio, text)))
    variance = (audio.var(0, correction=0).mean() + text.var(0, correction=0).mean()) / 2
    assert last["spread"] == pytest.approx(float(variance**0.5), rel=1e-5)
    assert last["gap"] == pytest.approx(float((audio.mean(0) - text.mean(0)).norm() / (8 * variance) ** 0.5), rel=1e-5)


def test_terms_are_measured_where_nobody_trains_on_them() -> None:
    rows = pd.DataFrame(control.follow(small("A+T (w/o L_sp)")))
    assert rows["epoch"].tolist() == [0, 1, 2, 3]
    assert rows["task"].isna().tolist() == [True, False, False, False]
    assert rows[["similarity", "difference", "spread", "gap", "modality_public", "leak"]].notna().all(axis=None)
    assert (rows[["similarity", "difference", "spread"]] > 0).all(axis=None)


def test_with_and_without_the_loss_start_from_the_same_weights() -> None:
    one, other = (control.follow(small(variant), 1) for variant in control.VARIANTS)
    names = ("similarity", "difference", "gap", "leak")
    assert [one[0][name] for name in names] == [other[0][name] for name in names]
    assert [one[1][name] for name in names] != [other[1][name] for name in names]


def test_a_few_epochs_are_the_beginning_of_the_whole_training() -> None:
    whole, beginning = (pd.DataFrame(control.follow(small(), epochs)) for epochs in (None, 2))
    pd.testing.assert_frame_equal(beginning, whole.iloc[:3])


def test_the_command_keeps_a_row_per_epoch_and_trains_nothing_twice(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out = tmp_path / "control.csv"
    asked = ["control", "--corpus", "tiny", "--fold", "1", "--seeds", "1", "--jobs", "1", "--json", "--out", str(out)]
    assert main([*asked, "--store", str(tmp_path / "runs")]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [row["variant"] for row in printed] == list(control.VARIANTS)
    rows = read_results(out, ["key"])
    assert rows.groupby("variant")["epoch"].apply(list).to_dict() == {v: [0, 1] for v in control.VARIANTS}
    monkeypatch.setattr(control, "follow", lambda run: pytest.fail("trained again"))
    assert main([*asked, "--store", str(tmp_path / "other")]) == 0
    assert json.loads(capsys.readouterr().out) == printed


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("a,b\n1,2\n", "is not a table of runs: it lacks ['corpus', 'fold', 'key'"), ("", "is not a table of runs")],
)
def test_a_file_of_something_else_is_refused_and_left_as_it_is(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, sentence: str
) -> None:
    out = tmp_path / "control.csv"
    out.write_text(text)
    assert main(["control", "--corpus", "tiny", "--out", str(out)]) == 2
    assert sentence in capsys.readouterr().err
    assert out.read_text() == text


def test_there_are_no_rows_where_nothing_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(control, "folder", lambda name: tmp_path)
    assert control.recorded().empty
    assert {*control.ROW, "key"} <= set(control.recorded())


def test_kept_rows_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rows = pd.DataFrame(control.follow(small(), 1))
    experiments.keep_results(rows, tmp_path / "control.csv", control.ROW)
    monkeypatch.setattr(control, "folder", lambda name: tmp_path)
    found = control.recorded()
    assert np.allclose(found["gap"], rows["gap"], atol=1e-4)
