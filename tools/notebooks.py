"""Make, shape and check the notebooks of the book, and the addresses that stand in them and elsewhere.

    python tools/notebooks.py build draft.py notebooks/04_speech.ipynb   from a percent script (jupytext)
    python tools/notebooks.py format [FILE ...]                          frame, cell ids, no outputs; in place;
                                                                         without FILE the addresses everywhere, too
    python tools/notebooks.py check [FILE ...]                           say what is wrong with a chapter
    python tools/notebooks.py store [FILE ...]                           take outputs to store from the built book
    python tools/notebooks.py compare                                    nbval on the chapters with stored outputs

Every chapter has the same frame: a first Markdown cell with title, Colab badge and a link to its page in the book, a
code cell that installs the package where it is missing, a code cell with the parameters, and a last Markdown cell that
leads to the next chapter. `build` and `format` write the frame. What the page folds (`hide-input`) Colab and JupyterLab
fold, too.

The address of the repository and that of the rendered book stand in pyproject.toml, the version in mer_lib/__init__.py.
Everything else that names them follows by `format`.
"""

from __future__ import annotations

import argparse
import ast
import csv
import hashlib
import math
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import nbformat
import yaml
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = ROOT / "notebooks"
DEFAULTS = {"corpus": "duet-i", "root": None, "audio": None, "text": None, "profile": "fast", "seed": 0}
"""What a chapter does when nobody says otherwise; papermill replaces these by name."""

SECTIONS = [
    "What you will learn",
    "What you need",
    "A prediction",
    "Where it breaks",
    "Exercises",
    "Take-aways",
    "Further reading",
]
"""Second-level headings of every chapter, in this order; others stand between them."""

STORED = "nbval-check-output"
"""Tag of the few cells whose short, deterministic output is kept in git."""

DUET = "duet"
"""Tag of text that holds for Duet only; the book leaves it out where it is built on another corpus."""

FOLDED = "hide-input"
"""Tag of code that is folded: a chapter's imports, plots, and what would give an answer away above its question."""

FOLDING = {FOLDED, "hide-cell"}
TITLE = "# @title "
"""How the first line of a folded cell begins; Colab shows the title in place of the code."""

MOST_LINES = 25
"""Lines of a cell; the folded imports may have more."""

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
COMPARED = re.compile(r"\b(held|agreement)\(")
DIRECTIVE = re.compile(r"^\s*(```+\s*\{|:::+)", re.M)
FENCED = re.compile(r"^```.*?^```", re.M | re.S)
MYST = {
    "a role ({...}`...`)": re.compile(r"\{[\w:-]+\}`"),
    "a label ((...)=)": re.compile(r"^\([\w-]+\)=", re.M),
    "a numbered formula ($$ (...))": re.compile(r"\$\$[ \t]*\([\w:-]+\)"),
    "a substitution ({{...}})": re.compile(r"\{\{.*?\}\}"),
    "a comment (% ...) or block break (+++)": re.compile(r"^(%|\+\+\+)", re.M),
}


def _urls() -> dict[str, str]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]


def repository() -> str:
    """Address of the repository; pyproject.toml is the one place that says it."""
    return str(_urls()["Repository"]).rstrip("/").removesuffix(".git")


def book() -> str:
    """Address of the rendered book; likewise."""
    return str(_urls()["Documentation"]).rstrip("/")


def version() -> str:
    """The version; `mer_lib.__version__` is the one place that says it."""
    source = (ROOT / "mer_lib" / "__init__.py").read_text()
    found = re.search(r'^__version__ = "(.+)"$', source, re.M)
    assert found, "mer_lib/__init__.py must say __version__."
    return found[1]


def tag() -> str:
    """Tag of this version in the repository."""
    return f"v{version()}"


def wheel() -> str:
    """Address of the package in the release of this version."""
    return f"{repository()}/releases/download/{tag()}/mer_lib-{version()}-py3-none-any.whl"


def colab(name: str) -> str:
    """Address that opens a chapter of this version in Colab."""
    path = repository().removeprefix("https://github.com/")
    return f"https://colab.research.google.com/github/{path}/blob/{tag()}/notebooks/{name}.ipynb"


def page(name: str) -> str:
    """Address of a chapter in the rendered book."""
    return f"{book()}/notebooks/{name}.html"


INSTALL = """\
# @title Setup: installs the book's package where it is missing; keeps your torch
import importlib.util
import sys

home, version = "{repository}", "{version}"
wheel = f"{{home}}/releases/download/v{{version}}/mer_lib-{{version}}-py3-none-any.whl"
for _place in (wheel, f"git+{{home}}@v{{version}}"):  # a release, or the repository
    if importlib.util.find_spec("mer_lib") is None:
        %pip install --quiet {{_place}}
        importlib.invalidate_caches()
try:
    from mer_lib import notebook
except ImportError as error:
    needs = f"a network (on Kaggle, switch Internet on) and a release v{{version}}"
    needs = needs if sys.version_info >= (3, 11) else "Python 3.11 or newer"
    raise SystemExit(
        f"mer_lib is not installed ({{error}}): tried {{wheel}}, then git. It needs"
        f" {{needs}}. Then run this cell again."
    ) from None
notebook.welcome()"""


