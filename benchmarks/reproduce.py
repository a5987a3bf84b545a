"""Train recorded runs again, drawn at random: does a change of the code change a number?

    python benchmarks/reproduce.py before.json            draw runs, one of each system first, and keep what they give
    python benchmarks/reproduce.py before.json --again     train the same ones with today's code, and compare

Scores, decisions, losses and the chosen epoch must be equal to the last digit: on one machine, with one thread, the
same code gives the same numbers. A change of structure must not change them; a change of a system changes its own.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path

import torch

from mer_lib import corpora, experiments, tables

COMPARED = ("wa", "ua", "f1", "ua_plain", "plain", "adjusted", "history", "dev_ua", "epoch", "parameters")


def draw(number: int, seed: int) -> list[list]:
    """Corpus, variant, fold and seed of so many recorded runs: one of every system, then any."""
    record, luck = tables.recorded(), random.Random(seed)
    record = record[record["corpus"].isin(corpora.duet.names())].sample(frac=1, random_state=seed)
    first = record.drop_duplicates("system")
    rest = record.drop(first.index).head(max(0, number - len(first)))
    runs = [*first.head(number).itertuples(), *rest.itertuples()]
    luck.shuffle(runs)
    return [[run.corpus, run.variant, run.fold, run.seed] for run in runs]


def train(corpus: str, variant: str, fold: int, seed: int) -> dict:
    """What a run gives today."""
    (run,) = experiments.grid(corpus, [variant], [fold], [seed])
    row = experiments.execute(run)
    return {name: row[name] for name in COMPARED}


def main() -> int:
    """Draw and train, or train again and compare; 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--runs", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0, help="which runs are drawn")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if not given.again:
        found = []
        for run in draw(given.runs, given.seed):
            found.append([run, train(*run)])
            given.file.write_text(json.dumps(found))
            print(*run, found[-1][1]["ua"], flush=True)
        return 0
    differ = 0
    for run, before in json.loads(given.file.read_text()):
        now = train(*run)
        apart = [name for name in COMPARED if now[name] != before[name]]
        differ += bool(apart)
        print(*run, f"differs in {', '.join(apart)}" if apart else "equal", flush=True)
    print(f"{differ} differ")
    return int(differ > 0)


if __name__ == "__main__":
    sys.exit(main())
