"""What stands around every chapter: the cell that installs, folding, links, addresses, shown source, releases."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest

import notebooks
import release
from mer_lib import notebook, progress

# ---- the cell that installs

HARNESS = """
import importlib.util, json, sys
from IPython.core.interactiveshell import InteractiveShell

world, tried = {world!r}, []
shell = InteractiveShell.instance()
find = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name == "mer_lib" and not world["here"] else find(name)

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "mer_lib" and not world["here"]:
            raise ModuleNotFoundError("No module named 'mer_lib'")

sys.meta_path.insert(0, Blocked())

def pip(line):
    tried.append(line)
    world["here"] = world["here"] or any(part in line for part in world["works"])

shell.register_magic_function(pip, magic_name="pip")
if world.get("old"):
    sys.version_info = (3, 9, 2)
result = shell.run_cell({cell!r})
error = result.error_in_exec or result.error_before_exec
print(json.dumps({{"tried": tried, "error": error and type(error).__name__, "says": error and str(error)}}))
"""


def installed(**world: object) -> tuple[dict, str]:
    """Run the cell in an IPython where `%pip` only notes what it is asked for; what happened, and what was printed."""
    facts = {"here": False, "works": []} | world
    code = HARNESS.format(world=facts, cell=notebooks.frame()[0].source)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=notebooks.ROOT)
    *said, last = done.stdout.strip().splitlines()
    return json.loads(last), "\n".join(said)


def test_nothing_is_installed_where_the_package_is_there() -> None:
    found, said = installed(here=True)
    assert found == {"tried": [], "error": None, "says": None}
    assert said.startswith("mer_lib ")
    assert said.count("\n") == 0


def test_the_wheel_of_the_release_is_tried_first_and_is_enough() -> None:
    found, said = installed(works=[".whl"])
    assert found["tried"] == [f"install --quiet {notebooks.wheel()}"]
    assert found["error"] is None
    assert "torch" in said


def test_where_there_is_no_release_the_repository_is_tried() -> None:
    found, _ = installed(works=["git+"])
    assert found["tried"][1] == f"install --quiet git+{notebooks.repository()}@{notebooks.tag()}"
    assert found["error"] is None


@pytest.mark.parametrize(("old", "cure"), [(False, "switch Internet on) and a release v"), (True, "Python 3.11")])
def test_where_nothing_can_be_installed_one_sentence_says_what_was_tried_and_what_to_do(old: bool, cure: str) -> None:
    found, said = installed(old=old)
    assert len(found["tried"]) == 2
    assert found["error"] == "SystemExit"
    assert notebooks.wheel().rpartition("/")[2] not in said.partition("SystemExit")[0]
    assert cure in found["says"]
    assert "Traceback" not in said


def test_the_line_of_a_ready_kernel_names_versions_and_device_and_the_built_book_is_silent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.delenv(progress.BUILDING, raising=False)
    monkeypatch.setattr(notebook.shutil, "which", lambda name: None)
    notebook.welcome()
    said = capsys.readouterr().out
    assert said.endswith("; no GPU, and none is needed.\n")
    assert "Python" in said
    monkeypatch.setenv(progress.BUILDING, "1")
    notebook.welcome()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("fault", [OSError("gone"), subprocess.TimeoutExpired("nvidia-smi", 20)])
def test_a_driver_that_does_not_answer_stops_nobody(fault: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr(notebook.shutil, "which", lambda name: name)
    monkeypatch.setattr(notebook.subprocess, "run", hang)
    assert notebook._device() == "the GPU's driver does not answer"


# ---- folding


def test_what_the_page_folds_is_folded_in_colab_and_jupyterlab_too() -> None:
    for path in notebooks.chapters():
        for cell in nbformat.read(path, as_version=4).cells:
            folded = bool(notebooks.FOLDING & set(cell.metadata.get("tags", [])))
            assert (cell.metadata.get("cellView") == "form") == folded
            assert (cell.metadata.get("jupyter", {}).get("source_hidden") is True) == folded
            assert cell.source.startswith(notebooks.TITLE) == folded


def test_no_code_stands_open_above_the_riddle_of_a_chapter() -> None:
    for name in (
        "01_two_channels",
        "05_text",
        "07_fusion_basics",
        "08_subspaces",
        "09_cross_attention",
        "14_confusions_and_maps",
    ):
        cells = nbformat.read(notebooks.CHAPTERS / f"{name}.ipynb", as_version=4).cells[3:]
        before = cells[: next(i for i, cell in enumerate(cells) if cell.cell_type == "markdown")]
        assert before
        assert all(notebooks.FOLDED in cell.metadata.tags for cell in before), name


# ---- links


def test_a_chapter_links_to_pages_that_open_in_colab_and_the_built_book_to_its_own() -> None:
    here = "See [chapter 3](03_measuring.ipynb#folds), [people](../ethics.md) and [this](https://example.org/x.ipynb)."
    there = notebooks.reachable(here)
    book = notebooks.book()
    assert f"]({book}/notebooks/03_measuring.html#folds)" in there
    assert f"]({book}/ethics.html)" in there
    assert notebooks.reachable(there) == there
    assert notebooks.within(there, ["03_measuring"]) == here


def test_each_chapter_leads_to_its_page_and_to_the_next_chapter() -> None:
    names = [path.stem for path in notebooks.chapters()]
    for path, following in zip(notebooks.chapters(), [*names[1:], None], strict=True):
        cells = nbformat.read(path, as_version=4).cells
        assert f"]({notebooks.page(path.stem)})" in cells[0].source
        assert cells[-1].source.startswith(notebooks.NEXT) == bool(following)
        assert following is None or f"]({notebooks.page(following)})" in cells[-1].source
        assert "](../" not in "".join(cell.source for cell in cells if cell.cell_type == "markdown")


def test_the_built_page_has_no_link_to_itself() -> None:
    first = nbformat.read(notebooks.chapters()[0], as_version=4).cells[0].source
    assert "in the book" in first
    assert "in the book](" not in notebooks.within(first, [path.stem for path in notebooks.chapters()])


# ---- addresses


@pytest.fixture
def fork(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the checkout's text, in which the tools work."""
    ignore = shutil.ignore_patterns(".git", ".venv", "_build", "dist", "*.zip", "results", "pitch", "__pycache__", ".*")
    folder = shutil.copytree(notebooks.ROOT, tmp_path / "fork", ignore=ignore)
    monkeypatch.setattr(notebooks, "ROOT", folder)
    monkeypatch.setattr(notebooks, "CHAPTERS", folder / "notebooks")
    return folder


