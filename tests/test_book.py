"""The pipeline on a book of one tiny chapter, and the chapters' frame."""

from __future__ import annotations

import html
import json
import re
import shutil
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest

import build_book
import notebooks
from build_book import Book, BookError

CORPORA = ["duet-i", "iemocap"]
DRAFT = """\
# %% [markdown]
# # Tiny
#
# A question.

# %% [markdown]
# ## What you will learn
# ## What you need
# ## A prediction
# $x^2$

# %%
from IPython.display import Audio, display

print("seed", seed, "corpus", corpus, "root", root)
display(Audio([0.0, 0.5, -0.5] * 100, rate=8000))

# %% [markdown]
# ## Where it breaks
# ## Exercises
#
# <details>
# <summary>Solution</summary>
#
# - a list with $y^2$
#
# ```python
# print("in a solution")
# ```
#
# </details>
#
# ## Take-aways
# ## Further reading
"""


@pytest.fixture
def book(tmp_path: Path) -> Book:
    """A folder with one chapter, one more page, and stand-ins for the package and the data."""
    for name in ("_config.yml", "_static"):
        source = build_book.HERE / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    (tmp_path / "_toc.yml").write_text(
        "format: jb-book\nroot: intro\nchapters:\n  - file: notebooks/01_tiny\n  - file: how_it_was_made\n"
    )
    (tmp_path / "intro.md").write_text("# Tiny book\n\nSee [the chapter](notebooks/01_tiny.ipynb).\n")
    for name in ("mer_lib/model.py", "data/numbers.csv", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    write(tmp_path, DRAFT)
    return Book(tmp_path, dict(notebooks.DEFAULTS))


def write(folder: Path, draft: str) -> None:
    (folder / "draft.py").write_text(draft)
    notebooks.main(["build", str(folder / "draft.py"), str(folder / "notebooks" / "01_tiny.ipynb")])


def test_a_chapter_runs_once_and_its_page_plays_sound_and_shows_solutions(book: Book) -> None:
    assert build_book.run_all(book, book.chapters(), 1) == 1
    assert build_book.compile_pages(book)
    page = (book.build / "html" / "notebooks" / "01_tiny.html").read_text()
    assert "seed 0 corpus duet-i root None" in html.unescape(re.sub(r"<.*?>", "", page))
    assert "@title" not in page, "it is for Colab; the page has a button of its own"
    assert re.search(r'<audio[^>]*>\s*<source src="data:audio/wav;base64,', page)
    solution = re.search(r"<details>(.*?)</details>", page, re.S)
    assert solution
    assert "<li>" in solution[1]
    assert 'class="math' in solution[1]
    assert "highlight-python" in solution[1]
    assert notebooks.colab("01_tiny") in page.split("launch")[1], "the launch button opens the source in Colab"
    made = (book.build / "html" / "how_it_was_made.html").read_text()
    assert 'href="notebooks/01_tiny.html"' in made
    # Nothing has changed, so nothing happens.
    assert build_book.run_all(book, book.chapters(), 1) == 0
    assert not build_book.compile_pages(book)
    # A page that Jupyter Book warns of is refused, and the pages made before stay.
    (book.folder / "intro.md").write_text("# Tiny book\n\nSee [nothing](notebooks/99_missing.ipynb).\n")
    with pytest.raises(BookError, match=r"(?s)does not accept.*intro\.md:3.*99_missing"):
        build_book.compile_pages(book)
    assert (book.build / "html" / "notebooks" / "01_tiny.html").read_text() == page


@pytest.mark.parametrize("count", [1, 4, 7, 19])
def test_neighbours_in_the_book_do_not_run_side_by_side(count: int) -> None:
    chapters = [f"{number:02}" for number in range(1, count + 1)]
    order = build_book.far_apart(chapters)
    assert sorted(order) == chapters
    places = [order.index(chapter) for chapter in chapters]
    assert all(abs(after - before) > 1 for before, after in pairwise(places))


@pytest.mark.parametrize(("jobs", "share"), [(1, "8"), (3, "2"), (16, "1")])
def test_chapters_that_run_side_by_side_share_the_cores(monkeypatch: pytest.MonkeyPatch, jobs: int, share: str) -> None:
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "99")  # what joblib obeys; put back afterwards
    monkeypatch.setattr(build_book.os, "cpu_count", lambda: 8)
    build_book._share_cores(jobs)
    assert build_book.os.environ["LOKY_MAX_CPU_COUNT"] == share


