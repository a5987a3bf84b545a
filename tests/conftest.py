"""A tiny corpus that every test can afford: short pulse trains and texts, separable by class."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

os.environ["MPLBACKEND"] = "Agg"
os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports the hub's client

import numpy as np
import pandas as pd
import pytest
import torch

from mer_lib.corpora.base import EMOTIONS, SAMPLE_RATE, Corpus
from mer_lib.features.batches import Prepared, prepare

HERTZ = {"happy": 220, "sad": 110, "neutral": 150, "angry": 300}
LEVEL = {"happy": 0.2, "sad": 0.03, "neutral": 0.08, "angry": 0.6}
OPENINGS = ("well", "so", "you know", "listen")
WORDS = {
    "happy": ("what a lovely day", "this is lovely news"),
    "sad": ("i miss him badly", "she cried and i miss her"),
    "neutral": ("the bus stops here", "the shop is near the bus"),
    "angry": ("leave me alone now", "stop it and leave me"),
}


def pulses(hertz: float, seconds: float = 0.5, level: float = 0.3, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """A voice-like sound: all harmonics of `hertz` up to 4 kHz, weaker as they rise, of root mean square `level`."""
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    wave = sum(np.cos(2 * np.pi * hertz * k * time) / k for k in range(1, int(4000 // hertz) + 1))
    return (level * wave / np.sqrt(np.mean(wave**2))).astype(np.float32)


def make_corpus(sessions: int = 4, each: int = 2, seed: int = 0) -> Corpus:
    """`sessions` sessions of two speakers, who say `each` utterances per emotion."""
    rng = np.random.default_rng(seed)
    rows = []
    for session in range(1, sessions + 1):
        for turn in range(2 * each * len(EMOTIONS)):
            emotion = EMOTIONS[turn % len(EMOTIONS)]
            opening = OPENINGS[rng.integers(len(OPENINGS))]
            rows.append({
                "id": f"S{session}-{turn:02d}",
                "text": f"{opening.capitalize()}, {WORDS[emotion][rng.integers(2)]}.",
                "emotion": emotion,
                "speaker": f"S{session}{'FM'[turn // len(EMOTIONS) % 2]}",
                "session": f"S{session}",
                "dialogue": f"S{session}-d",
                "turn": turn,
                "scenario": f"scene{turn % 3}",
                "start": float(turn),
                "end": float(turn) + 0.5,
                "audio": f"S{session}.zip/{turn:02d}",
            })  # fmt: skip

    def read(row: pd.Series) -> np.ndarray:
        luck = np.random.default_rng(int(row["turn"]) + 100 * int(row["session"][1:]))
        hertz = HERTZ[row["emotion"]] * luck.uniform(0.95, 1.05) * (1.1 if row["speaker"].endswith("F") else 1.0)
        return pulses(hertz, luck.uniform(0.3, 0.6), LEVEL[row["emotion"]])

    return Corpus("tiny", pd.DataFrame(rows), read, version=f"{sessions} {each} {seed}")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the reader's cache out of the tests, and the tests on one core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MER_LIB_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("LOKY_MAX_CPU_COUNT", "1")
        yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection that leaves this machine; a cluster's workers on it may still meet.

    A datagram socket that connects sends nothing: that is how a program asks for the machine's own address.
    """
    connect = socket.socket.connect

    def only_here(self: socket.socket, address: object) -> None:
        host = address[0] if isinstance(address, tuple) else "localhost"  # a path names a socket of this machine
        here = host == "localhost" or host in ("127.0.0.1", "::1")
        assert here or self.type == socket.SOCK_DGRAM, f"A test reached for the network: {host}."
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", only_here)


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    """64 utterances: 4 sessions, 2 speakers each, 2 utterances per speaker and emotion."""
    return make_corpus()


@pytest.fixture(scope="session")
def data(corpus: Corpus, _own_cache: None) -> Prepared:
    """The first fold of the tiny corpus: 32 utterances to train on, 16 to choose by, 16 to test on."""
    return prepare(corpus, corpus.fold(1))


@pytest.fixture
def cache(tmp_path, monkeypatch: pytest.MonkeyPatch):
    """An empty cache folder for one test."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("MER_LIB_CACHE", str(folder))
    return folder


@pytest.fixture
def copy(tree: Path, tmp_path: Path) -> Path:
    """A copy of the module's tree of a released corpus, to be damaged."""
    return shutil.copytree(tree, tmp_path / "copy")
