"""The one face that every corpus shows, whatever its released format."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd

from mer_lib.errors import during

EMOTIONS = ("happy", "sad", "neutral", "angry")
"""The classes of a corpus that does not name others, in the order of the deck's Table 3."""

SAMPLE_RATE = 16_000

COLUMNS = [
    "id", "text", "emotion", "speaker", "session", "dialogue", "turn", "scenario", "start", "end", "audio",
]  # fmt: skip


class CorpusError(ValueError):
    """A corpus that cannot be read; the message says what is wrong, where, and what to do."""

    def __str__(self) -> str:
        return super().__str__().encode("utf-8", "backslashreplace").decode()  # names of files may hold any byte


class Fold(NamedTuple):
    """Utterance ids of one split. No speaker of `test` speaks in `train` or `dev`, save in an official split."""

    name: str
    train: list[str]
    dev: list[str]
    test: list[str]


def label_set(name: str, labels: int | str, known: Mapping[int, Mapping[str, str]], more: str = "") -> dict[str, str]:
    """Return one of the sets of classes that a corpus can be loaded with.

    Args:
        name: Name of the corpus.
        labels: How many classes, as a number or in digits.
        known: Number of classes to each set: label in the release to class. Labels that a set lacks are left out.
        more: What else there is, for the error.

    Raises:
        CorpusError: If the corpus has no such set; the message names those it has.
    """
    for number, classes in known.items():
        if str(labels) == str(number):
            return dict(classes)
    raise CorpusError(f"{name} has no labels={labels}; it has {choices(known)}{more}.")


def choices(known: Mapping[int, Mapping[str, str]]) -> str:
    """Say which sets of classes there are, as one asks for them."""
    return " and ".join(f"labels={n} ({', '.join(dict.fromkeys(known[n].values()))})" for n in known)


def none_of(classes: Mapping[str, str], label: str) -> str:
    """Say why an utterance is left out whose label is none of the classes."""
    return f"is labelled {label}, none of the {in_words(len(set(classes.values())))} classes"


def in_words(number: int) -> str:
    """A number from 1 to 9 as a word, such as "six"; any other one in digits."""
    words = "one two three four five six seven eight nine".split()
    return dict(enumerate(words, start=1)).get(number, str(number))


