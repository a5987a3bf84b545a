"""Run every chapter and compile the book: `make book` from a shell.

    python tools/build_book.py [--corpus duet-i] [--root FOLDER] [--audio NAME] [--text NAME] [--profile fast]
                               [--seed 0] [--jobs 3]
    python tools/build_book.py 03_measuring        run this chapter only, compile nothing

A chapter runs again only where it, mer_lib, the data, the pinned versions or the parameters have changed; the pages
are compiled again only where something that they show has changed. Everything made is under `_build/`:
`_build/notebooks` the executed chapters, `_build/html` the book.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import multiprocessing
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

import nbformat
import yaml
from traitlets.config import Config

from notebooks import DEFAULTS, DUET, NEXT, TITLE, within

HERE = Path(__file__).resolve().parents[1]
PROFILES = ("fast", "full")
GENERATED = "how_it_was_made"
"""A page of the table of contents that the build writes itself."""

KERNEL = Config(KernelManager={"transport": "ipc"}, NotebookClient={"extra_arguments": ["--log-level=50"]})
"""Kernels that start at the same moment may choose the same port; files never clash. Their own log says nothing."""


class BookError(Exception):
    """The book cannot be built; the message says why."""


@dataclass(frozen=True)
class Book:
    """A folder that holds a book, and what its chapters are run with.

    Attributes:
        folder: Holds `_config.yml`, `_toc.yml`, the pages, `mer_lib`, `data`.
        parameters: Values for the parameters cell of every chapter.
    """

    folder: Path
    parameters: dict[str, str | int | None]

    @property
    def build(self) -> Path:
        """Where everything that is made goes."""
        return self.folder / "_build"

    def pages(self) -> list[str]:
        """Pages of `_toc.yml` in their order, without ending."""
        toc = yaml.safe_load((self.folder / "_toc.yml").read_text())
        parts = toc.get("parts", [toc])
        return [toc["root"], *(chapter["file"] for part in parts for chapter in part["chapters"])]

    def chapters(self) -> list[str]:
        """Names of the notebooks among the pages."""
        return [Path(page).name for page in self.pages() if (self.folder / f"{page}.ipynb").exists()]

    def source(self, chapter: str) -> Path:
        """Notebook as it is in git."""
        return self.folder / "notebooks" / f"{chapter}.ipynb"

    def executed(self, chapter: str) -> Path:
        """Notebook with outputs."""
        return self.build / "notebooks" / f"{chapter}.ipynb"

    def record(self, chapter: str) -> Path:
        """What the executed notebook was made from, and how long it took."""
        return self.build / "notebooks" / f"{chapter}.json"


# What has changed


def digest(paths: Iterable[Path], *more: object) -> str:
    """Hash of the names and contents of files, and of further values."""
    total = hashlib.sha256(repr(more).encode())
    for path in sorted(paths):
        total.update(f"\0{path}\0".encode())
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def files(*places: Path) -> list[Path]:
    """All files in some places (a file, a folder, or nothing there)."""
    inside = [path for place in places for path in ([place] if place.is_file() else place.rglob("*"))]
    return [path for path in inside if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".part"]


def state(book: Book) -> str:
    """Hash of all that every chapter depends on."""
    shared = [book.folder / name for name in ("mer_lib", "data", "pyproject.toml", "constraints.txt")]
    listing = []
    if book.parameters["root"]:  # gigabytes: names, sizes and times stand for the contents
        root = Path(str(book.parameters["root"]))
        listing = sorted((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in root.rglob("*") if p.is_file())
    for encoder in given_encoders(book).values():
        listing += sorted(
            (str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files(Path(encoder.partition("?")[0]))
        )
    return digest(files(*shared), book.parameters, listing, sys.version, platform.platform())


def given_encoders(book: Book) -> dict[str, str]:
    """Pretrained encoders that the book is made with, by modality."""
    return {name: str(book.parameters[name]) for name in ("audio", "text") if book.parameters.get(name)}


def is_current(book: Book, chapter: str, now: str) -> bool:
    """Whether a chapter's executed copy is what running it again would give."""
    record = book.record(chapter)
    if not (record.exists() and book.executed(chapter).exists()):
        return False
    return json.loads(record.read_text())["made_from"] == digest([book.source(chapter)], now)


# Running chapters


