"""How long it takes to import what needs no torch, each in a fresh process: median of five, in seconds.

python benchmarks/imports.py
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

MODULES = ("corpora", "metrics", "ceilings", "audit", "plots", "experiments", "features.pretrained")


def main() -> None:
    """Measure and print."""
    found = {name: statistics.median(seconds(f"mer_lib.{name}") for _ in range(5)) for name in MODULES}
    print(json.dumps(found, indent=1))


def seconds(module: str) -> float:
    """Processor time of a process that only imports a module."""
    code = f"import time, {module}; print(time.process_time())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return round(float(done.stdout), 2)


if __name__ == "__main__":
    main()
