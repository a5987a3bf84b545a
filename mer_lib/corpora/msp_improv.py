"""MSP-IMPROV (Busso et al. 2017): six sessions of two actors, scenes built around twenty fixed sentences.

    corpus = corpora.load("msp-improv", root="/data/MSP-IMPROV", conditions="ST")

The label is what the raters agreed on, never the emotion that stands in the name: that is what the actor was asked
for. The release has no times, so the headers of the sound files are read. Shown in chapter 02.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from mer_lib.corpora import reading
from mer_lib.corpora.base import Corpus, CorpusError, label_set
from mer_lib.corpora.reading import Repair, Skip

NAME = "msp-improv"
ASK = "the MSP lab, https://ecs.utdallas.edu/research/researchlabs/msp-lab/MSP-Improv.html"

SESSIONS = range(1, 7)

CLASSES = {"H": "happy", "S": "sad", "N": "neutral", "A": "angry"}
SETS = {4: CLASSES}
"""Class of each label for each number of classes that one can ask for: the raters could choose among these four."""

OTHERS = {"X": "the raters did not agree", "O": "the raters said: another emotion"}

CONDITIONS = {"P": "natural interaction", "R": "target read", "S": "other improvised", "T": "target improvised"}
"""T and R are the twenty fixed sentences: their words say next to nothing about the emotion."""

EXPECTED = pd.DataFrame(
    {
        "happy": [1372, 88, 1048, 136],
        "sad": [66, 80, 633, 106],
        "neutral": [1164, 241, 1789, 283],
        "angry": [38, 169, 470, 115],
        "all": [2785, 620, 4381, 652],
    },
    index=["P", "R", "S", "T"],
)
"""Utterances per condition and class as labelled, 7,798 in the four classes of 8,438 (Busso et al. 2017).