@dataclass
class Corpus:
    """A corpus of spoken, transcribed and labelled utterances.

    Attributes:
        name: The name that `mer_lib.corpora.load` knows it by.
        table: One row per utterance, with the columns `COLUMNS`.
        read: Reads the sound of one row: float32, mono, `sample_rate` Hz.
        skipped: What was left out: columns `what`, `where`, `why`.
        repaired: What was mended in the texts: columns `how`, `where` (a file), `times`.
        unlabelled: Given session names, returns sentences without labels that those sessions may be
            pretrained on; None where a corpus has no such pool.
        truth: What was planted, one row per utterance indexed by id; None where nobody knows it.
        version: Changes whenever the sound behind the table does.
        official: Sessions of "train", "dev" and "test" where a corpus comes with a split: its one fold.
        emotions: The classes, in the order in which systems number them and tables show them.
        fallible: Whether single sounds may turn out unusable: `features.check_audio` then looks at all of them, and
            leaves those out, before features are made. Elsewhere such a sound is an error.
    """

    name: str
    table: pd.DataFrame
    read: Callable[[pd.Series], np.ndarray]
    skipped: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["what", "where", "why"]))
    repaired: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["how", "where", "times"]))
    unlabelled: Callable[[list[str]], list[str]] | None = None
    truth: pd.DataFrame | None = None
    version: str = ""
    official: dict[str, list[str]] | None = None
    emotions: tuple[str, ...] = EMOTIONS
    fallible: bool = False
    sample_rate: int = SAMPLE_RATE

    def __post_init__(self) -> None:
        missing = [column for column in COLUMNS if column not in self.table]
        if missing:
            raise CorpusError(f"The table of {self.name} lacks the columns {missing}.")
        if self.table.empty:
            raise CorpusError(f"{self.name} holds no utterance. Look at the folder that was given as root.")
        twice = self.table["id"][self.table["id"].duplicated()].tolist()
        if twice:
            raise CorpusError(
                f"{self.name} lists the id {twice[0]!r} {twice.count(twice[0]) + 1} times; ids must differ."
            )
        unknown = sorted(set(self.table["emotion"]) - set(self.emotions))
        if unknown:
            raise CorpusError(f"{self.name} has the unknown emotions {unknown}; known are {list(self.emotions)}.")
        self.table = self.table.set_index("id", drop=False).rename_axis(None)

    def __len__(self) -> int:
        return len(self.table)

    def waveform(self, utterance: str) -> np.ndarray:
        """Read the sound of one utterance.

        Args:
            utterance: An id of `table`.

        Returns:
            float32, shape (samples,), mono, at `sample_rate` Hz.

        Raises:
            CorpusError: If the id is unknown, or its sound is missing, cut short, empty or not finite.
        """
        if utterance not in self.table.index:
            raise CorpusError(f"{self.name} has no utterance {utterance!r}. Ids look like {self.table.index[0]!r}.")
        row = self.table.loc[utterance]
        with during(f"reading the sound of {utterance} in {row['audio']}"):
            wave = self.read(row)
        if wave.size == 0 or not np.isfinite(wave).all():
            raise CorpusError(f"The sound of {utterance} in {row['audio']} is empty or not finite. Restore that file.")
        return wave

    def fingerprint(self) -> str:
        """Return a text that changes when the sound does: what features are cached under."""
        rows = self.table[["id", "audio"]].to_csv(index=False)
        return hashlib.sha256(f"{self.name} {self.version} {self.sample_rate} {rows}".encode()).hexdigest()

    def content(self) -> str:
        """Return a text that changes when the table or the split does: labels, texts, speakers, turns."""
        rows = self.table[list(COLUMNS)].to_csv(index=False)
        others = "" if self.emotions == EMOTIONS else f" {self.emotions}"  # the four were once the only ones
        return hashlib.sha256(f"{rows} {self.official}{others}".encode()).hexdigest()

    def folds(self, by: str = "session") -> list[Fold]:
        """Leave one session out: test on it, choose on the next one, train on the others.

        Where the corpus comes with an official split, that is the one fold, and speakers may occur in two parts.

        Args:
            by: "session", or "scenario" to part the scenarios, too: the test keeps the utterances of one half of them,
                train and dev those of the other. All three parts are smaller then.

        Returns:
            One fold per session, named after it. Speakers belong to one session, so folds are speaker-disjoint.

        Raises:
            CorpusError: If `by` is unknown, there are fewer than three sessions, or a speaker is in two of them.
        """
        if by not in ("session", "scenario"):
            raise CorpusError(f"There are no folds by {by!r}; choose 'session' or 'scenario'.")
        folds = []
        for number, parts in enumerate(self._splits()):
            rows = {part: self.table[self.table["session"].isin(which)] for part, which in parts.items()}
            if by == "scenario":
                rows = _without_shared_scenarios(rows, number)
            ids = (rows[part]["id"].tolist() for part in ("train", "dev", "test"))
            folds.append(Fold(" ".join(map(str, parts["test"])), *ids))
        return folds

    def _splits(self) -> list[dict[str, list[str]]]:
        """Sessions of train, dev and test in each fold."""
        if self.official is not None:
            return [self.official]
        sessions = sorted(self.table["session"].unique())
        if len(sessions) < 3:
            raise CorpusError(f"{self.name} has {len(sessions)} sessions; train, dev and test need three.")
        heard = self.table.groupby("speaker")["session"].nunique()
        if heard.max() > 1:
            raise CorpusError(
                f"In {self.name} {heard.idxmax()} speaks in {heard.max()} sessions, so folds would share a speaker. "
                "Give each speaker one session, or the corpus an official split."
            )
        splits = []
        for number, held_out in enumerate(sessions):
            dev = sessions[(number + 1) % len(sessions)]
            train = [session for session in sessions if session not in (held_out, dev)]
            splits.append({"train": train, "dev": [dev], "test": [held_out]})
        return splits

    def fold_number(self, name: str | int) -> int:
        """Return the number of a fold, from 1, given that number or the name of its held-out session.

        Raises:
            CorpusError: If there is no such fold.
        """
        names = [fold.name for fold in self.folds()]
        if name in names:
            return names.index(str(name)) + 1
        if str(name).isdecimal() and 1 <= int(name) <= len(names):
            return int(name)
        raise CorpusError(f"{self.name} has no fold {name!r}; it has 1 to {len(names)}, named {', '.join(names)}.")

    def fold(self, name: str | int, by: str = "session") -> Fold:
        """Return one fold by its number from 1, or by the name of its held-out session.

        Raises:
            CorpusError: If there is no such fold.
        """
        return self.folds(by)[self.fold_number(name) - 1]


def _without_shared_scenarios(rows: dict[str, pd.DataFrame], number: int) -> dict[str, pd.DataFrame]:
    """Give the test fold half of the scenarios and the other parts the other half."""
    scenarios = sorted(set().union(*(set(part["scenario"]) for part in rows.values())))
    tested = set(scenarios[number % 2 :: 2])
    return {
        part: table[table["scenario"].isin(tested) if part == "test" else ~table["scenario"].isin(tested)]
        for part, table in rows.items()
    }