def run(book: Book, chapter: str, now: str) -> tuple[float, list[str]]:
    """Run one chapter by papermill, in a process of its own.

    Returns:
        Seconds taken, and what its cells wrote on stderr.

    Raises:
        BookError: If a cell fails.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    target, scratch = book.executed(chapter), book.build / "scratch" / chapter
    beside = target.with_name(f"{chapter}.failed.ipynb")
    for folder in (target.parent, scratch, book.build / "settings"):
        folder.mkdir(parents=True, exist_ok=True)
    os.environ.update(_environment(book))
    changed = {name: value for name, value in book.parameters.items() if value != DEFAULTS[name]}
    start = time.monotonic()
    try:
        papermill.execute_notebook(
            book.source(chapter),
            beside,
            changed,
            progress_bar=False,
            cwd=scratch,
            kernel_name="python3",
            config=KERNEL,
        )
    except PapermillExecutionError as error:
        sources = [cell.source for cell in nbformat.read(book.source(chapter), as_version=4).cells]
        number = sources.index(error.source) + 1 if error.source in sources else "of parameters"
        what = f"{chapter}, cell {number}: {error.ename}: {error.evalue}"
        raise BookError(f"{what}\n{_indent(error.source)}\n(see {beside})") from None
    except DeadKernelError:
        raise BookError(f"{chapter}: its kernel died, perhaps for want of memory. Try JOBS=1. (see {beside})") from None
    seconds = time.monotonic() - start
    if not planted(book):
        _without_duet(book, beside)
    if given_encoders(book):
        _with_encoders(book, beside)
    os.replace(beside, target)
    record = {"made_from": digest([book.source(chapter)], now), "seconds": round(seconds, 1)}
    _write(book.record(chapter), json.dumps(record))
    return seconds, warnings(chapter, target)


def planted(book: Book) -> bool:
    """Whether the book runs on a corpus that ships with it, whose truth is known."""
    return str(book.parameters["corpus"]).startswith("duet")


def _without_duet(book: Book, path: Path) -> None:
    """Fit an executed chapter to the reader's own corpus: leave out text that holds for Duet only, and say so."""
    note = (
        f"> **This copy of the chapter was computed on `{book.parameters['corpus']}`.** Its tables and figures show"
        " that corpus. Nothing was planted in it, and nobody knows its ceilings. Paragraphs about what is to be seen on"
        " Duet are left out; where the text still speaks of planted truth or of a ceiling, it speaks of Duet."
    )
    notebook = nbformat.read(path, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if DUET not in cell.metadata.get("tags", [])]
    notebook.cells.insert(1, nbformat.v4.new_markdown_cell(note))
    nbformat.write(notebook, path)


PASSED = re.compile(r"\baudio=audio\b|, audio, text\b")
"""How a chapter hands its encoders on; one that does not is about the book's own features."""


def _with_encoders(book: Book, path: Path) -> None:
    """Say on the page which pretrained encoders an executed chapter was computed with."""
    notebook = nbformat.read(path, as_version=4)
    told = " and ".join(f"`{encoder}` for {name}" for name, encoder in given_encoders(book).items())
    if PASSED.search("\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")):
        note = (
            f"> **This copy of the chapter was computed with {told}**, wherever it trains on"
            f" `{book.parameters['corpus']}`. Where the text speaks of frames or of word vectors, read: the hidden"
            " states of that encoder. What is shown on another corpus has the book's own features."
        )
    else:
        note = (
            "> This chapter is about the book's own features, or needs none. The encoders that this copy of the book"
            " was given change nothing in it."
        )
    notebook.cells.insert(1, nbformat.v4.new_markdown_cell(note))
    nbformat.write(notebook, path)


def _environment(book: Book) -> dict[str, str]:
    """One thread per chapter, and nothing of the user's own settings."""
    return {
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "MPLCONFIGDIR": str(book.build / "settings" / "matplotlib"),
        "IPYTHONDIR": str(book.build / "settings" / "ipython"),
        "JUPYTER_PREFER_ENV_PATH": "1",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "MER_BOOK_BUILD": "1",
    }


