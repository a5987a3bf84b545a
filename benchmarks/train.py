"""Time one training of the full method on the shipped duet-i, on one core.

python benchmarks/train.py
"""

from __future__ import annotations

import json
import sys
import time

import torch

from mer_lib import experiments

MOST = 30
"""Seconds that it may take."""


def main() -> int:
    """Print the seconds as JSON; the exit code is 1 if they are too many."""
    torch.set_num_threads(1)
    (run,) = experiments.grid("duet-i", ["A+T"], folds=[1])
    experiments.prepared(run.corpus, run.fold)  # features are not part of a training
    started = time.process_time()
    trained, _ = experiments.fit(run)
    processor = round(time.process_time() - started, 1)
    epochs = len(trained.history)
    print(json.dumps({"wall": round(trained.seconds, 1), "processor": processor, "epochs": epochs}))
    return int(processor > MOST)


if __name__ == "__main__":
    sys.exit(main())