def test_parameters_reach_the_chapter(book: Book) -> None:
    other = Book(book.folder, {**book.parameters, "seed": 7, "root": str(book.folder / "data")})
    build_book.run_all(other, ["01_tiny"], 1)
    cells = nbformat.read(other.executed("01_tiny"), as_version=4).cells
    injected = [cell.source for cell in cells if "injected-parameters" in cell.metadata.get("tags", [])]
    assert len(injected) == 1
    assert "seed = 7" in injected[0]
    assert "profile" not in injected[0], "what stays as it is in the chapter is not repeated"
    assert any("seed 7 corpus duet-i root /" in str(cell.get("outputs")) for cell in cells)


def test_on_another_corpus_a_chapter_says_whose_numbers_it_shows_and_leaves_out_what_holds_for_duet(book: Book) -> None:
    write(book.folder, DRAFT + '\n# %% [markdown] tags=["duet"]\n# The sad voice is slow.\n')
    own = Book(book.folder, {**book.parameters, "corpus": "iemocap", "root": str(book.folder / "data")})
    for one, another in ((own, True), (book, False)):
        build_book.run_all(one, ["01_tiny"], 1)
        title, note, *rest = nbformat.read(one.executed("01_tiny"), as_version=4).cells
        assert title.source.startswith("# Tiny")
        assert ("computed on `iemocap`" in note.source and "nobody knows its ceilings" in note.source) == another
        assert any("The sad voice is slow." in cell.source for cell in rest) != another
        assert sum(cell.cell_type == "code" for cell in [note, *rest]) >= 3, "what was computed stays"


def test_a_failing_cell_is_named_with_chapter_and_error(book: Book) -> None:
    write(book.folder, DRAFT.replace('print("seed"', 'raise KeyError("lost key")  # ('))
    with pytest.raises(
        BookError, match=r"01_tiny, cell \d: KeyError: 'lost key'\n\s+# @title Imports\n\s+from IPython"
    ) as failure:
        build_book.run_all(book, book.chapters(), 1)
    number = int(re.findall(r"cell (\d)", str(failure.value))[0])
    source = nbformat.read(book.source("01_tiny"), as_version=4).cells
    assert "lost key" in source[number - 1].source
    assert not book.executed("01_tiny").exists()
    assert (book.build / "notebooks" / "01_tiny.failed.ipynb").exists()


def test_a_kernel_that_dies_is_reported_in_a_sentence(book: Book) -> None:
    write(book.folder, DRAFT.replace('print("seed"', "import os\n\nos._exit(1)  # ("))
    with pytest.raises(BookError, match="01_tiny: its kernel died"):
        build_book.run_all(book, book.chapters(), 1)


@pytest.mark.parametrize("what", ["mer_lib/model.py", "data/numbers.csv", "constraints.txt", "notebooks/01_tiny.ipynb"])
def test_a_chapter_is_stale_once_what_it_depends_on_changes(book: Book, what: str) -> None:
    now = build_book.state(book)
    book.executed("01_tiny").parent.mkdir(parents=True)
    book.executed("01_tiny").write_text("")
    record = {"made_from": build_book.digest([book.source("01_tiny")], now)}
    book.record("01_tiny").write_text(json.dumps(record))
    assert build_book.is_current(book, "01_tiny", now)
    path = book.folder / what
    path.write_text(path.read_text() + " ")
    assert not build_book.is_current(book, "01_tiny", build_book.state(book))


def test_parameters_and_the_files_of_a_licensed_copy_count_as_changes(book: Book, tmp_path: Path) -> None:
    states = [build_book.state(Book(book.folder, {**book.parameters, "seed": seed})) for seed in (0, 0, 1)]
    assert states[0] == states[1] != states[2]
    copy = tmp_path / "copy"
    copy.mkdir()
    theirs = Book(book.folder, {**book.parameters, "root": str(copy)})
    before = build_book.state(theirs)
    (copy / "more.wav").write_bytes(b"sound")
    assert build_book.state(theirs) != before


@pytest.mark.parametrize(
    ("given", "chapters", "sentence"),
    [
        ({"corpus": "duet"}, [], "There is no corpus 'duet'; choose CORPUS from duet-i, iemocap."),
        ({"profile": "slow"}, [], "There is no profile 'slow'; choose PROFILE from fast, full."),
        ({"corpus": "iemocap", "root": "/no/where"}, [], "There is no folder /no/where; ROOT must be the folder"),
        ({"corpus": "iemocap"}, [], "iemocap does not ship with the book; say where your copy is: ROOT="),
        ({}, ["99_missing"], "There is no chapter '99_missing'; there are 01_tiny."),
    ],
)
def test_wrong_wishes_are_answered_by_one_sentence(book: Book, given: dict, chapters: list, sentence: str) -> None:
    wish = Book(book.folder, {**book.parameters, **given})
    with pytest.raises(BookError, match=re.escape(sentence)):
        build_book.checked(wish, chapters, CORPORA)