def _share_cores(jobs: int) -> None:
    """Let each of several chapters start its share of processes only."""
    os.environ["LOKY_MAX_CPU_COUNT"] = str(max(1, (os.cpu_count() or 1) // jobs))


def warnings(chapter: str, path: Path) -> list[str]:
    """What the cells of an executed chapter wrote on stderr, which its page would show."""
    cells = nbformat.read(path, as_version=4).cells
    outputs = [(number, output) for number, cell in enumerate(cells, start=1) for output in cell.get("outputs", [])]
    return [
        f"{chapter}, cell {number} wrote on stderr:\n{_indent(o.text)}"
        for number, o in outputs
        if o.get("name") == "stderr"
    ]


def far_apart(chapters: list[str]) -> list[str]:
    """Order chapters for running, so that neighbours in the book do not run side by side.

    Neighbours train the same systems: one would wait until the other has trained them. And short chapters, which are
    the early ones, come last, since a long one that starts last would keep one core alone.
    """
    middle = (len(chapters) + 1) // 2
    pairs = zip_longest(reversed(chapters[:middle]), reversed(chapters[middle:]))
    return [chapter for pair in pairs for chapter in pair if chapter]


def run_all(book: Book, chapters: list[str], jobs: int) -> int:
    """Run the chapters that are not current, several at a time, and say how each went.

    Returns:
        How many were run.

    Raises:
        BookError: If any fails, after all were tried; the message names each.
    """
    now = state(book)
    stale = [chapter for chapter in chapters if not is_current(book, chapter, now)]
    failed = []
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _share_cores, (jobs,)) as pool:
        waiting = {pool.submit(run, book, chapter, now): chapter for chapter in far_apart(stale)}
        for done in as_completed(waiting):
            try:
                seconds, said = done.result()
            except BookError as error:
                failed.append(str(error))
                continue
            _say(f"{waiting[done]}: {seconds:.0f} s")
            for warning in said:
                _say(warning)
    if failed:
        raise BookError("\n\n".join(["The book was not built, since a cell failed.", *failed]))
    return len(stale)


# Compiling pages


def compile_pages(book: Book) -> bool:
    """Compile the executed chapters and the other pages to HTML, unless that would change nothing.

    Returns:
        Whether anything was compiled.

    Raises:
        BookError: If Jupyter Book warns of anything.
    """
    own = [
        book.folder / name for name in ("_config.yml", "_toc.yml", "_static", "references.bib", "benchmarks/alone.csv")
    ]
    own += [path for page in book.pages() for path in [book.folder / f"{page}.md"] if path.exists()]
    executed = [book.executed(chapter) for chapter in book.chapters()]
    stamp, made_from = book.build / "html.digest", digest([*files(*own), *executed, Path(__file__)])
    if (book.build / "html" / "index.html").exists() and stamp.exists() and stamp.read_text() == made_from:
        return False
    source, site = book.build / "source", book.build / "site"
    for folder in (source, site):
        shutil.rmtree(folder, ignore_errors=True)
    for path in files(*own):
        _copy(path, source / path.relative_to(book.folder))
    for path in executed:
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = within(cell.source, book.chapters())
            elif cell.source.startswith(TITLE):  # the page has a button of its own
                cell.source = cell.source.partition("\n")[2]
        notebook.cells = [cell for cell in notebook.cells if not cell.source.startswith(NEXT)]  # the theme has its own
        _write(source / "notebooks" / path.name, nbformat.writes(notebook))
    if GENERATED in book.pages():
        _write(source / f"{GENERATED}.md", how_it_was_made(book))
    program = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    command = [*program, "build", str(source), "--path-output", str(site), "--all", "-W", "--keep-going"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    log = re.sub(r"\x1b\[[\d;]*m", "", done.stdout + done.stderr)
    _write(book.build / "jupyter-book.log", log)
    html = site / "_build" / "html"
    if done.returncode or not (html / "index.html").exists():
        said = [line for line in log.splitlines() if re.search(r"WARNING|ERROR|Error", line)] or log.splitlines()[-20:]
        raise BookError(
            "\n".join(["Jupyter Book does not accept the pages:", *said, f"(all of it: {book.build}/jupyter-book.log)"])
        )
    shutil.rmtree(book.build / "html", ignore_errors=True)
    os.replace(html, book.build / "html")
    _write(stamp, made_from)
    return True


def how_it_was_made(book: Book) -> str:
    """A page in Markdown: parameters, versions, and seconds per chapter."""
    from importlib.metadata import version

    given = {name: value for name, value in book.parameters.items() if name != "root" and value is not None}
    parameters = ", ".join(f"{name} `{value}`" for name, value in given.items())
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "scikit-learn", "jupyter-book"))
    seconds = {chapter: json.loads(book.record(chapter).read_text())["seconds"] for chapter in book.chapters()}
    rows = [f"| [{name}](notebooks/{name}.ipynb) | {taken:.1f} |" for name, taken in seconds.items()]
    lines = [
        "# How this book was made",
        f"Every number and figure in this book was computed by its own code, with {parameters}.",
        f"Python {platform.python_version()} on {platform.system()}, {versions}.",
        "\n".join(["| chapter | seconds |", "|---|---|", *rows, f"| together | {sum(seconds.values()):.1f} |"]),
        "Each chapter ran on one thread.",
        *ran_alone(book),
    ]
    return "\n\n".join(lines) + "\n"


