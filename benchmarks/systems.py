"""Time one epoch of every row of the tables, in turn and in one process, so that their costs compare.

python benchmarks/systems.py [--corpus duet-i] [--repeats 3] [--out data/results/speed.csv]

The seconds that a sweep keeps are those of its day: other work on the machine can double them. Here each row is trained
for an epoch (dev included) on one core, all rows one after the other, then all again; the fastest of its turns counts.
`mer_lib.tables.recorded` multiplies it by the epochs that a recorded run took.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from mer_lib import experiments
from mer_lib.corpora import duet


def main() -> int:
    """Measure, and write one row per corpus and variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", action="append", choices=duet.names(), help="default: all that ship")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("data/results/speed.csv"))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for corpus in asked.corpus or duet.names():
        runs = experiments.grid(corpus, list(experiments.VARIANTS), [1])
        turns = [[epoch(run) for run in runs] for _ in range(asked.repeats)]
        rows += [
            {"corpus": corpus, "variant": run.variant, "seconds_per_epoch": min(seconds)}
            for run, seconds in zip(runs, zip(*turns, strict=True), strict=True)
        ]
        print(corpus, file=sys.stderr)
    experiments.keep_results(pd.DataFrame(rows), asked.out, ["corpus", "variant"])
    return 0


def epoch(run: experiments.Run) -> float:
    """Seconds of processor time that one epoch takes, dev included."""
    data = experiments.prepared(run.corpus, run.fold)  # features are not part of it
    started = time.process_time()
    experiments.fit_on(replace(run, training=replace(run.training, epochs=1)), data)
    return time.process_time() - started


if __name__ == "__main__":
    sys.exit(main())
