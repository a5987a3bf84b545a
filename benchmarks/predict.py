"""How to normalise the sound of a file whose speaker nobody knows, on utterances that were held out.

python benchmarks/predict.py [--corpus duet-i] [--fold 1] [--seed 0]

Trains (or reads from the cache) the systems that `python -m mer_lib predict` answers with, and tests them on the
held-out session, each sound normalised by its speaker (what the book's tables do, and a lone file cannot), by itself,
or by all training sounds. Then the same with the heads of L_ua, beside systems that have one modality only.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
import torch

from mer_lib import experiments
from mer_lib.features.audio import corpus_frames, normalise
from mer_lib.features.batches import Utterances, pair, prepare
from mer_lib.metrics import scores
from mer_lib.training import Trained, predict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", default="duet-i")
    parser.add_argument("--fold", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    corpus = experiments._corpus(asked.corpus, None)
    frames = corpus_frames(corpus)
    fold = corpus.fold(asked.fold)
    rows = []
    for variant in ("A", "A+T"):
        (run,) = experiments.grid(asked.corpus, [variant], [asked.fold], [asked.seed])
        result, data = experiments.trained(run)
        by_file = prepare(corpus, fold, normalise_by="id")
        alone = experiments.fit_on(run, by_file)  # a system that never saw another way
        for name, sounds in sounds_of(frames, corpus.table, fold).items():
            test = with_audio(data.test, sounds)
            rows.append([variant, "speaker", name, *scored(result, test)])
        rows.append([variant, "file", "file", *scored(alone, by_file.test)])
    columns = ["variant", "trained, normalised by", "tested, normalised by", "WA", "UA"]
    print(pd.DataFrame(rows, columns=columns).round(1).to_string(index=False))

    said = {m: [] for m in ("audio", "text")}
    for batch in data.test.batches(128):
        with torch.no_grad():
            for m, logits in result.system(batch).unimodal.items():
                said[m].append(logits.numpy())
    rows = [[f"head of {m}", *two(np.concatenate(said[m]), data.test, result.prior)] for m in said]
    for variant in ("A", "T"):
        (run,) = experiments.grid(asked.corpus, [variant], [asked.fold], [asked.seed])
        result, data = experiments.trained(run)
        rows.append([f"variant {variant}", *scored(result, data.test)])
    print(pd.DataFrame(rows, columns=["who answers for one modality", "WA", "UA"]).round(1).to_string(index=False))


def sounds_of(frames: dict, table: pd.DataFrame, fold: experiments.Corpus) -> dict[str, dict[str, np.ndarray]]:
    """Name of a normalisation to the steps of every test utterance."""
    test = {name: frames[name] for name in fold.test}
    everybody = {name: frames[name] for name in [*fold.train, *fold.test]}
    train = np.concatenate([frames[name] for name in fold.train]).astype(float)
    mean, deviation = np.nanmean(train, axis=0), np.nanstd(train, axis=0)
    found = {
        "speaker": normalise(everybody, table["speaker"].to_dict()),
        "file": normalise(test, {name: name for name in test}),
        "corpus": {
            n: np.nan_to_num((x - mean) / np.maximum(deviation, 1e-5)).astype(np.float32) for n, x in test.items()
        },
    }
    return {name: {i: pair(sounds[i]) for i in fold.test} for name, sounds in found.items()}


def with_audio(part: Utterances, sounds: dict[str, np.ndarray]) -> Utterances:
    """The same utterances with other sounds."""
    texts, spans = [x.numpy() for x in part.text], [x.numpy() for x in part.spans]
    return Utterances(
        part.ids,
        [sounds[i] for i in part.ids],
        texts,
        spans,
        part.labels.tolist(),
        part.places.numpy(),
        emotions=part.emotions,
    )


def scored(result: Trained, part: Utterances) -> tuple[float, float]:
    """WA and UA."""
    return two(predict(result.system, part), part, result.prior)


def two(logits: np.ndarray, part: Utterances, prior: np.ndarray) -> tuple[float, float]:
    """WA and UA."""
    found = scores(logits, part.labels.numpy(), prior, part.emotions)
    return found["wa"], found["ua"]


if __name__ == "__main__":
    main()