def ran_alone(book: Book) -> list[str]:
    """What chapters took alone in other people's environments: the paragraphs of a section, or none."""
    path = book.folder / "benchmarks" / "alone.csv"
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        measured = {(row["environment"], row["chapter"]): row for row in csv.DictReader(file)}
    names = sorted({environment for environment, _ in measured})
    head = " | ".join(f"{name}: seconds | {name}: GB" for name in names)
    rows = []
    for chapter in book.chapters():
        cells = [measured.get((name, chapter)) for name in names]
        shown = [("did not run", "") if c and c["failed"] else (c["seconds"], _gb(c)) if c else ("", "") for c in cells]
        rows.append(f"| [{chapter}](notebooks/{chapter}.ipynb) | {' | '.join(' | '.join(pair) for pair in shown)} |")
    days = sorted({row["date"] for row in measured.values()})
    return [
        "## Each chapter alone",
        "So runs a chapter after *Open in Colab*: in an empty folder, with an empty cache, with the book's wheel and no"
        " checkout, and without a network; on the versions in `tests/environments`, which stand in for Colab and for"
        f" the oldest ones that the book admits. Measured {' to '.join(dict.fromkeys([days[0], days[-1]]))} by"
        " `make colab-check KEEP=1`, without an accelerator and with other work beside it, so these are upper bounds.",
        "\n".join([f"| chapter | {head} |", "|---" * (1 + 2 * len(names)) + "|", *rows]),
    ]


def _gb(row: dict[str, str]) -> str:
    return f"{float(row['megabytes']) / 1000:.1f}"


def _copy(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(path, target)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    beside.write_text(text)
    os.replace(beside, path)


def _indent(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.rstrip().splitlines())


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# From the shell


def checked(book: Book, chapters: list[str], names: Iterable[str]) -> Book:
    """Return the book with its parameters made sure of, before anything runs.

    Raises:
        BookError: One sentence, if a chapter, corpus, profile or folder is not known.
    """
    corpus, root, profile = (book.parameters[name] for name in ("corpus", "root", "profile"))
    if unknown := [chapter for chapter in chapters if chapter not in book.chapters()]:
        raise BookError(f"There is no chapter {unknown[0]!r}; there are {', '.join(book.chapters())}.")
    if str(corpus).partition("?")[0] not in names:  # options may follow a name, see `mer_lib.corpora.load`
        raise BookError(f"There is no corpus {corpus!r}; choose CORPUS from {', '.join(names)}.")
    if profile not in PROFILES:
        raise BookError(f"There is no profile {profile!r}; choose PROFILE from {', '.join(PROFILES)}.")
    if root and not Path(str(root)).expanduser().is_dir():
        raise BookError(f"There is no folder {root}; ROOT must be the folder that holds {corpus}.")
    if not root and not planted(book):
        raise BookError(f"{corpus} does not ship with the book; say where your copy is: ROOT=/path/to/it.")
    places = {"root": str(Path(str(root)).expanduser().resolve()) if root else None}
    for name, encoder in given_encoders(book).items():  # chapters run in folders of their own
        folder, _, options = encoder.partition("?")
        place = Path(folder).expanduser()
        places[name] = "?".join([str(place.resolve()), options]).rstrip("?") if place.is_dir() else encoder
    return replace(book, parameters={**book.parameters, **places})


def require_encoder(modality: str, encoder: str) -> None:
    """Make sure of a pretrained encoder before anything runs: it is there, and reads what it is meant to.

    Raises:
        BookError: One sentence, if it cannot be used.
    """
    from mer_lib.features.pretrained import EncoderError, Pretrained, SpeechEncoder, TextEncoder

    try:
        {"audio": SpeechEncoder, "text": TextEncoder}[modality](Pretrained.named(encoder), "cpu")
    except EncoderError as error:
        raise BookError(str(error)) from None


def main(arguments: list[str] | None = None, folder: Path = HERE) -> int:
    """Build the book in a folder; the exit code is 1 if that fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chapters", nargs="*", help="run only these, and compile nothing")
    for name, value in DEFAULTS.items():
        parser.add_argument(f"--{name}", default=value, type=int if isinstance(value, int) else str)
    parser.add_argument("--jobs", type=int, default=3, help="chapters that run at the same time")
    given = parser.parse_args(arguments)
    book = Book(folder, {name: getattr(given, name) or DEFAULTS[name] for name in DEFAULTS})
    start = time.monotonic()
    from mer_lib import corpora
    from mer_lib.corpora.base import CorpusError

    try:
        book = checked(book, given.chapters, corpora.names())
        corpora.asked(str(book.parameters["corpus"]))
        for name, encoder in given_encoders(book).items():
            require_encoder(name, encoder)
        ran = run_all(book, given.chapters or book.chapters(), given.jobs)
        compiled = not given.chapters and compile_pages(book)
    except (BookError, CorpusError) as error:
        _say(str(error))
        return 1
    where = book.build / ("notebooks" if given.chapters else "html/index.html")
    what = (
        f"{ran} chapters run, pages {'compiled' if compiled else 'unchanged'}" if ran or compiled else "nothing changed"
    )
    print(f"{where} ({what}, {time.monotonic() - start:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