def frame() -> list[NotebookNode]:
    """Return the two code cells that every chapter begins with."""
    install = INSTALL.format(repository=repository(), version=version())
    parameters = "\n".join(
        [
            "# Settings: leave as they are, or name a corpus of your own.",
            *(f"{name} = {value!r}".replace("'", '"') for name, value in DEFAULTS.items()),
        ]
    )
    return [_code(install, ["hide-cell", "setup"]), _code(parameters, ["parameters"])]


NEXT = "**Next:** "
"""How the last cell of every chapter but the last one begins."""


def following(name: str) -> NotebookNode | None:
    """The cell that leads from a chapter to the next one; None for the last."""
    names = [path.stem for path in chapters()]
    place = names.index(name) + 1 if name in names else len(names)
    if place >= len(names):
        return None
    title = nbformat.read(chapters()[place], as_version=4).cells[0].source.partition("\n")[0].removeprefix("# ")
    return nbformat.v4.new_markdown_cell(f"{NEXT}[{title}]({page(names[place])})")


def framed(notebook: NotebookNode, name: str) -> NotebookNode:
    """Return a chapter with its frame, folded imports, stable cell ids, and no outputs but the stored ones."""
    first, *rest = notebook.cells
    if first.cell_type != "markdown" or not first.source.startswith("# "):
        raise ValueError(f"{name} must begin with a Markdown cell whose first line is its title, `# ...`.")
    title, _, text = first.source.partition("\n")
    text = "\n".join(line for line in text.splitlines() if BADGE not in line).strip()
    badge = f"[![Open in Colab]({BADGE})]({colab(name)}) [Read this page in the book]({page(name)})"
    first.source = "\n\n".join(part for part in (title.strip(), badge, text) if part)
    old = {"setup", "parameters", "injected-parameters"}
    rest = [cell for cell in rest if cell.source.strip() and not old & set(cell.metadata.get("tags", []))]
    rest = [cell for cell in rest if not (cell.cell_type == "markdown" and cell.source.startswith(NEXT))]
    imports = (cell for cell in rest if cell.cell_type == "code" and IMPORTS.match(cell.source))
    for cell in islice(imports, 1):
        cell.metadata["tags"] = sorted({*cell.metadata.get("tags", []), FOLDED})
        cell.source = cell.source if cell.source.startswith(TITLE) else f"{TITLE}Imports\n{cell.source}"
    after = following(name)
    cells = [first, *frame(), *rest, *([after] if after else [])]
    seen: dict[str, int] = {}
    for cell in cells:
        if cell.cell_type == "markdown":
            cell.source = costed(reachable(cell.source), name)
        _strip(cell)
        digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:10]
        seen[digest] = seen.get(digest, 0) + 1
        cell["id"] = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
    metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    return nbformat.from_dict({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})


COST = "**From scratch:** "
"""How the sentence begins that says what a chapter takes, from `benchmarks/alone.csv`."""


def cost(name: str) -> str:
    """What a chapter takes alone with an empty cache, as `tools/environments.py` measured it; nothing if it did not."""
    path = ROOT / "benchmarks" / "alone.csv"
    if not path.is_file():
        return ""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["environment"] == "colab" and row["chapter"] == name]
    if not rows or rows[0]["failed"]:
        return ""
    seconds, memory = float(rows[0]["seconds"]), float(rows[0]["megabytes"])
    tens, halves = math.ceil(seconds / 10) * 10, math.ceil(seconds / 30) / 2
    time = f"{tens} seconds" if seconds <= 90 else f"{halves:g} minutes"
    return f"{COST}about {time} on {rows[0]['cores']} cores and {math.ceil(memory / 100) / 10:.1f} GB of memory."


def costed(text: str, name: str) -> str:
    """Put what a chapter takes behind the first paragraph of *What you need*."""
    text = re.sub(rf"\n\n{re.escape(COST)}[^\n]*", "", text)
    sentence = cost(name)
    return re.sub(r"(## What you need\n\n.+?)(?=\n\n|$)", rf"\1\n\n{sentence}", text, flags=re.S) if sentence else text


IMPORTS = re.compile(rf"({TITLE}Imports\n)?(import|from) ")

# Addresses ---------------------------------------------------------------------------------------------------------


