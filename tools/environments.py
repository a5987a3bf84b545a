"""Try the package and every chapter in other people's environments: Colab's, and the oldest that pyproject.toml admits.

    python tools/environments.py make colab --python python3.12       an environment of its own, with the book's wheel
    python tools/environments.py test colab                           the fast tests in it
    python tools/environments.py chapters colab [01 11 ...]           notebooks, each alone

A chapter runs as it would after "Open in Colab": in an empty folder, with an empty home and cache, with the wheel and
not the checkout, and without a network. With `--keep`, what it took goes to `benchmarks/alone.csv`, a row for each
environment and chapter.
The versions are those of `tests/environments/<name>.txt`.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

import notebooks
import release

ALONE = notebooks.ROOT / "benchmarks" / "alone.csv"
COLUMNS = ["environment", "chapter", "seconds", "megabytes", "failed", "date", "python", "cores"]

# Runs in the environment itself, which knows nothing of the checkout. Memory is that of the kernel and what it started.
RUNNER = """
import json, sys, threading, time
import nbclient, nbformat, psutil
from nbclient.exceptions import CellExecutionError, DeadKernelError

notebook, peak, ended = nbformat.read(sys.argv[1], 4), 0, threading.Event()

def watch():
    global peak
    me = psutil.Process()
    while not ended.wait(0.2):
        used = 0
        for process in me.children(recursive=True):
            try:
                used += process.memory_info().rss
            except psutil.Error:
                pass
        peak = max(peak, used)

threading.Thread(target=watch, daemon=True).start()
started, failed = time.monotonic(), ""
client = nbclient.NotebookClient(notebook, timeout=1200, kernel_name="python3")
client.kernel_manager_class.transport = "ipc"  # without a network there is no loopback either
try:
    client.execute()
except (CellExecutionError, DeadKernelError) as error:
    failed = " ".join(str(error).strip().splitlines()[-1:])[:300] or type(error).__name__
