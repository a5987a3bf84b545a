"""Other people's versions: the files that pin them, and what is said of how chapters run there."""

from __future__ import annotations

import csv
import re
import tomllib
from pathlib import Path

import nbformat
import pytest
from packaging.requirements import Requirement

import build_book
import environments
import notebooks

PROJECT = tomllib.loads((notebooks.ROOT / "pyproject.toml").read_text())["project"]
FLOORS = [Requirement(text) for text in PROJECT["dependencies"]]


def pins(name: str) -> dict[str, str]:
    lines = environments.versions(name).read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_the_lowest_environment_holds_exactly_the_lowest_versions_that_are_admitted() -> None:
    lowest = pins("lowest")
    assert {wanted.name: f">={lowest[wanted.name]}" for wanted in FLOORS} == {w.name: str(w.specifier) for w in FLOORS}


def test_the_stand_in_for_colab_is_dated_and_satisfies_every_range() -> None:
    assert re.search(r"20\d\d-\d\d-\d\d", environments.versions("colab").read_text().splitlines()[0])
    found = pins("colab")
    assert [wanted.name for wanted in FLOORS if not wanted.specifier.contains(found[wanted.name])] == []


def test_an_unknown_environment_is_refused_beside_the_known_ones() -> None:
    with pytest.raises(SystemExit, match="There is no environment 'kaggle'; there are colab, lowest"):
        environments.main(["chapters", "kaggle"])


def test_an_environment_is_made_with_a_python_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "home", lambda name: tmp_path / name)
    with pytest.raises(SystemExit, match="There is no python0.1 here"):
        environments.make("colab", "python0.1")


# ---- what a chapter takes


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A table of measurements in place of the book's."""

    def write(**row: object) -> None:
        (tmp_path / "benchmarks").mkdir(exist_ok=True)
        facts = (
            dict.fromkeys(environments.COLUMNS, "") | {"environment": "colab", "chapter": "01_tiny", "cores": 2} | row
        )
        with (tmp_path / "benchmarks" / "alone.csv").open("w", newline="") as file:
            table = csv.DictWriter(file, environments.COLUMNS)
            table.writeheader()
            table.writerow(facts)

    monkeypatch.setattr(notebooks, "ROOT", tmp_path)
    return write


@pytest.mark.parametrize(
    ("seconds", "megabytes", "said"),
    [
        (8.7, 906, "about 10 seconds on 2 cores and 1.0 GB of memory"),
        (67.0, 1210, "about 70 seconds on 2 cores and 1.3 GB of memory"),
        (91.0, 2300, "about 2 minutes on 2 cores and 2.3 GB of memory"),
        (181.0, 100, "about 3.5 minutes on 2 cores and 0.1 GB of memory"),
    ],
)
def test_what_a_chapter_takes_is_rounded_up(measured, seconds: float, megabytes: float, said: str) -> None:
    measured(seconds=seconds, megabytes=megabytes)
    assert notebooks.cost("01_tiny") == f"{notebooks.COST}{said}."


def test_a_chapter_that_was_not_measured_or_failed_says_nothing_of_its_cost(measured) -> None:
    measured(seconds=5, megabytes=5, failed="KeyError")
    assert notebooks.cost("01_tiny") == notebooks.cost("02_other") == ""


def test_the_cost_stands_behind_the_first_paragraph_of_what_one_needs_and_only_once(measured) -> None:
    text = "## What you learn\n\nMuch.\n\n## What you need\n\nPython.\n\nA second paragraph.\n\n## A prediction\n\nx"
    measured(seconds=5, megabytes=500)
    once = notebooks.costed(text, "01_tiny")
    assert f"Python.\n\n{notebooks.cost('01_tiny')}\n\nA second paragraph." in once
    measured(seconds=50, megabytes=500)
    again = notebooks.costed(once, "01_tiny")
    assert again == once.replace("10 seconds", "50 seconds")


def test_every_chapter_was_measured_alone_and_says_what_was_measured() -> None:
    with environments.ALONE.open(encoding="utf-8", newline="") as file:
        rows = {row["chapter"]: row for row in csv.DictReader(file) if row["environment"] == "colab"}
    for path in notebooks.chapters():
        assert rows[path.stem]["failed"] == "", path.stem
        text = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
        assert text.count(notebooks.COST) == 1
        assert notebooks.cost(path.stem) in text


def test_the_last_page_shows_what_chapters_took_alone() -> None:
    book = build_book.Book(notebooks.ROOT, dict(notebooks.DEFAULTS))
    page = "\n\n".join(build_book.ran_alone(book))
    assert "## Each chapter alone" in page
    assert all(f"| [{chapter}](" in page for chapter in book.chapters())
