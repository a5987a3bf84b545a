"""Duet: synthetic speech in which the truth is planted, so that the best possible score is known.

    corpus = duet.load("duet-i")
    corpus.table.join(corpus.truth)

Nothing here needs the synthesiser; `generate` does. Shown in chapter 02.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from mer_lib import shipped
from mer_lib.cache import cached, digest
from mer_lib.corpora.base import COLUMNS, Corpus, CorpusError
from mer_lib.corpora.duet import archive, words
from mer_lib.corpora.duet.process import PROCESSES, Process

PLANTED = ["kind", "voice", "stressed", "says", "clauses"]
"""Columns of `Corpus.truth`: what the process drew, and the words clause by clause, joined by "|"."""

POOL = 30_000
"""Sentences of the unlabelled pool."""

_WRITERS = ("words.py", "process.py", "lexicon.toml")  # what the pool is made of and by

_SLACK = 0.05  # seconds by which a sound may be shorter than the table says


def names() -> list[str]:
    """Names of the corpora that ship."""
    return list(PROCESSES)


def process(name: str) -> Process:
    """Return what a corpus was drawn from: the probabilities that its ceilings are computed from.

    Raises:
        CorpusError: If there is no such corpus.
    """
    if name not in PROCESSES:
        raise CorpusError(f"Duet has no corpus {name!r}; it has {', '.join(PROCESSES)}.")
    return PROCESSES[name]


def load(name: str, root: str | Path | None = None) -> Corpus:
    """Load a Duet corpus.

    Args:
        name: One of `names()`.
        root: What was given to the generator as `--out`; None for the corpora that ship.

    Returns:
        The corpus, its `truth` with the columns `PLANTED`.

    Raises:
        CorpusError: If the corpus is unknown, or a file of it is missing or damaged.
    """
    process(name)
    folder = _home(root) / name
    if not folder.is_dir():
        raise CorpusError(f"There is no folder {folder}. Give the folder that holds {name} as root.")
    table, (seed, sound) = _table(folder), _facts(folder)
    return Corpus(
        name=name,
        table=table[COLUMNS],
        read=partial(_read, folder),
        unlabelled=partial(_unlabelled, seed),
        truth=table.set_index("id")[PLANTED].rename_axis(None),
        version=sound,
    )


def _home(root: str | Path | None) -> Path:
    try:
        return shipped.folder("duet") if root is None else Path(root)
    except FileNotFoundError as error:
        raise CorpusError(str(error)) from None


def _table(folder: Path) -> pd.DataFrame:
    path = folder / "utterances.csv"
    try:
        table = pd.read_csv(path, keep_default_na=False)
    except FileNotFoundError:
        raise CorpusError(f"{folder} has no utterances.csv. Restore it, or generate the corpus again.") from None
    except (ValueError, UnicodeError) as error:
        raise CorpusError(f"{path} cannot be read as a table ({error}). Restore it.") from None
    if missing := [column for column in COLUMNS + PLANTED if column not in table]:
        raise CorpusError(f"{path} lacks the columns {', '.join(missing)}. Restore it.")
    return table


def _facts(folder: Path) -> tuple[int, str]:
    """Seed and digest of the sound."""
    path = folder / "corpus.json"
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        return int(facts["seed"]), str(facts["sound"])
    except FileNotFoundError:
        raise CorpusError(f"{folder} has no corpus.json. Restore it, or generate the corpus again.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise CorpusError(f"{path} cannot be read ({error!r}). Restore it.") from None


def _read(folder: Path, row: pd.Series) -> np.ndarray:
    session, _, file = row["audio"].partition("/")
    wave = archive.read(folder / session, file)
    seconds, expected = len(wave) / archive.SAMPLE_RATE, row["end"] - row["start"]
    if seconds < expected - _SLACK:
        raise CorpusError(f"{file} in {folder / session} is cut short: {seconds:.2f} of {expected:.2f} s. Restore it.")
    return wave


def _unlabelled(seed: int, sessions: list[str]) -> list[str]:
    """The pool, kept until what writes it changes: every chapter with word vectors asks for it."""
    writers = [Path(__file__).with_name(name).read_text(encoding="utf-8") for name in _WRITERS]
    stored = cached(
        "sentences-duet",
        digest(str(POOL), str(seed), *sessions, *writers),
        lambda: {"text": np.frombuffer("\n".join(words.pool(POOL, seed, sessions)).encode(), dtype=np.uint8)},
    )
    return stored["text"].tobytes().decode().split("\n")