About 270 of the 8,438 have no transcript and are left out here.
"""

_NAME = re.compile(
    r"(?:UTD|MSP)-IMPROV-(?P<rest>S(?P<sentence>[0-9]{2})(?P<intended>[AHSN])-(?P<actor>[MF](?P<session>[0-9]{2}))"
    r"-(?P<condition>[PRST])-(?P<pair>[FM][FM])(?P<turn>[0-9]+))"
)
_NUMBER = r"\s*([0-9]+(?:\.[0-9]*)?|[Nn][Aa][Nn])\s*"
_SCALES = rf"A:{_NUMBER};\s*V:{_NUMBER};\s*D:{_NUMBER};\s*N:{_NUMBER};?"
_UTTERANCE = re.compile(rf"([^;]+?)\.avi\s*;\s*(\w+)\s*;\s*{_SCALES}")
_RATER = re.compile(rf"([^;]+?)\s*;\s*(\w+)\s*;(.*);\s*{_SCALES}")


def load(root: str | Path | None = None, conditions: Iterable[str] = "PRST", labels: int | str = 4) -> Corpus:
    """Load the four classes of MSP-IMPROV.

    Args:
        root: The folder that holds Evaluation.txt, session1 to session6 (perhaps in a folder Audio) and
            All_human_transcriptions (perhaps in a folder Human_transcriptions).
        conditions: Which of `CONDITIONS`.
        labels: Number of classes: 4, there are no others.

    Returns:
        The corpus. `start` is 0 and `end` the duration, since the release has no times; `turn` is the number in the
        name, which both speakers of a dialogue count for themselves; `scenario` is the sentence that a scene was
        built around. `speaker` is the session and the first of the two gender letters: our reading of the name, not
        certain, and safe for folds, which leave out whole sessions. Columns beside the common ones: `condition`,
        `intended` (what the actor was asked for), `label`, `activation`, `valence`, `dominance`, `naturalness` (1 to
        5, as stored; activation may run from high to low; NaN where nobody rated it), `raters` (how many different
        ones) and `agreement` (share of them that chose the label).

    Raises:
        CorpusError: If the folder is not the release, a condition or a set of classes is unknown, or nothing in it can
            be used.
    """
    label_set(NAME, labels, SETS, " and no others")
    wanted = set(conditions)
    if not wanted or wanted - set(CONDITIONS):
        known = ", ".join(f"{letter} ({what})" for letter, what in CONDITIONS.items())
        raise CorpusError(f"{NAME} has no conditions {conditions!r}; choose one or more of {known}.")
    folder = reading.home(root, NAME, "Evaluation.txt", ASK)
    ratings, texts = _places(folder)
    repaired: list[Repair] = []
    turns, skipped = parse_evaluation(reading.text(ratings, repaired), ratings.name)
    spoken = reading.by_name(reading.files(texts, ".txt", skipped), skipped)
    sounds = reading.by_name(reading.files(folder, ".wav", skipped), skipped)
    heard = {turns[name]["session"] for name in sounds.keys() & turns.keys()}
    closed = any(skip.why.startswith("cannot be read") for skip in skipped)  # then it may be there
    for number in SESSIONS:
        if f"S{number}" not in heard and not closed:
            skipped.append(Skip(f"session{number}", str(folder), "is missing: half an archive"))
    for name in sorted(sounds.keys() - turns.keys()):
        skipped.append(Skip(name, str(sounds[name]), f"has no line in {ratings.name}"))
    rows = []
    for name, turn in turns.items():
        if why := _lack(name, turn, wanted, spoken, sounds):
            skipped.append(Skip(name, ratings.name, why))
            continue
        try:
            rows.append(_row(folder, name, turn, spoken[name], sounds[name], repaired))
        except reading.UnusableError as error:
            skipped.append(Skip(name, str(error.path), error.why))
    looked_for = "Evaluation.txt, All_human_transcriptions/*.txt and session*/*/*/*.wav"
    return reading.corpus(NAME, folder, rows, skipped, repaired, looked_for)


def _places(folder: Path) -> tuple[Path, Path]:
    """The file of labels and the folder of transcripts."""
    ratings = reading.find(folder, "Evaluation.txt", "Evalution.txt")
    texts = reading.find(folder, "All_human_transcriptions")
    if ratings is None:
        raise CorpusError(
            f"There is no Evaluation.txt (nor Evalution.txt) in {folder}. Give the folder of MSP-IMPROV that holds it."
        )
    if texts is None:
        raise CorpusError(
            f"There is no folder All_human_transcriptions in {folder}. Unpack the transcripts there; ask {ASK}."
        )
    return ratings, texts


def parse_evaluation(content: str, where: str) -> tuple[dict[str, dict], list[Skip]]:
    """Read the file of labels.

    Args:
        content: The file.
        where: Its name, for what is skipped.

    Returns:
        Id, as the sound files have it, to what is known of the utterance; and the lines that are none of the format,
        belong to no utterance, or repeat one. A rater who is listed twice for an utterance counts once.
    """
    turns: dict[str, dict] = {}
    votes: dict[str, str] | None = None
    skipped = []
    for number, line in reading.lines(content):
        here = f"{where}, line {number}"
        if found := _UTTERANCE.fullmatch(line):
            parts, votes = _NAME.fullmatch(found[1]), None
            if parts is None:
                skipped.append(Skip(line, here, "is no name of an utterance"))
            elif (name := f"MSP-IMPROV-{parts['rest']}") in turns:
                skipped.append(Skip(name, here, "is listed for the second time"))
            else:
                votes = {}
                turns[name] = _turn(parts, found[2].upper(), found.groups()[2:], votes)
        elif (found := _RATER.fullmatch(line)) and votes is not None:
            votes.setdefault(found[1], found[2][:1].upper())
        else:
            skipped.append(Skip(line, here, "is a rating of no utterance" if found else "is no line of an evaluation"))
            votes = None if "-IMPROV-" in line else votes  # what follows a damaged name belongs to it
    return turns, skipped


def _turn(parts: re.Match, label: str, means: tuple[str, ...], votes: dict[str, str]) -> dict:
    session = f"S{int(parts['session'])}"
    return {
        "speaker": f"{session}{parts['pair'][0]}",
        "session": session,
        "dialogue": f"S{parts['sentence']}{parts['intended']}-{parts['actor']}-{parts['condition']}",
        "turn": int(parts["turn"]),
        "scenario": f"sentence{parts['sentence']}",
        "condition": parts["condition"],
        "intended": CLASSES[parts["intended"]],
        "label": label,
        **dict(zip(("activation", "valence", "dominance", "naturalness"), map(float, means), strict=True)),
        "votes": votes,
    }


def _lack(name: str, turn: dict, wanted: set[str], spoken: dict[str, Path], sounds: dict[str, Path]) -> str:
    """Why an utterance cannot be used, or nothing."""
    if turn["condition"] not in wanted:
        return f"condition {turn['condition']} was not asked for"
    if turn["label"] not in CLASSES:
        return OTHERS.get(turn["label"], f"has the unknown label {turn['label']!r}")
    if name not in spoken:
        return "has no transcript"
    return "" if name in sounds else "has no sound file"


def _row(folder: Path, name: str, turn: dict, text: Path, sound: Path, repaired: list[Repair]) -> dict:
    """One row of the table.

    Raises:
        reading.UnusableError: If there are no words, or the sound cannot be used, as far as its header tells.
    """
    votes = list(turn["votes"].values())
    words = " ".join(reading.text(text, repaired).split())
    if not words:
        raise reading.UnusableError(text, "is an empty transcript")
    return {
        "id": name,
        "text": words,
        "emotion": CLASSES[turn["label"]],
        **{column: value for column, value in turn.items() if column != "votes"},
        "start": 0.0,
        "end": reading.seconds(sound),
        "audio": sound.relative_to(folder).as_posix(),
        "raters": len(votes),
        "agreement": votes.count(turn["label"]) / len(votes) if votes else float("nan"),
    }
