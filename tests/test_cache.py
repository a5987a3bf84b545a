"""Files are written whole or not at all, and where they cannot be, a sentence says so."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError

from mer_lib import cache as module
from mer_lib.cache import alone, cache_folder, cached, require_writable, whole
from mer_lib.errors import during, expected, sentence
from mer_lib.metrics import proportion_interval


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_one_sentence_and_leaves_no_half_file(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(arrays: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise SafetensorError("Error while serializing: I/O error: No space left on device")

    monkeypatch.setattr(module, "save_file", half)
    with pytest.raises(ValueError, match=r"cannot be written .*No space left on device.*MER_LIB_CACHE") as caught:
        cached("numbers", "key", lambda: {"x": np.zeros(3)})
    assert expected(caught.value)
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


def test_what_a_killed_process_left_is_taken_away(cache: Path) -> None:
    cached("numbers", "key", lambda: {"x": np.zeros(3)})
    (file,) = cache.glob("*.safetensors")
    file.rename(file.with_suffix(".77.tmp"))
    assert cached("numbers", "key", lambda: {"x": np.ones(3)})["x"].tolist() == [1, 1, 1]
    assert not list(cache.glob("*.tmp"))


def test_a_file_is_written_whole_or_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_text("old")
    with pytest.raises(TypeError), whole(path) as unfinished:
        unfinished.write_text(3 if unfinished.write_text("half") else 4)  # type: ignore[arg-type]
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("file.csv", "old")]
    with whole(path) as unfinished:
        unfinished.write_text("new")
    assert path.read_text() == "new"
    with (
        pytest.raises(ValueError, match=r"file\.csv/x cannot be written \(Not a directory\)"),
        whole(path / "x") as file,
    ):
        file.write_text("new")


def test_a_place_is_tried_and_nothing_is_left_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_writable(tmp_path / "new" / "folder")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ValueError, match=r"cannot be written \(Not a directory\)"):
            require_writable(place)
    (tmp_path / "lost").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"lost cannot be written"):
        require_writable(tmp_path / "lost")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ValueError, match=r"cannot be written \(No space left on device\)"):
        require_writable(tmp_path)


def test_a_cache_in_the_way_of_a_file_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MER_LIB_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ValueError, match=r"cannot be written .*MER_LIB_CACHE"):
        cached("numbers", "key", lambda: {"x": np.zeros(3)})


def test_a_lock_that_may_not_be_made_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.FileLock, "acquire", full)
    with pytest.raises(ValueError, match=r"No space left on device"):
        alone(tmp_path / "lock")


def test_the_home_folder_may_be_written_as_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MER_LIB_CACHE", "~/cache")
    assert cache_folder() == tmp_path / "cache"


def test_a_value_error_that_no_line_of_ours_raised_is_not_expected(cache: Path) -> None:
    def caught(work: object) -> ValueError:
        with pytest.raises(ValueError, match=".") as found:
            cached("numbers", str(work), work)
        return found.value

    assert not expected(caught(lambda: np.zeros(2).reshape(3)))
    assert expected(caught(lambda: proportion_interval(3, 2)))


def test_notes_say_what_was_being_done() -> None:
    with pytest.raises(KeyError) as found, during("training A"), during("reading b"):
        raise KeyError("x")
    assert sentence(found.value) == "Unexpected KeyError while reading b, training A ('x')."
    with pytest.raises(FileNotFoundError) as told, during("reading b"):
        Path("/nowhere/at/all").read_text()
    assert sentence(told.value).startswith("/nowhere/at/all: No such file or directory while reading b.")