def test_the_command_answers_a_wrong_wish_without_running_anything(book: Book, capsys: pytest.CaptureFixture) -> None:
    assert build_book.main(["--corpus", "nonsense"], folder=book.folder) == 1
    assert capsys.readouterr().err.startswith("There is no corpus 'nonsense'; choose CORPUS from duet-i")
    assert build_book.main(["--corpus", "duet-i?conditions=P"], folder=book.folder) == 1
    assert capsys.readouterr().err.startswith("duet-i has no option 'conditions'")
    assert not book.build.exists()


# Chapters


@pytest.mark.parametrize("path", notebooks.chapters(), ids=lambda path: path.stem)
def test_a_chapter_has_the_frame_the_sections_and_only_plain_markdown(path: Path) -> None:
    assert notebooks.problems(path) == []


def test_the_table_of_contents_has_every_chapter_in_order() -> None:
    book = Book(build_book.HERE, dict(notebooks.DEFAULTS))
    assert book.chapters() == [path.stem for path in notebooks.chapters()]
    made = {build_book.GENERATED}
    assert [page for page in book.pages() if not list(book.folder.glob(f"{page}.*")) and page not in made] == []


def test_the_last_built_book_shows_no_warning() -> None:
    book = Book(build_book.HERE, dict(notebooks.DEFAULTS))
    built = [chapter for chapter in book.chapters() if book.executed(chapter).exists()]
    if not built:
        pytest.skip("the book has not been built here")
    assert [text for chapter in built for text in build_book.warnings(chapter, book.executed(chapter))] == []


@pytest.mark.parametrize(
    ("cell", "complaint"),
    [
        ("# %% [markdown]\n# ```{note}\n# text\n# ```", "a directive"),
        ("# %% [markdown]\n# ::: note", "a directive"),
        ("# %% [markdown]\n# see {ref}`there`", "a role"),
        ("# %% [markdown]\n# (here)=", "a label"),
        ("# %% [markdown]\n# $$ x $$ (eq)", "a numbered formula"),
        ("# %% [markdown]\n# {{ name }}", "a substitution"),
        ("# %% [markdown]\n# +++", "a comment"),
        ("# %%\n" + "x = 1\n" * 26, "26 lines of code"),
        ('# %% tags=["duet"]\nx = 1', "code with the tag 'duet'"),
        ("# %% [markdown]\n# ## Exercises", "must have the sections"),
        ("# %%\nfor text in 'ab':\n    print(text)", "overwrites the parameter text"),
        ("# %%\nfrom mer_lib.features import audio", "overwrites the parameter audio"),
        ("# %%\nexperiments.trained(run)", "trains systems of the record and compares none"),
    ],
)
def test_what_would_look_wrong_somewhere_is_found(tmp_path: Path, cell: str, complaint: str) -> None:
    write(tmp_path, DRAFT + "\n" + cell + "\n")
    found = notebooks.problems(tmp_path / "notebooks" / "01_tiny.ipynb")
    assert len(found) == 1
    assert complaint in found[0]


def test_myst_inside_code_is_no_problem(tmp_path: Path) -> None:
    write(tmp_path, DRAFT + "\n# %% [markdown]\n# ```python\n# '{a}`b`'\n# ```\n")
    assert notebooks.problems(tmp_path / "notebooks" / "01_tiny.ipynb") == []


def test_outputs_go_except_those_stored_for_comparison(tmp_path: Path) -> None:
    cells = [nbformat.v4.new_markdown_cell("# Title")]
    for tags in ([], [notebooks.STORED]):
        printed = nbformat.v4.new_output("stream", text="1\n")
        cells.append(
            nbformat.v4.new_code_cell("print(1)", outputs=[printed], metadata={"tags": tags}, execution_count=3)
        )
    shaped = notebooks.framed(nbformat.v4.new_notebook(cells=cells), "01_tiny")
    assert [len(cell.outputs) for cell in shaped.cells if cell.source == "print(1)"] == [0, 1]
    assert [cell.execution_count for cell in shaped.cells if cell.cell_type == "code"] == [None, None, None, 1]
    again = notebooks.framed(nbformat.from_dict(shaped), "01_tiny")
    assert notebooks.as_text(again) == notebooks.as_text(shaped), "shaping twice changes nothing"


def test_the_page_folds_the_imports_of_a_chapter_and_no_other_code() -> None:
    sources = ["# A setting\nx = 1", "import os\nimport re", "from os import path"]
    cells = [nbformat.v4.new_markdown_cell("# Title"), *map(nbformat.v4.new_code_cell, sources)]
    shaped = notebooks.framed(nbformat.v4.new_notebook(cells=cells), "01_tiny")
    folded = [cell.source for cell in shaped.cells if notebooks.FOLDED in cell.metadata.get("tags", [])]
    assert folded == [f"{notebooks.TITLE}Imports\n{sources[1]}"]