def reachable(text: str) -> str:
    """Links from a chapter to other pages of the book as they work everywhere: Colab opens no relative ones."""
    text = re.sub(r"\]\((\d\d_\w+)\.ipynb(#[^)]*)?\)", lambda m: f"]({page(m[1])}{m[2] or ''})", text)
    return re.sub(r"\]\(\.\./(\w+)\.md(#[^)]*)?\)", lambda m: f"]({book()}/{m[1]}.html{m[2] or ''})", text)


def within(text: str, notebooks: Iterable[str]) -> str:
    """The other way round, for the built book, which works without a network; and without links to itself.

    Args:
        text: Markdown of a chapter.
        notebooks: Names of the chapters; other pages are Markdown files beside the folder of chapters.
    """
    text = re.sub(rf" \[Read this page in the book\]\({re.escape(book())}[^)]*\)", "", text)
    for name in notebooks:
        text = text.replace(f"]({page(name)}", f"]({name}.ipynb")
    return re.sub(rf"\]\({re.escape(book())}/(\w+)\.html", r"](../\1.md", text)


def addressed(text: str, old: dict[str, str], new: dict[str, str]) -> str:
    """A text with the addresses and the version of today in place of those of yesterday."""
    follows = {value: new[name] for name, value in old.items()}
    longest_first = sorted(follows, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, longest_first)), lambda found: follows[found[0]], text)


def addresses() -> dict[str, str]:
    """What pyproject.toml and the package say."""
    path = repository().removeprefix("https://github.com/")
    return {"book": book(), **_told(path, tag(), version())}


def _told(path: str, tag: str, version: str) -> dict[str, str]:
    """How files name the repository and its version."""
    return {
        "files": f"{path}/blob/{tag}/",
        "path": path,
        "tag": f"branch: {tag}",
        "version": f"\nversion: {version}\n",
    }


def standing() -> dict[str, str]:
    """The same as it stands in _config.yml and CITATION.cff, which `readdress` changes last."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"]
    return {
        "book": config["html"]["baseurl"].rstrip("/"),
        **_told(config["repository"]["url"].removeprefix("https://github.com/"), config["repository"]["branch"], cited),
    }


def readdress() -> None:
    """Bring every page and file that names the repository, the book or the version up to date."""
    old, new = standing(), addresses()
    if old == new:
        return
    pages = sorted({*ROOT.glob("*.md"), *ROOT.glob("*/*.md"), *ROOT.glob("data/*/*.md")})
    for path in [*pages, *chapters(), ROOT / "CITATION.cff", ROOT / "_config.yml"]:
        if path.is_relative_to(ROOT / "_build") or path.is_relative_to(ROOT / ".venv"):
            continue
        text = path.read_text(encoding="utf-8")
        if (changed := addressed(text, old, new)) != text:
            _replace(path, changed)


# Checks ------------------------------------------------------------------------------------------------------------


def problems(path: Path) -> list[str]:
    """Say in sentences what is wrong with a chapter's source; nothing if it is right."""
    notebook, name = nbformat.read(path, as_version=4), path.stem
    found = []
    if path.read_text() != as_text(framed(nbformat.from_dict(notebook), name)):
        found.append(f"{name} has another frame, other ids or outputs than it should. Run `make format`.")
    for number, cell in enumerate(notebook.cells, start=1):
        where = f"{name}, cell {number}"
        lines = cell.source.count("\n") + 1
        shown = not FOLDING & set(cell.metadata.get("tags", []))
        if cell.cell_type == "code" and not shown and not cell.source.startswith(TITLE):
            found.append(f"{where} is folded and has no title; begin it with `{TITLE}...`, which Colab shows instead.")
        if cell.cell_type == "code" and shown and lines > MOST_LINES:
            found.append(
                f"{where} has {lines} lines of code; the most is {MOST_LINES}. Split it, or move it to mer_lib."
            )
        if cell.cell_type == "code" and DUET in cell.metadata.get("tags", []):
            found.append(f"{where} is code with the tag {DUET!r}, which is for text. Let the code look at the corpus.")
        if cell.cell_type == "markdown":
            found += [f"{where} uses MyST, {what}, which shows raw elsewhere." for what in _myst(cell.source)]
            found += [f"{where} has a stray star in: {line.strip()[:60]}" for line in _stray(cell.source)]
    for number, cell in enumerate(notebook.cells, start=1):
        if cell.cell_type == "code" and not {"parameters", "setup"} & set(cell.metadata.get("tags", [])):
            lost = sorted(_assigned(cell.source) & set(DEFAULTS))
            found += (
                [f"{name}, cell {number} overwrites the parameter {lost[0]}; give it another name."] if lost else []
            )
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    if "experiments.trained(" in code and not COMPARED.search(code):
        found.append(f"{name} trains systems of the record and compares none. Print `tables.held` of their results.")
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    headings = re.findall(r"^## +(.+?)\s*$", text, re.M)
    if [heading for heading in headings if heading in SECTIONS] != SECTIONS:
        found.append(f"{name} must have the sections {SECTIONS} once each and in this order; it has {headings}.")
    return found