def texts(folder: Path) -> dict[Path, str]:
    kinds = {".md", ".ipynb", ".yml", ".cff", ".toml", ".py"}
    return {path: path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.suffix in kinds}


def test_a_fork_is_one_edit_and_one_command(fork: Path) -> None:
    settings = fork / "pyproject.toml"
    moved = settings.read_text().replace("github.com/mer-book/mer-book", "github.com/ann/her-book")
    settings.write_text(moved.replace("mer-book.github.io/mer-book", "ann.github.io/her-book"))
    assert notebooks.main(["format"]) == 0
    after = texts(fork)
    own = {path: text for path, text in after.items() if "tests" not in path.relative_to(fork).parts}
    assert [path.name for path, text in own.items() if "mer-book/mer-book" in text] == []
    assert [path.name for path, text in own.items() if "mer-book.github.io" in text] == []
    assert "git clone https://github.com/ann/her-book" in (fork / "README.md").read_text()
    assert release.disagreements() == []
    assert notebooks.main(["format"]) == 0
    assert texts(fork) == after, "the second time nothing changes"


def test_a_new_version_is_one_edit_and_one_command(fork: Path) -> None:
    (fork / "mer_lib" / "__init__.py").write_text('"""A package."""\n\n__version__ = "7.1.0"\n')
    assert release.disagreements() != []
    assert notebooks.main(["format"]) == 0
    assert release.disagreements() == []
    assert "branch: v7.1.0" in (fork / "_config.yml").read_text()
    assert "/blob/v7.1.0/data/duet/DATASHEET.md" in (fork / "ethics.md").read_text()


def test_a_fork_whose_name_begins_like_the_old_one_is_named_once_only() -> None:
    old = {"book": "https://a.org/x/y", **notebooks._told("x/y", "v1", "1")}
    new = {"book": "https://a.org/x/y-2", **notebooks._told("x/y-2", "v2", "2")}
    text = "https://a.org/x/y/p.html, https://github.com/x/y/blob/v1/data/, git clone https://github.com/x/y"
    now = "https://a.org/x/y-2/p.html, https://github.com/x/y-2/blob/v2/data/, git clone https://github.com/x/y-2"
    assert notebooks.addressed(text, old, new) == now


@pytest.mark.parametrize("ending", ["/", ".git"])
def test_the_address_of_a_fork_may_be_written_as_browsers_and_git_write_it(fork: Path, ending: str) -> None:
    before = notebooks.wheel()
    settings = fork / "pyproject.toml"
    settings.write_text(settings.read_text().replace('mer-book/mer-book"', f'mer-book/mer-book{ending}"', 1))
    assert notebooks.wheel() == before


# ---- shown source


