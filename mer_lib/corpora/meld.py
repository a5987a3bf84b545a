"""MELD (Poria et al. 2019): utterances of a television series, with an official split into train, dev and test.

    corpus = corpora.load("meld", root="/data/MELD.Raw")

The release holds video; the sound is taken out of it once, by ffmpeg, and read from wav files beside the clips or in
their place. Wrongly cut clips are told by their length, so the headers of the wav files are read. Shown in chapter 02.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from mer_lib.corpora import reading
from mer_lib.corpora.base import Corpus, CorpusError, label_set, none_of
from mer_lib.corpora.reading import Repair, Skip

NAME = "meld"
ASK = "its authors, https://affective-meld.github.io/ (free to download)"

CLIPS = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
"""Folder of the clips of each part."""

CLASSES = {"joy": "happy", "sadness": "sad", "neutral": "neutral", "anger": "angry"}
"""Which of the four classes each label of the release is."""

OTHERS = ("surprise", "fear", "disgust")
"""Labels beside those of the four classes."""

SETS = {4: CLASSES, 7: CLASSES | {label: label for label in OTHERS}}
"""Class of each label for each number of classes that one can ask for."""

EXPECTED = pd.DataFrame(
    {
        "happy": [1743, 163, 402],
        "sad": [683, 111, 208],
        "neutral": [4710, 470, 1256],
        "angry": [1109, 153, 345],
        "all": [9989, 1109, 2610],
    },
    index=["train", "dev", "test"],
)
"""Rows of the released tables per part and class; `all` counts those of the three other emotions too."""

LONGEST = 40.0
"""Seconds. Longer clips are wrongly cut: test dia38_utt4 lasts 305 s, dia220_utt0 235 s, train dia309_utt0 41 s."""

COLUMNS = ("Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID", "Season", "Episode", "StartTime")

_TIME = re.compile(r"([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})[,.]([0-9]{1,3})")
_COUNT = re.compile(r"[0-9]{1,9}")


def load(root: str | Path | None = None, labels: int | str = 4) -> Corpus:
    """Load MELD with four of its classes, or with all seven.

    Args:
        root: The folder that holds the three tables `*_sent_emo.csv` and the three folders of clips, or whose
            folders do.
        labels: Number of classes, 4 or 7.

    Returns:
        The corpus, with one fold, the official one. `session` is the part (train, dev or test), and ids begin with
        it, since the release counts anew in each; `scenario` is the episode. `start` is the time in the episode (0
        where the table has none) and `end` is later by the length of the clip. Speakers occur in several parts.
        Columns beside the common ones: `label` and `sentiment`.

    Raises:
        CorpusError: If a table, a folder of clips or all its wav files are missing, nothing can be used, or there is
            no such set of classes.
    """
    classes = label_set(NAME, labels, SETS)
    folder = reading.home(root, NAME, "train_sent_emo.csv, dev_sent_emo.csv and test_sent_emo.csv", ASK)
    rows: list[dict] = []
    skipped: list[Skip] = []
    repaired: list[Repair] = []
    for part, clips in CLIPS.items():
        path = reading.find(folder, f"{part}_sent_emo.csv")
        if path is None:
            raise CorpusError(f"There is no {part}_sent_emo.csv in {folder} or its folders. Get it from {ASK}.")
        turns, problems = parse_table(reading.text(path, repaired), part, path.name)
        skipped += problems
        rows += _with_sound(folder, clips, turns, classes, skipped)
    looked_for = f"wav files named dia0_utt0.wav in {', '.join(CLIPS.values())}"
    known = {"official": {part: [part] for part in CLIPS}, "emotions": tuple(classes.values())}
    return reading.corpus(NAME, folder, rows, skipped, repaired, looked_for, **known)


def how_to_make_wavs(clips: Path) -> str:
    """Return the shell command that writes a wav file beside each clip of a folder."""
    return f'cd "{clips}" && for f in *.mp4; do ffmpeg -n -i "$f" -vn -ac 1 -ar 16000 "${{f%.mp4}}.wav"; done'


def parse_table(content: str, part: str, where: str) -> tuple[list[dict], list[Skip]]:
    """Read one of the three tables.

    Args:
        content: The file.
        part: "train", "dev" or "test".
        where: Its name, for what is skipped.

    Returns:
        One row per utterance, whatever its emotion, with `clip`, the name of its file; and the rows that cannot be
        read or repeat an utterance.

    Raises:
        CorpusError: If a column is missing.
    """
    read, skipped = reading.table(content, where, COLUMNS)
    turns: dict[str, dict] = {}
    for here, row in read:
        numbers = [row[name] for name in ("Dialogue_ID", "Utterance_ID")]
        if not all(map(_COUNT.fullmatch, numbers)):
            skipped.append(Skip(", ".join(row.values()), here, "has no number of a dialogue and an utterance"))
            continue
        turn = _turn(row, part, *map(int, numbers))
        if turn["id"] in turns:
            skipped.append(Skip(turn["id"], here, "is listed for the second time"))
        else:
            turns[turn["id"]] = turn
    return list(turns.values()), skipped


def _turn(row: dict[str, str], part: str, dialogue: int, utterance: int) -> dict:
    time = _TIME.fullmatch(row["StartTime"])
    hours, minutes, seconds, thousandths = map(int, time.groups()) if time else (0, 0, 0, 0)
    return {
        "id": f"{part}_dia{dialogue}_utt{utterance}",
        "text": row["Utterance"],
        "speaker": row["Speaker"],
        "session": part,
        "dialogue": f"{part}_dia{dialogue}",
        "turn": utterance,
        "scenario": f"season{row['Season']}episode{row['Episode']}",
        "start": 3600 * hours + 60 * minutes + seconds + thousandths / 1000,
        "label": row["Emotion"].lower(),
        "sentiment": row.get("Sentiment", ""),
        "clip": f"dia{dialogue}_utt{utterance}",
    }


def _with_sound(
    folder: Path, clips: str, turns: list[dict], classes: dict[str, str], skipped: list[Skip]
) -> list[dict]:
    """The utterances of one part that have a class and a usable sound; the others go to `skipped`."""
    place = reading.find(folder, clips)
    if place is None:
        raise CorpusError(f"There is no folder {clips} in {folder} or its folders. Unpack the clips there.")
    before = len(skipped)
    sounds = reading.by_name(reading.files(place, ".wav", skipped), skipped)
    videos = reading.by_name(reading.files(place, ".mp4", skipped), skipped)
    if not sounds and (closed := [skip for skip in skipped[before:] if skip.why.startswith("cannot be read")]):
        raise CorpusError(f"There are no wav files in {place} to be read: {closed[0].where} {closed[0].why}.")
    if not sounds:
        raise CorpusError(f"There are no wav files in {place}. Make them with ffmpeg: {how_to_make_wavs(place)}")
    named = {turn["id"]: _clip(turn["clip"], sounds.keys() | videos.keys()) for turn in turns}
    for name in sorted((sounds.keys() | videos.keys()) - set(named.values())):
        skipped.append(Skip(name, str(place), "is a clip without a row, or replaced by another"))
    rows = []
    for turn in turns:
        clip = named[turn["id"]]
        if why := _lack(turn, clip, sounds, videos, classes):
            skipped.append(Skip(turn["id"], str(place / clip), why))
            continue
        try:
            rows.append(_row(folder, turn, sounds[clip], classes))
        except reading.UnusableError as error:
            skipped.append(Skip(turn["id"], str(sounds[clip]), error.why))
    return rows


def _clip(name: str, there: set[str]) -> str:
    """Name of the clip of an utterance: some of the test part were cut again, and put beside the wrong ones."""
    again = f"final_videos_test{name}"
    return again if again in there else name


def _lack(turn: dict, clip: str, sounds: dict[str, Path], videos: dict[str, Path], classes: dict[str, str]) -> str:
    """Why an utterance cannot be used, or nothing."""
    if (label := turn["label"]) not in classes:
        return none_of(classes, label) if label in OTHERS else f"has the unknown label {label!r}"
    if not turn["text"]:
        return "has no text"
    if clip in sounds:
        return ""
    return "has a clip but no wav file: ffmpeg could not read it, or was not run" if clip in videos else "has no clip"


def _row(folder: Path, turn: dict, path: Path, classes: dict[str, str]) -> dict:
    """One row of the table.

    Raises:
        reading.UnusableError: If the sound cannot be used, as far as its header tells.
    """
    duration = reading.seconds(path)
    if duration > LONGEST:
        raise reading.UnusableError(path, f"is longer than {LONGEST:.0f} s: wrongly cut")
    own = {"emotion": classes[turn["label"]], "end": turn["start"] + duration}
    return {
        **{column: value for column, value in turn.items() if column != "clip"},
        **own,
        "audio": path.relative_to(folder).as_posix(),
    }