def _assigned(code: str) -> set[str]:
    """Names that a cell assigns or imports outside of its functions and classes."""
    try:
        todo: list[ast.AST] = list(ast.parse(code).body)
    except SyntaxError:  # a magic
        return set()
    names: set[str] = set()
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Lambda, ast.GeneratorExp, ast.ListComp, ast.DictComp)):
            continue  # these have names of their own
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        todo += ast.iter_child_nodes(node)
    return names


def _myst(text: str) -> list[str]:
    """Kinds of MyST syntax in a Markdown text; inside of code it may stand."""
    bare = re.sub(r"``[^`].*?``", "", FENCED.sub("", text))
    directive = ["a directive (```{...} or :::)"] if DIRECTIVE.search(text) else []
    return directive + [what for what, pattern in MYST.items() if pattern.search(bare)]


def _stray(text: str) -> list[str]:
    """Paragraphs in which emphasis begins and does not end; code and formulas do not count."""
    bare = re.sub(r"\$\$.*?\$\$|\$[^$\n]+\$|<[^>]+>|\\\*|``[^`].*?``|`[^`\n]*`", "", FENCED.sub("", text), flags=re.S)
    bare = re.sub(r"^(\s*)\* ", r"\1- ", bare, flags=re.M)
    parts = re.split(r"\n\s*\n|\n(?=\s*(?:- |\d+\. |\|))", bare)
    return [part for part in parts if part.count("*") % 2 or part.count("**") % 2 or " * " in part]


def as_text(notebook: NotebookNode) -> str:
    """Return the JSON text of a notebook, the same for the same notebook."""
    return nbformat.writes(notebook) + "\n"


def write(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path, as_text(notebook))


def _replace(path: Path, text: str) -> None:
    beside = path.with_name(path.name + ".part")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)


def chapters() -> list[Path]:
    """All chapters, in order."""
    return sorted(CHAPTERS.glob("[0-9]*.ipynb"))


def _code(source: str, tags: list[str]) -> NotebookNode:
    return nbformat.v4.new_code_cell(source, metadata={"tags": tags})


def _strip(cell: NotebookNode) -> None:
    tags = cell.metadata.get("tags", [])
    folded = {"cellView": "form", "jupyter": {"source_hidden": True}} if FOLDING & set(tags) else {}
    cell.metadata = nbformat.from_dict({**folded, "tags": tags} if tags else {})
    cell.pop("attachments", None)
    if cell.cell_type == "code":
        stored = STORED in tags and cell.outputs
        cell.outputs = cell.outputs if stored else []
        cell.execution_count = 1 if stored else None  # nbval wants stored outputs to have been run
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = 1


def _store(path: Path) -> None:
    """Copy the outputs of the tagged cells from the executed copy of a chapter."""
    notebook = nbformat.read(path, as_version=4)
    executed = nbformat.read(ROOT / "_build" / "notebooks" / path.name, as_version=4)
    outputs = {cell.id: cell.outputs for cell in executed.cells if cell.cell_type == "code"}
    for cell in notebook.cells:
        if STORED in cell.metadata.get("tags", []):
            cell.outputs = outputs[cell.id]
    write(framed(notebook, path.stem), path)


def _compare(files: list[Path]) -> int:
    stored = [str(path) for path in files if f'"{STORED}"' in path.read_text()]
    if not stored:
        print("No chapter stores outputs: nothing to compare.")
        return 0
    return subprocess.call([sys.executable, "-m", "pytest", "--nbval-lax", "-p", "no:cacheprovider", *stored], cwd=ROOT)


def main(arguments: list[str] | None = None) -> int:
    """Run one of the commands; the exit code is 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build")
    build.add_argument("script", type=Path)
    build.add_argument("notebook", type=Path)
    for name in ("format", "check", "store"):
        commands.add_parser(name).add_argument("files", nargs="*", type=Path)
    commands.add_parser("compare")
    given = parser.parse_args(arguments)
    if given.command == "compare":
        return _compare(chapters())
    if given.command == "build":
        import jupytext

        write(framed(jupytext.read(given.script, fmt="py:percent"), given.notebook.stem), given.notebook)
        given.files = [given.notebook]
    if given.command == "format":
        if not given.files:
            readdress()
        for path in given.files or chapters():
            write(framed(nbformat.read(path, as_version=4), path.stem), path)
    if given.command == "store":
        for path in given.files or chapters():
            _store(path)
    found = [problem for path in given.files or chapters() for problem in problems(path)]
    print("\n".join(found), file=sys.stderr, end="\n" if found else "")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
