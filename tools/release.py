"""Check that everything that a release says agrees, build its wheel, and print the steps of publishing it.

    python tools/release.py        from a shell: `make release`

What readers install in Colab is the wheel of the release, under an address that every chapter holds; a wrong one shows
only when it is too late. So each place that names the version or an address is held against the one that decides.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import nbformat
import yaml

import notebooks


def disagreements() -> list[str]:
    """Say in sentences which files name another version or address than pyproject.toml and the package."""
    root, found = notebooks.ROOT, []
    config, cited = (yaml.safe_load((root / name).read_text()) for name in ("_config.yml", "CITATION.cff"))
    decided = {
        "_config.yml, repository url": (config["repository"]["url"], notebooks.repository()),
        "_config.yml, branch": (config["repository"]["branch"], notebooks.tag()),
        "_config.yml, baseurl": (config["html"]["baseurl"], notebooks.book()),
        "CITATION.cff, repository-code": (cited["repository-code"], notebooks.repository()),
        "CITATION.cff, version": (str(cited["version"]), notebooks.version()),
    }
    found += [f"{where} is {says}, not {should}." for where, (says, should) in decided.items() if says != should]
    install = notebooks.frame()[0].source
    for path in notebooks.chapters():
        cells = nbformat.read(path, as_version=4).cells
        if notebooks.colab(path.stem) not in cells[0].source:
            found.append(f"{path.name} has no badge that opens {notebooks.tag()} of this repository in Colab.")
        if cells[1].source != install:
            found.append(f"{path.name} installs something else than {notebooks.wheel()}.")
    if f"git clone {notebooks.repository()}" not in (root / "README.md").read_text():
        found.append(f"README.md does not clone {notebooks.repository()}.")
    here = f"{notebooks.repository()}/blob/{notebooks.tag()}/"
    for path in [*root.glob("*.md"), *notebooks.chapters()]:
        links = re.findall(
            r"https://github\.com/[^/\s]+/[^/\s]+/blob/[^/\s]+/(?=data/)", path.read_text(encoding="utf-8")
        )
        found += [f"{path.name} links to files under {link}, not {here}." for link in sorted(set(links) - {here})]
    return found


def git(*arguments: str) -> str:
    """What git says; nothing where it fails."""
    command = ["git", *arguments]
    return subprocess.run(command, cwd=notebooks.ROOT, capture_output=True, text=True, check=False).stdout.strip()


def unready() -> list[str]:
    """Say what of the checkout is not what a tag would hold."""
    found = []
    if git("status", "--porcelain"):
        found.append("There are changes that are not committed; a tag would not hold them.")
    at = git("rev-list", "-n", "1", notebooks.tag())
    if at and at != git("rev-parse", "HEAD"):
        found.append(f"The tag {notebooks.tag()} stands at another commit. Raise __version__ in mer_lib/__init__.py.")
    return found


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """Why a program failed: of a traceback its last line says it."""
    return ((done.stderr or done.stdout).strip().splitlines() or ["it said nothing"])[-1].strip()


def wheel(folder: Path) -> Path:
    """Build the wheel into a folder, in place of older ones.

    Raises:
        RuntimeError: If it cannot be built, is not called what the chapters install, or lacks the package or its data.
    """
    for old in folder.glob("mer_lib-*.whl"):  # yesterday's would be taken for today's
        old.unlink()
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    done = subprocess.run(command, cwd=notebooks.ROOT, capture_output=True, text=True, check=False)
    built = sorted(folder.glob("*.whl"))
    if done.returncode or not built:
        raise RuntimeError(f"The wheel cannot be built: {last_line(done)}")
    wanted = notebooks.wheel().rpartition("/")[2]
    if built[0].name != wanted:
        raise RuntimeError(f"The wheel is called {built[0].name}; the chapters install {wanted}.")
    inside = set(zipfile.ZipFile(built[0]).namelist())
    for name in ("mer_lib/__init__.py", "mer_lib/data/duet/duet-i/utterances.csv", "mer_lib/data/results/duet-i.csv"):
        if name not in inside:
            raise RuntimeError(f"The wheel lacks {name}.")
    return built[0]


def imports(path: Path) -> str:
    """The version that a wheel says when it is imported from an empty folder, beside the packages that are here."""
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(path).extractall(folder)
        code = "import mer_lib, mer_lib.corpora as c; c.load('duet-i'); print(mer_lib.__version__, mer_lib.__file__)"
        command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {folder!r}); {code}"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        said, _, where = done.stdout.strip().partition(" ")
        if done.returncode or not where.startswith(folder):
            raise RuntimeError(f"The wheel cannot be imported: {last_line(done)}")
        return said


STEPS = """\
{tag} is ready. To publish it:
  1. make test && make book
  2. git tag {tag} && git push origin main {tag}
  3. make a release from the tag at {repository}/releases/new and attach
     {wheel}
  4. put _build/html on {book} (GitHub Pages: the branch gh-pages)
  5. open {colab} and run its first cell: it must say mer_lib {version}"""


def main() -> int:
    """Check, build, and say what to do; the exit code is 1 where something disagrees."""
    problems = [*disagreements(), *unready()]
    folder = notebooks.ROOT / "dist"
    try:
        built = wheel(folder)
        if (said := imports(built)) != notebooks.version():
            problems.append(f"The wheel says that it is {said}, not {notebooks.version()}.")
    except RuntimeError as error:
        problems.append(str(error))
    if problems:
        print(
            "\n".join([*problems, "Nothing is published. `make format` brings addresses into line."]), file=sys.stderr
        )
        return 1
    facts = {name: getattr(notebooks, name)() for name in ("tag", "version", "repository", "book")}
    first = notebooks.chapters()[0].stem
    print(STEPS.format(**facts, wheel=built.relative_to(notebooks.ROOT), colab=notebooks.colab(first)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
