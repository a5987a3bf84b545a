"""Time `make book`: from a fresh copy of the repository, and again when nothing has changed.

python benchmarks/build_book.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
MOST = {"fresh": 600, "set-up alone": 600, "unchanged": 20}
"""Seconds that each may take on two cores."""


def copy(target: Path) -> None:
    """Copy what is, or would be, in git."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=HERE,
        capture_output=True,
        check=True,
    ).stdout
    names = [name for name in listed.split(b"\0") if name and (HERE / os.fsdecode(name)).exists()]
    files = subprocess.run(
        ["tar", "-c", "--null", "-T", "-"], cwd=HERE, input=b"\0".join(names), capture_output=True, check=True
    )
    subprocess.run(["tar", "-x"], cwd=target, input=files.stdout, check=True)


def timed(command: list[str], folder: Path) -> float:
    """Run a command, with a cache that lies in the folder and starts empty; return its seconds."""
    start = time.monotonic()
    own = os.environ | {"MER_LIB_CACHE": str(folder / "_build" / "cache")}
    subprocess.run(command, cwd=folder, check=True, stdout=sys.stderr, env=own)
    return round(time.monotonic() - start, 1)


def main() -> int:
    """Print the seconds as JSON; the exit code is 1 if any is too many."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy(folder)
        seconds = {"set-up alone": timed(["make", ".venv/book"], folder)}
        seconds["fresh"] = round(seconds["set-up alone"] + timed(["make", "book"], folder), 1)
        seconds["unchanged"] = timed(["make", "book"], folder)
        seconds["chapters"] = {
            path.stem: json.loads(path.read_text())["seconds"]
            for path in sorted((folder / "_build" / "notebooks").glob("*.json"))
        }
    print(json.dumps({"cores": os.cpu_count(), **seconds}, indent=1))
    return int(any(seconds[what] > most for what, most in MOST.items()))


if __name__ == "__main__":
    sys.exit(main())
