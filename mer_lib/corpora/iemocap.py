"""IEMOCAP (Busso et al. 2008): five sessions of two actors, improvised and from scripts, from its full release.

    corpus = corpora.load("iemocap", root="/data/IEMOCAP_full_release")

The four classes are those of the field: `hap` and `exc` are happy, and what is neither angry, happy, sad nor neutral is
left out. The six (`labels=6`) are those of work on conversations (Majumder et al. 2019, DialogueRNN): `exc` is excited,
`fru` frustrated. No sound is opened here. Shown in chapter 02.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from mer_lib.corpora import reading
from mer_lib.corpora.base import EMOTIONS, Corpus, CorpusError, choices, label_set, none_of
from mer_lib.corpora.reading import Repair, Skip

NAME = "iemocap"
ASK = "the University of Southern California, https://sail.usc.edu/iemocap/"
SESSIONS = range(1, 6)

CLASSES = {"hap": "happy", "exc": "happy", "sad": "sad", "neu": "neutral", "ang": "angry"} | {e: e for e in EMOTIONS}
"""Class of each label of the release, and, for label tables, of each class."""

SETS = {
    4: CLASSES | {"excited": "happy"},
    6: {label: name for label, name in CLASSES.items() if label != "exc"}
    | {label: name for name in ("excited", "frustrated") for label in (name[:3], name)},
}
"""The same for each number of classes that one can ask for."""

OTHERS = ("fru", "xxx", "sur", "fea", "oth", "dis", "frustrated")
"""Labels beside those of the four classes; xxx is no agreement."""

EXPECTED = pd.DataFrame(
    {
        "happy": [278, 327, 286, 303, 442],
        "sad": [194, 197, 305, 143, 245],
        "neutral": [384, 362, 320, 258, 384],
        "angry": [229, 137, 240, 327, 170],
    },
    index=["S1", "S2", "S3", "S4", "S5"],
)
"""Utterances per session and class in the whole release, 5,531: the counts that the field uses, from public loaders."""

EXPECTED_CONVERSATIONAL = {"happy": 648 + 1041, "sad": 1084, "neutral": 1708, "angry": 1103}
"""The same for the label table of work on conversations, 5,584: its `hap` are 648 instead of 595."""

RELEASED = 10_039
"""Sound files of the whole release."""

_LOOKED_FOR = (
    "Session*/dialog/EmoEvaluation/*.txt, Session*/dialog/transcriptions/*.txt and Session*/sentences/wav/*/*.wav"
)
_OWN = ", and takes your own labels from a CSV file with the columns id and emotion, labels=FILE or labels=6:FILE"
_UTTERANCE = re.compile(
    r"(?P<dialogue>Ses0(?P<session>[1-5])[FM]_(?P<scenario>impro[0-9]{2}|script[0-9]{2}_[0-9])[a-z]?)"
    r"_(?P<gender>[FM])(?:XX)?[0-9]+"
)
_NUMBER = r"([0-9]+(?:\.[0-9]*)?)"
_TURN = re.compile(
    rf"\[\s*{_NUMBER}\s*-\s*{_NUMBER}\s*\]\s*(\S+)\s+(\w+)\s+\[\s*{_NUMBER}\s*,\s*{_NUMBER}\s*,\s*{_NUMBER}\s*\]"
)
_RATING = re.compile(r"[AC]-\w+:")
_SAID = re.compile(r"(\S+)\s*\[[^\]]*\]:(.*)")
_TAG = re.compile(r"\[[^\]]*\]|<[^>]*>")


def load(root: str | Path | None = None, labels: int | str | Path = 4) -> Corpus:
    """Load IEMOCAP with its four classes, or with six.

    Args:
        root: The folder IEMOCAP_full_release, which holds Session1 to Session5.
        labels: Number of classes, 4 or 6; or a CSV file with the columns `id` and `emotion` (codes of the release, or
            names of the classes), used in place of the release's labels: the conversational variant, for instance.
            What it does not name is left out. A relative path starts at the folder IEMOCAP_full_release. Its classes
            are four; with "6:" before its name, six.

    Returns:
        The corpus. Columns beside the common ones: `style` (improvised or scripted), `label` (as in the release or
        the label table), `valence`, `activation`, `dominance` (1 to 5, means of the raters), and `transcript` (`text`
        before tags such as [LAUGHTER] were taken out; where it was nothing else, `text` is empty). `turn` counts all
        turns of the dialogue that were rated, in the order in which they begin; turns may overlap.

    Raises:
        CorpusError: If the folder is not the release, nothing in it can be used, there is no such set of classes, or
            the label table cannot be read.
    """
    classes, table = _asked(str(labels))
    folder = _home(root)
    skipped: list[Skip] = []
    repaired: list[Repair] = []
    found = _gather(folder, skipped, repaired)
    given, content = None, ""
    if table is not None:
        content = _read_table(folder / Path(table).expanduser(), repaired)
        given, problems = parse_labels(content, table)
        skipped += problems
        skipped += [Skip(name, table, "is not in the release") for name in given if name not in found.turns]
    rows = _rows(folder, found, given, classes, skipped)
    known = {"version": content, "emotions": tuple(dict.fromkeys(classes.values()))}
    return reading.corpus(NAME, folder, rows, skipped, repaired, _LOOKED_FOR, **known)


def _asked(labels: str) -> tuple[dict[str, str], str | None]:
    """Class of each label, and the name of the label table, if one was given."""
    number, colon, table = labels.partition(":")
    if not number.isdecimal():
        number, colon, table = "4", ":", labels
    return label_set(NAME, number, SETS, _OWN), table if colon else None


def _read_table(path: Path, repaired: list[Repair]) -> str:
    if not path.is_file():
        raise CorpusError(f"There is no label table {path}; {NAME} has {choices(SETS)}{_OWN}.")
    return reading.text(path, repaired)


def _home(root: str | Path | None) -> Path:
    folder = reading.home(root, NAME, "Session1 to Session5", ASK)
    if any((folder / f"Session{number}").is_dir() for number in SESSIONS):
        return folder
    inner = reading.find(folder, *(f"Session{number}" for number in SESSIONS))
    hint = f"It seems to be {inner.parent}" if inner else "Give the folder IEMOCAP_full_release"
    raise CorpusError(f"{folder} holds none of the folders Session1 to Session5. {hint}.")


class Found(NamedTuple):
    """What lies in the release, by the id of the utterance: what was rated, what was said, and the sound files."""

    turns: dict[str, dict]
    spoken: dict[str, str]
    sounds: dict[str, Path]


def _gather(folder: Path, skipped: list[Skip], repaired: list[Repair]) -> Found:
    """Read all tables and transcripts of the release, and list its sound files."""
    found, sounds = Found({}, {}, {}), []
    for session in (folder / f"Session{number}" for number in SESSIONS):
        if not session.is_dir():
            skipped.append(Skip(session.name, str(folder), "is missing: half an archive"))
            continue
        before, known = len(skipped), len(found.turns)
        for path in _tables(session / "dialog" / "EmoEvaluation", skipped):
            _add(found.turns, *parse_evaluation(reading.text(path, repaired), _within(folder, path)), skipped)
        for path in _tables(session / "dialog" / "transcriptions", skipped):
            _add(found.spoken, *parse_transcript(reading.text(path, repaired), _within(folder, path)), skipped)
        heard = reading.files(session / "sentences" / "wav", ".wav", skipped)
        closed = any(skip.why.startswith("cannot be read") for skip in skipped[before:])  # then it may be there
        if not heard and len(found.turns) == known and not closed:
            skipped.append(Skip(session.name, str(folder), "is missing: half an archive"))
        sounds += heard
    found.sounds.update(reading.by_name(sounds, skipped))
    for name in sorted((found.spoken.keys() | found.sounds.keys()) - found.turns.keys()):
        skipped.append(Skip(name, str(found.sounds.get(name, folder)), "has no line in EmoEvaluation"))
    return found


def _within(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


def _tables(folder: Path, skipped: list[Skip]) -> list[Path]:
    """Text files of a folder, without those of its folders (which hold single raters' votes)."""
    before = len(skipped)
    found = [path for path in reading.files(folder, ".txt", skipped) if path.parent == folder]
    if not found and len(skipped) == before:
        skipped.append(Skip(folder.name, str(folder), "holds no text files: half an archive"))
    return found


def _add(known: dict, new: list[tuple], problems: list[Skip], skipped: list[Skip]) -> None:
    """Add what a file says of utterances; what is said of one for the second time is skipped."""
    skipped += problems
    for name, value, where in new:
        if name in known:
            skipped.append(Skip(name, where, "is listed for the second time"))
        else:
            known[name] = value


def parse_evaluation(content: str, where: str) -> tuple[list[tuple[str, dict, str]], list[Skip]]:
    """Read a file of EmoEvaluation.

    Args:
        content: The file.
        where: Its name, for what is skipped.

    Returns:
        For each turn its id, what is known of it, and where; and the lines that are none of the format. Lines of
        single raters are passed over: the line of the turn holds their majority and means.
    """
    turns, skipped = [], []
    for number, line in reading.lines(content):
        here = f"{where}, line {number}"
        if line.startswith("%") or _RATING.match(line):
            continue
        if not (found := _TURN.match(line)):
            skipped.append(Skip(line, here, "is no line of an evaluation"))
            continue
        start, end, name, label, *means = found.groups()
        parts = _UTTERANCE.fullmatch(name)
        times = float(start), float(end)
        if parts is None:
            skipped.append(Skip(name, here, "is no name of an utterance"))
        elif not (math.isfinite(times[1]) and times[0] < times[1]):
            skipped.append(Skip(name, here, "ends before it begins"))
        else:
            turns.append((name, _turn(parts, times, label, [float(mean) for mean in means]), here))
    return turns, skipped


def _turn(parts: re.Match, times: tuple[float, float], label: str, means: list[float]) -> dict:
    return {
        # Of the two letters of a name, the last is who speaks; the first is who wore the markers.
        "speaker": f"S{parts['session']}{parts['gender']}",
        "session": f"S{parts['session']}",
        "dialogue": parts["dialogue"],
        "scenario": parts["scenario"],
        "start": times[0],
        "end": times[1],
        "style": "improvised" if parts["scenario"].startswith("impro") else "scripted",
        "label": label.lower(),
        **dict(zip(("valence", "activation", "dominance"), means, strict=True)),
    }


def parse_transcript(content: str, where: str) -> tuple[list[tuple[str, str, str]], list[Skip]]:
    """Read a file of transcriptions.

    Args:
        content: The file.
        where: Its name, for what is skipped.

    Returns:
        For each utterance its id, its words, and where; and the lines that belong to none.
    """
    spoken, skipped = [], []
    for number, line in reading.lines(content):
        here = f"{where}, line {number}"
        found = _SAID.fullmatch(line)
        if found and _UTTERANCE.fullmatch(found[1]):
            spoken.append((found[1], found[2].strip(), here))
        else:
            skipped.append(Skip(line, here, "is no line of a transcript"))
    return spoken, skipped


def parse_labels(content: str, where: str) -> tuple[dict[str, str], list[Skip]]:
    """Read a label table.

    Args:
        content: A CSV file with the columns `id` and `emotion`.
        where: Its name.

    Returns:
        Id to label; and the rows that do not fit.

    Raises:
        CorpusError: If a column is missing, or an id comes twice.
    """
    rows, skipped = reading.table(content, where, ("id", "emotion"))
    labels: dict[str, str] = {}
    for here, row in rows:
        if row["id"] in labels:
            raise CorpusError(f"{here} has the id {row['id']!r} a second time. Give each utterance one label.")
        labels[row["id"]] = row["emotion"].lower()
    return labels, skipped


def _rows(
    folder: Path, found: Found, given: dict[str, str] | None, classes: dict[str, str], skipped: list[Skip]
) -> list[dict]:
    """The utterances that have a class, a transcript and a sound, in the order in which they begin."""
    turns, rows, place = found.turns, [], Counter[str]()
    for name in sorted(turns, key=lambda n: (turns[n]["dialogue"], turns[n]["start"], turns[n]["end"], n)):
        turn, dialogue = turns[name], turns[name]["dialogue"]
        label = turn["label"] if given is None else given.get(name, "")
        if why := _lack(name, label, found, classes):
            skipped.append(Skip(name, dialogue, why))
        else:
            said = found.spoken[name]
            words = " ".join(_TAG.sub(" ", said).split())
            own = {"id": name, "text": words, "emotion": classes[label], "label": label, "turn": place[dialogue]}
            rows.append({**turn, **own, "audio": _within(folder, found.sounds[name]), "transcript": said})
        place[dialogue] += 1
    return rows


def _lack(name: str, label: str, found: Found, classes: dict[str, str]) -> str:
    """Why an utterance cannot be used, or nothing."""
    if not label:
        return "is not in the label table"
    if label not in classes:
        return none_of(classes, label) if label in OTHERS else f"has the unknown label {label!r}"
    if name not in found.spoken:
        return "has no transcript"
    return "" if name in found.sounds else "has no sound file"
