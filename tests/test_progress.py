"""What a reader sees of work that takes long, and that nobody else sees it."""

from __future__ import annotations

from unittest.mock import MagicMock

import pytest

from mer_lib import progress as told
from mer_lib.features import prepare
from mer_lib.progress import BUILDING, progress, watched


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook's kernel, and a reader without patience."""
    monkeypatch.setattr(told, "_shell", MagicMock)
    monkeypatch.delenv(BUILDING, raising=False)
    monkeypatch.setattr(told, "PATIENCE", 0.0)
    monkeypatch.setitem(told._cell, "began", 0.0)


def test_a_reader_in_a_notebook_sees_how_far_it_is(kernel: None, capsys: pytest.CaptureFixture) -> None:
    assert list(progress(iter("abc"), "letters", total=3)) == ["a", "b", "c"]
    written = capsys.readouterr()
    assert "letters" in written.out
    assert "3" in written.out
    assert written.err == ""  # which a notebook shows in red, as if something were wrong


def test_work_that_is_soon_done_says_nothing(
    kernel: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(told, "PATIENCE", 60.0)
    assert list(progress("abc", "letters")) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")


def test_patience_counts_from_the_beginning_of_the_cell_not_of_each_training(
    kernel: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(told, "PATIENCE", 60.0)
    list(progress("abc", "first"))
    told._cell["began"] -= 61  # a minute later, in the same cell
    list(progress("abc", "second"))
    told._begin()  # the next cell
    list(progress("abc", "third"))
    out = capsys.readouterr().out
    assert "second" in out
    assert "first" not in out
    assert "third" not in out


def test_the_built_book_and_a_shell_stay_silent(
    kernel: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv(BUILDING, "1")
    assert not watched()
    assert list(progress("abc", "letters")) == ["a", "b", "c"]
    monkeypatch.delenv(BUILDING)
    monkeypatch.setattr(told, "_shell", lambda: None)
    assert not watched()
    assert list(progress("abc", "letters")) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")


def test_a_shell_without_a_kernel_is_no_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    import ipykernel  # imported somewhere, as by a test runner: that alone makes no notebook

    assert ipykernel.__version__
    monkeypatch.delenv(BUILDING, raising=False)
    assert not watched()


def test_frames_and_trainings_tell_how_far_they_are(kernel: None, cache: object, capsys: pytest.CaptureFixture) -> None:
    from conftest import make_corpus

    from mer_lib import training
    from mer_lib.systems import build

    corpus = make_corpus(sessions=3, each=1)
    data = prepare(corpus, corpus.fold(1))
    training.train(
        build("majority", data.vectors.vectors, data.features), data.train, data.dev, training.TrainingConfig(epochs=2)
    )
    written = capsys.readouterr()
    assert "frames of tiny" in written.out
    assert "epochs" in written.out
    assert written.err == ""