ended.set()
stray = [o.text for c in notebook.cells for o in c.get("outputs", []) if o.get("name") == "stderr"]
print(json.dumps({
    "seconds": round(time.monotonic() - started, 1), "megabytes": round(peak / 2**20), "failed": failed,
    "stderr": "".join(stray)[:2000], "python": sys.version.split()[0],
}))
"""


def home(name: str) -> Path:
    """Folder of an environment."""
    return notebooks.ROOT / "_build" / "environments" / name


def python(name: str) -> Path:
    """Its Python."""
    return home(name) / "bin" / "python"


def versions(name: str) -> Path:
    """The file that pins it.

    Raises:
        SystemExit: If there is none of that name.
    """
    path = notebooks.ROOT / "tests" / "environments" / f"{name}.txt"
    if not path.is_file():
        known = ", ".join(sorted(found.stem for found in path.parent.glob("*.txt")))
        sys.exit(f"There is no environment {name!r}; there are {known}.")
    return path


def make(name: str, interpreter: str) -> None:
    """Make an environment, unless it is there with these versions, and put today's wheel into it.

    Raises:
        SystemExit: If there is no such Python.
    """
    pins, stamp = versions(name), home(name) / "made_from.txt"
    if not shutil.which(interpreter):
        sys.exit(f"There is no {interpreter} here; say which Python to use: --python /path/to/python")
    asked = subprocess.run([interpreter, "--version"], capture_output=True, text=True, check=True).stdout
    if not (stamp.is_file() and stamp.read_text() == asked + pins.read_text()):
        shutil.rmtree(home(name), ignore_errors=True)
        subprocess.run([interpreter, "-m", "venv", str(home(name))], check=True)
        for what in (["--upgrade", "pip"], ["--requirement", str(pins)]):
            _pip(name, *what)
        stamp.write_text(asked + pins.read_text())
    with tempfile.TemporaryDirectory() as folder:
        _pip(name, "--no-deps", "--force-reinstall", str(release.wheel(Path(folder))))


def _pip(name: str, *what: str) -> None:
    quiet = ["--quiet", "--disable-pip-version-check", "--no-compile"]
    subprocess.run([str(python(name)), "-m", "pip", "install", *quiet, *what], check=True)


def test(name: str) -> int:
    """Run the checkout's fast tests with an environment's versions; warnings of other versions are not ours."""
    command = [str(python(name)), "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.call([*command, "-o", "filterwarnings="], cwd=notebooks.ROOT, env=environment)


def alone(name: str, chapter: Path) -> dict:
    """Run one notebook alone, and say what it took."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "home").mkdir()
        copy = Path(shutil.copy(chapter, place))
        kept = {key: value for key, value in os.environ.items() if key in ("PATH", "LANG", "LC_ALL", "TMPDIR")}
        environment = kept | {"HOME": str(place / "home"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
        command = [*without_network(), str(python(name)), "-c", RUNNER, str(copy)]
        done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    try:
        return json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        reason = (done.stderr or done.stdout).strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        return {"seconds": None, "megabytes": None, "failed": reason[0], "stderr": "", "python": ""}


def without_network() -> list[str]:
    """What to put in front of a command so that it has no network; nothing where the system cannot do that."""
    command = ["unshare", "--map-root-user", "--net"]
    if not shutil.which(command[0]) or subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        print("This system cannot take the network away; chapters run with it.", file=sys.stderr)
        return []
    return command


def chapters(name: str, wanted: list[str], keep: bool) -> int:
    """Run chapters alone, perhaps keep what they took, and say how each went; the exit code is 1 if one failed."""
    files = [path for path in notebooks.chapters() if not wanted or path.stem[:2] in wanted or path.stem in wanted]
    if not files:
        sys.exit(f"There is no chapter {' or '.join(wanted)}; name them by number, such as 01, or as a whole.")
    if keep and not without_network():
        sys.exit("What chapters take is kept only where they ran without a network.")
    failed = 0
    for path in files:
        found = alone(name, path)
        problem = found["failed"] or (found["stderr"] and f"wrote on stderr: {found['stderr'].strip()[:300]}")
        failed += bool(problem)
        print(f"{path.stem}: {found['seconds']} s, {found['megabytes']} MB {problem}".rstrip(), flush=True)
        today = {"date": datetime.date.today().isoformat(), "cores": os.cpu_count()}
        row = {"environment": name, "chapter": path.stem, **found, "failed": problem, **today}
        if keep:
            _keep(pd.DataFrame([row])[COLUMNS])
    print(f"{len(files) - failed} of {len(files)} chapters ran alone in {name}.")
    return int(failed > 0)


def _keep(rows: pd.DataFrame) -> None:
    before = pd.read_csv(ALONE, dtype={"failed": str}) if ALONE.is_file() else pd.DataFrame(columns=COLUMNS)
    together = pd.concat([before, rows]) if len(before) else rows
    together = together.drop_duplicates(["environment", "chapter"], keep="last").sort_values(["environment", "chapter"])
    beside = ALONE.with_suffix(".part")
    together.to_csv(beside, index=False)
    os.replace(beside, ALONE)


def main(arguments: list[str] | None = None) -> int:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["make", "test", "chapters"])
    parser.add_argument("environment", help="a name in tests/environments")
    parser.add_argument("chapters", nargs="*", help="numbers or names; default: all")
    parser.add_argument("--python", default="python3.12", help="what the environment is made with")
    parser.add_argument("--keep", action="store_true", help="keep what chapters took in benchmarks/alone.csv")
    given = parser.parse_args(arguments)
    versions(given.environment)
    if given.command == "make":
        make(given.environment, given.python)
        return 0
    if not python(given.environment).is_file():
        sys.exit(f"There is no environment {given.environment} yet; make it first.")
    return (
        test(given.environment) if given.command == "test" else chapters(given.environment, given.chapters, given.keep)
    )


if __name__ == "__main__":
    sys.exit(main())
