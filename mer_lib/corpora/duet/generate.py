"""Make a Duet corpus: draw the cues, write the words, speak them, store them.

    python -m mer_lib.corpora.duet.generate --corpus duet-i --size 1800 --seed 0 --out data/duet

The same seed gives the same cues and words everywhere, and the same sound with the same versions of eSpeak NG,
NumPy, SciPy and libsndfile on the same kind of machine. Shown in chapter 02.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from joblib import Parallel, delayed
from tqdm import tqdm

from mer_lib.corpora.base import COLUMNS, SAMPLE_RATE
from mer_lib.corpora.duet import PLANTED, archive, speech, words
from mer_lib.corpora.duet.acoustics import render
from mer_lib.corpora.duet.process import PROCESSES, Process, generator


def script(process: Process, size: int, seed: int) -> pd.DataFrame:
    """Draw the cues of a corpus and write its words, without sound.

    Args:
        process: What to draw from.
        size: Number of utterances.
        seed: Another seed draws another corpus.

    Returns:
        What `Process.draw` returns, with `text` and `clauses` (the clauses joined by "|").
    """
    table = process.draw(size, seed)
    rows = table[["id", "says", "session", "scenario"]].itertuples(index=False)
    written = [words.write(says, session, scene, generator(seed, "words", name)) for name, says, session, scene in rows]
    return table.assign(text=[" ".join(clauses) for clauses in written], clauses=["|".join(c) for c in written])


def speak(row: dict, process: Process, seed: int) -> np.ndarray:
    """Speak one row of a script: float32, shape (samples,), at 16,000 Hz. Other rows make no difference."""
    rng = generator(seed, "voice", row["id"])
    clauses = row["clauses"].split("|")
    return render(clauses, row["voice"], row["stressed"], row["speaker"], rng, process.stress, process.noise)


def schedule(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Place the turns of each dialogue in time: most after a short gap, some before the last one ends.

    Args:
        table: With `duration` in seconds, turns in order.
        seed: Draws the gaps.

    Returns:
        The table with `start` and `end`, in seconds from the start of the dialogue, in place of `duration`.
    """
    starts = []
    for dialogue, durations in table.groupby("dialogue", sort=False)["duration"]:
        rng = generator(seed, "gaps", str(dialogue))
        gaps = [0.0] + [-0.3 + 1.2 * rng.random() for _ in durations.index[1:]]
        starts.append(durations.cumsum().shift(fill_value=0.0) + np.cumsum(gaps))
    start = pd.concat(starts).round(2)
    return table.assign(start=start, end=(start + table["duration"]).round(2)).drop(columns="duration")


def generate(process: Process, size: int, seed: int, out: str | Path, jobs: int = 2) -> Path:
    """Make a corpus and write it to the folder `out / process.name`.

    Args:
        process: What to draw from; with other knobs than the shipped ones, give it another name.
        size: Number of utterances.
        seed: Another seed draws another corpus.
        out: Folder of corpora: the `root` that `duet.load` takes.
        jobs: Processes that work at the same time; their number changes nothing in the corpus.

    Returns:
        The folder: `utterances.csv`, `corpus.json`, and a zip of Ogg Opus files per session.
    """
    table = script(process, size, seed)
    work = (delayed(_sound)(row, process, seed) for row in table.to_dict("records"))
    made = Parallel(n_jobs=jobs, return_as="generator")(work)
    sounds, durations = zip(*tqdm(made, total=size, desc=process.name, file=sys.stderr), strict=True)
    table = schedule(table.assign(duration=durations), seed)
    table["audio"] = table["session"] + ".zip/" + table["id"] + ".opus"
    folder = Path(out) / process.name
    folder.mkdir(parents=True, exist_ok=True)
    for session, rows in table.groupby("session"):
        archive.pack(folder / f"{session}.zip", [(f"{table.at[i, 'id']}.opus", sounds[i]) for i in rows.index])
    _write(folder / "utterances.csv", table[COLUMNS + PLANTED].to_csv(index=False, lineterminator="\n"))
    facts = {
        "process": asdict(process),
        "size": size,
        "seed": seed,
        "synthesiser": f"eSpeak NG {speech.version()}",
        "encoder": soundfile.__libsndfile_version__,
        "sound": hashlib.sha256(b"".join(sounds)).hexdigest(),
    }
    _write(folder / "corpus.json", json.dumps(facts, indent=2) + "\n")
    return folder


def _sound(row: dict, process: Process, seed: int) -> tuple[bytes, float]:
    """Opus file and duration in seconds of one row."""
    wave = speak(row, process, seed)
    return archive.encode(wave), len(wave) / SAMPLE_RATE


def _write(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m mer_lib.corpora.duet.generate", description="Make a Duet corpus.")
    parser.add_argument("--corpus", choices=PROCESSES, required=True)
    parser.add_argument("--size", type=int, default=1800, help="number of utterances")
    parser.add_argument("--seed", type=int, default=0, help="another seed draws another corpus")
    parser.add_argument("--out", type=Path, required=True, help="folder of corpora")
    parser.add_argument("--jobs", type=int, default=2, help="processes at the same time")
    asked = parser.parse_args()
    try:
        print(generate(PROCESSES[asked.corpus], asked.size, asked.seed, asked.out, asked.jobs))
    except (speech.SpeechError, ValueError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
