"""How fast features are made and read, beside librosa one file at a time, and how memory grows with the corpus.

python benchmarks/features.py [--corpus duet-i] [--utterances 60]

Prints throughput (seconds of sound per second, on one core) and ratios as JSON. librosa comes with `pip install
".[bench]"`; without it that part is left out. The pretrained encoder is a small one with random weights: it shows what
the cache does, not how fast a real one is. Memory is measured in processes of their own.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch

from mer_lib import corpora
from mer_lib.corpora.base import SAMPLE_RATE, Corpus
from mer_lib.features import Pretrained, frames, stored
from mer_lib.features.audio import HOP_SECONDS, MELS, corpus_frames

SMALL, LARGE = 100, 1000


def main() -> int:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", default="duet-i")
    parser.add_argument("--utterances", type=int, default=60)
    parser.add_argument("--memory", nargs=3, metavar=("WHAT", "SIZE", "MODEL"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.memory:
        print(memory(*asked.memory))
        return 0
    corpus = corpora.load(asked.corpus)
    corpus = replace(corpus, table=corpus.table.iloc[: asked.utterances])
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MER_LIB_CACHE"] = folder
        encoder = tiny_encoder(Path(folder) / "model")
        found = {"corpus": asked.corpus, "utterances": len(corpus), **speed(corpus, Pretrained(encoder))}
        found["peak_megabytes"] = {what: growth(what, encoder) for what in ("frames", "pretrained")}
    print(json.dumps(found, indent=1))
    return 0


def speed(corpus: Corpus, encoder: Pretrained) -> dict[str, object]:
    """Seconds of sound per second: from waveforms, and from a cold and a filled cache."""
    waves = [corpus.waveform(name) for name in corpus.table["id"]]
    frames(waves[0]), np.fft.rfft(waves[0])  # what is done once only is not counted
    unknown = replace(corpus, version="its pitch does not ship")
    heard = {"yin": waves, "pyin": waves[::10]}  # pYIN takes minutes for all
    ways: dict[str, Callable[[], object]] = {
        "frames": lambda: [frames(wave) for wave in waves],
        "frames_tracked": lambda: corpus_frames(unknown, jobs=1),
        "frames_cold": lambda: corpus_frames(corpus, jobs=1),
        "frames_cached": lambda: corpus_frames(corpus, jobs=1),
        "pretrained_cold": lambda: dict(stored.speech_vectors(corpus, encoder, "cpu")),
        "pretrained_cached": lambda: dict(stored.speech_vectors(corpus, encoder, "cpu")),
    }
    if importlib.util.find_spec("librosa"):
        for tracker in ("yin", "pyin"):
            by_librosa(waves[0], tracker)
            ways[f"librosa_{tracker}"] = partial(lambda kind: [by_librosa(w, kind) for w in heard[kind]], tracker)
    rate = {name: length(heard.get(name[8:], waves)) / seconds(way) for name, way in ways.items()}
    pairs = [(a, b) for a, b in RATIOS if a in rate and b in rate]
    return {
        "seconds_of_sound": round(length(waves), 1),
        "seconds_of_sound_per_second": {name: round(value, 1) for name, value in rate.items()},
        "times_as_fast": {f"{a} / {b}": round(rate[a] / rate[b], 1) for a, b in pairs},
    }


def length(waves: list[np.ndarray]) -> float:
    """Seconds of sound."""
    return sum(len(wave) for wave in waves) / SAMPLE_RATE


RATIOS = [
    ("frames", "librosa_yin"),
    ("frames", "librosa_pyin"),
    ("frames_cold", "frames_tracked"),
    ("frames_cached", "frames_cold"),
    ("pretrained_cached", "pretrained_cold"),
]


def seconds(way: Callable[[], object]) -> float:
    """Processor time where all work is in this process: other programs do not count."""
    started = time.process_time()
    way()
    return max(time.process_time() - started, 1e-6)


def by_librosa(wave: np.ndarray, tracker: str) -> np.ndarray:
    """The like of `frames` with librosa: log-mel, pitch, voicing, loudness; averaged over 100 ms.

    Pitch by pYIN (Mauch & Dixon 2014), which decides what is voiced as Praat does, or by plain YIN (de Cheveigné &
    Kawahara 2002), which does not. librosa has no harmonicity; the melody of the utterance is left out, too.
    """
    import librosa

    hop, window = round(HOP_SECONDS * SAMPLE_RATE), round(0.025 * SAMPLE_RATE)
    power = librosa.feature.melspectrogram(
        y=wave, sr=SAMPLE_RATE, n_fft=512, win_length=window, hop_length=hop, n_mels=MELS, fmin=60, htk=True, norm=None
    )
    limits = {"fmin": 60, "fmax": 500, "sr": SAMPLE_RATE, "hop_length": hop}
    if tracker == "pyin":
        pitch, voiced, _ = librosa.pyin(wave, **limits)
    else:
        pitch, voiced = librosa.yin(wave, **limits), np.ones(power.shape[1])
    loudness = 10 * np.log10(power.sum(axis=0) + 1e-7)
    rows = np.vstack([np.log(power + 1e-7), 12 * np.log2(pitch / 100), voiced, loudness])
    return np.add.reduceat(rows, np.arange(0, rows.shape[1], 10), axis=1).T


def growth(what: str, encoder: str) -> dict[str, float]:
    """Peak memory of a process that makes features of a small corpus and of one ten times as large."""
    found = {}
    for size in (SMALL, LARGE):
        with tempfile.TemporaryDirectory() as cache:
            command = [sys.executable, __file__, "--memory", what, str(size), encoder]
            environment = {**os.environ, "MER_LIB_CACHE": cache, "OMP_NUM_THREADS": "1"}
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
            found[f"{size} utterances"] = float(done.stdout)
    return found


def memory(what: str, size: str, encoder: str) -> float:
    """Peak memory of this process, in MB, after it has made the features of a corpus of noise."""
    corpus = noise(int(size))
    if what == "frames":
        corpus_frames(corpus, jobs=1)
    else:
        for _ in stored.speech_vectors(corpus, Pretrained(encoder, "all"), "cpu").values():
            pass
    status = Path("/proc/self/status")
    if status.exists():  # on Linux `ru_maxrss` begins at what the parent process had
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return round(int(line.split()[1]) / 2**10, 1)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 1)


def noise(size: int) -> Corpus:
    """A corpus of one second of noise each, made when it is read."""
    table = corpora.load("duet-i").table
    table = table.iloc[np.arange(size) % len(table)].assign(id=[f"u{i}" for i in range(size)])
    luck = np.random.default_rng(0)
    return Corpus(f"noise{size}", table, lambda row: 0.1 * luck.standard_normal(SAMPLE_RATE, dtype=np.float32))


def tiny_encoder(folder: Path) -> str:
    """Save a small wav2vec 2.0 with random weights."""
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        hidden_size=64, num_hidden_layers=4, num_attention_heads=4, intermediate_size=128, conv_dim=[32] * 7
    )
    Wav2Vec2Model(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(return_attention_mask=False).save_pretrained(folder)
    return str(folder)


if __name__ == "__main__":
    sys.exit(main())