def test_shown_source_has_ink_and_paper_of_its_own() -> None:
    shown = notebook.source(notebooks.tag, "x = 1").data
    assert "background: #f8f8f8; color: #1f1f1f" in shown
    assert "def" in shown
    assert "tag" in shown
    assert ".shown-source .k {" in shown
    for painted in ('class="highlight"', "<pre>", ".output_html"):
        assert painted not in shown, "a theme would repaint it"


def test_no_chapter_shows_source_in_another_way() -> None:
    for path in notebooks.chapters():
        code = "".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")
        assert "Code(" not in code.replace("TextEncoder(", ""), path.name


# ---- stray stars


@pytest.mark.parametrize(
    ("text", "stray"),
    [
        ("Some *stress* and **strength**.", False),
        ("A stray * star*.\n\nFine.", True),
        ("* a list\n* of stars", False),
        ("`a * b` and $a * b$ and $$a * b$$", False),
        ("**Open", True),
        ("***Both*** and **one**", False),
        ("*Open", True),
        ("- one *\n- two", True),
    ],
)
def test_emphasis_that_never_ends_is_found(text: str, stray: bool) -> None:
    assert bool(notebooks._stray(text)) == stray


# ---- releases


@pytest.mark.parametrize(
    ("file", "old", "new", "sentence"),
    [
        ("_config.yml", "branch: v", "branch: w", "_config.yml, branch is w"),
        ("_config.yml", "baseurl: https://", "baseurl: http://", "_config.yml, baseurl is http://"),
        ("CITATION.cff", "repository-code: https://github.com/", "repository-code: https://", "CITATION.cff, repo"),
        ("CITATION.cff", "\nversion: ", "\nversion: 9", "CITATION.cff, version is 9"),
        (
            "README.md",
            "git clone https://github.com/",
            "git clone https://gitlab.com/",
            "README.md does not clone http",
        ),
        ("ethics.md", "/blob/v", "/blob/w", "ethics.md links to files under https://github.com/"),
        ("notebooks/03_measuring.ipynb", "/blob/v", "/blob/w", "03_measuring.ipynb has no badge that opens v"),
        ("notebooks/03_measuring.ipynb", "%pip install --quiet", "%pip install", "03_measuring.ipynb installs"),
    ],
)
def test_a_release_whose_places_disagree_is_refused_in_a_sentence(
    fork: Path, file: str, old: str, new: str, sentence: str
) -> None:
    assert release.disagreements() == []
    path = fork / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    (found,) = release.disagreements()
    assert found.startswith(sentence)


def test_a_tag_that_stands_elsewhere_and_open_changes_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"status": " M x", "rev-list": "aaa", "rev-parse": "bbb"}
    monkeypatch.setattr(release, "git", lambda *arguments: said[arguments[0]])
    changes, tag = release.unready()
    assert "not committed" in changes
    assert "stands at another commit" in tag
    said |= {"status": "", "rev-list": ""}
    assert release.unready() == []


def test_a_wheel_of_yesterday_is_not_taken_for_todays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mer_lib-0.0.9-py3-none-any.whl").write_bytes(b"old")
    calls = subprocess.CompletedProcess([], 0, "", "")

    def build(command: list[str], **_: object) -> subprocess.CompletedProcess:
        name = notebooks.wheel().rpartition("/")[2]
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("mer_lib/__init__.py", "")
        return calls

    monkeypatch.setattr(release.subprocess, "run", build)
    with pytest.raises(RuntimeError, match="The wheel lacks mer_lib/data"):
        release.wheel(tmp_path)
    assert not (tmp_path / "mer_lib-0.0.9-py3-none-any.whl").exists()
    calls.returncode, calls.stderr = 1, "no space left"
    with pytest.raises(RuntimeError, match="cannot be built: no space left"):
        release.wheel(tmp_path)


def test_a_wheel_of_another_version_or_that_cannot_be_imported_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    broken = tmp_path / "broken.whl"
    with zipfile.ZipFile(broken, "w") as archive:
        archive.writestr("mer_lib/__init__.py", "raise ImportError('half a wheel')")
    with pytest.raises(RuntimeError, match="cannot be imported: .*half a wheel"):
        release.imports(broken)
    monkeypatch.setattr(release, "wheel", lambda folder: broken)
    monkeypatch.setattr(release, "imports", lambda path: "0.0.9")
    assert release.main() == 1
    assert f"The wheel says that it is 0.0.9, not {notebooks.version()}." in capsys.readouterr().err


def test_the_wheel_is_called_what_the_chapters_install_and_can_be_imported(tmp_path: Path) -> None:
    built = release.wheel(tmp_path)
    assert notebooks.wheel().endswith(f"/{built.name}")
    assert release.imports(built) == notebooks.version()
