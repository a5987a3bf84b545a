"""Small trees in the released formats of IEMOCAP, MSP-IMPROV and MELD, with their quirks, spoken by Duet.

Nothing of the real corpora is in here: words and voices are those of Duet.

    python tests/trees.py FOLDER        writes a tree like IEMOCAP_full_release, large enough for the whole book
"""

from __future__ import annotations

import os
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from hypothesis import strategies as st
from scipy.signal import resample_poly

from mer_lib.corpora import duet
from mer_lib.corpora.base import EMOTIONS, SAMPLE_RATE, Corpus

SECONDS = 1.0
"""Of each clip, unless more is asked for."""


@dataclass
class Clip:
    """What someone says, and how it sounds."""

    text: str
    emotion: str
    wave: np.ndarray


@cache
def _speech() -> Corpus:
    return duet.load("duet-i")


def clips(session: int, emotion: str, seconds: float | None = SECONDS) -> Iterator[Clip]:
    """Utterances of one emotion in one session of duet-i, without end; sessions beyond the fifth begin again."""
    corpus = _speech()
    table = corpus.table
    rows = table[(table["session"] == f"S{(session - 1) % 5 + 1}") & (table["emotion"] == emotion)]
    for number in count():
        row = rows.iloc[number % len(rows)]
        wave = corpus.waveform(row["id"])
        yield Clip(row["text"], emotion, wave if seconds is None else wave[: round(seconds * SAMPLE_RATE)])


def write(path: Path, content: str | bytes) -> Path:
    """Write a file, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def write_wav(path: Path, wave: np.ndarray, rate: int = SAMPLE_RATE, subtype: str = "PCM_16") -> Path:
    """Write sound that is given at 16,000 Hz, (samples,) or (samples, channels), at another rate."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, resample_poly(wave, rate, SAMPLE_RATE, axis=0) * 0.9, rate, subtype=subtype)
    return path


APPLE_DOUBLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        \xff\xfe\x00"

# IEMOCAP ----------------------------------------------------------------------------------------------------------

IEMOCAP_DIALOGUES = {
    1: ["Ses01F_impro01", "Ses01M_impro02", "Ses01F_script01_1"],
    2: ["Ses02F_impro01", "Ses02M_impro02", "Ses02F_script01_1"],
    3: ["Ses03F_impro01", "Ses03M_impro05a", "Ses03M_impro05b", "Ses03F_script01_1"],
    4: ["Ses04F_impro01", "Ses04M_impro02", "Ses04F_script01_1"],
    5: ["Ses05F_impro01", "Ses05M_impro02", "Ses05M_script01_1b"],
}
IEMOCAP_CODES = {"happy": ("hap", "exc"), "sad": ("sad",), "neutral": ("neu",), "angry": ("ang",)}
IEMOCAP_OTHERS = ("fru", "xxx")
IEMOCAP_EXTRA = {
    "Ses01F_impro01": "Ses01F_impro01_MXX0 [000.5000-001.2000]: Mm-hmm.\nM: sorry\n",
}
"""Lines of transcripts that belong to no rated utterance."""


@dataclass
class Turn:
    """A rated utterance of IEMOCAP."""

    name: str
    label: str
    text: str
    start: float
    end: float
    wave: np.ndarray | None = None

    @property
    def dialogue(self) -> str:
        return self.name.rpartition("_")[0]


def iemocap(root: Path, each: int = 1, seconds: float | None = SECONDS) -> Path:
    """Make a tree like IEMOCAP_full_release: `each` utterances per dialogue and emotion, and two of other labels.

    Turns overlap; the letter of the markers is not the speaker's in half of them; `hap` and `exc` alternate.
    """
    for session, dialogues in IEMOCAP_DIALOGUES.items():
        supply = {emotion: clips(session, emotion, seconds) for emotion in EMOTIONS}
        for dialogue in dialogues:
            iemocap_dialogues(root, _turns(dialogue, supply, each))
        for folder in ("dialog/EmoEvaluation", "dialog/transcriptions"):
            write(root / f"Session{session}" / folder / f"._{dialogues[0]}.txt", APPLE_DOUBLE)
        write(root / f"Session{session}/sentences/wav/{dialogues[0]}/._{dialogues[0]}_F000.wav", APPLE_DOUBLE)
        for folder in ("Attribute", "Categorical", "Self-evaluation"):
            votes = write(
                root / f"Session{session}/dialog/EmoEvaluation/{folder}/{dialogues[0]}_e2.txt", "F000 :Neutral; ()\n"
            )
            assert votes.exists()
    for dialogue, lines in IEMOCAP_EXTRA.items():
        path = _iemocap_folder(root, dialogue) / f"dialog/transcriptions/{dialogue}.txt"
        path.write_text(path.read_text() + lines)
    return root


def _turns(dialogue: str, supply: dict[str, Iterator[Clip]], each: int) -> Iterator[Turn]:
    numbers, start = {"F": count(), "M": count()}, 0.5
    spoken = [next(supply[emotion]) for _ in range(each) for emotion in EMOTIONS]
    labels = [IEMOCAP_CODES[clip.emotion][i // 4 % len(IEMOCAP_CODES[clip.emotion])] for i, clip in enumerate(spoken)]
    spoken += [next(supply["neutral"]) for _ in IEMOCAP_OTHERS]
    for i, (clip, label) in enumerate(zip(spoken, [*labels, *IEMOCAP_OTHERS], strict=True)):
        gender = "FM"[(i + i // 4) % 2]  # so that each speaker shows all emotions
        end = start + len(clip.wave) / SAMPLE_RATE
        text = f"[LAUGHTER] {clip.text} [BREATHING]" if label == "exc" else clip.text
        yield Turn(f"{dialogue}_{gender}{next(numbers[gender]):03d}", label, text, start, end, clip.wave)
        start = end - 0.2


def _iemocap_folder(root: Path, dialogue: str) -> Path:
    return root / f"Session{dialogue[4]}"


def iemocap_dialogues(root: Path, turns: Iterable[Turn]) -> None:
    """Write the tables, transcripts and sounds of turns; a turn without wave gets an empty sound file."""
    dialogues: dict[str, list[Turn]] = defaultdict(list)
    for turn in turns:
        dialogues[turn.dialogue].append(turn)
    for dialogue, members in dialogues.items():
        folder = _iemocap_folder(root, dialogue)
        blocks = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n", *map(_block, members)]
        write(folder / f"dialog/EmoEvaluation/{dialogue}.txt", "\n".join(blocks))
        said = [f"{t.name} [{t.start:08.4f}-{t.end:08.4f}]: {t.text}\n" for t in members]
        write(folder / f"dialog/transcriptions/{dialogue}.txt", "".join(said))
        for turn in members:
            path = folder / f"sentences/wav/{dialogue}/{turn.name}.wav"
            if turn.wave is None:
                write(path, b"")
            else:
                write_wav(path, turn.wave)


def _block(turn: Turn) -> str:
    return (
        f"[{turn.start:.4f} - {turn.end:.4f}]\t{turn.name}\t{turn.label}\t[2.5000, 3.0000, 3.5000]\n"
        "C-E2:\tNeutral; Sadness;\t()\nC-E3:\tNeutral;\t()\nC-F1:\tNeutral;\t(curious)\n"
        "A-E3:\tval 3; act 2; dom  3;\t()\nA-F1:\tval 3; act 2; dom  ;\t()\n"
    )


# MSP-IMPROV -------------------------------------------------------------------------------------------------------

MSP_RATES = (44_100, 48_000)
MSP_CODES = {"happy": "H", "sad": "S", "neutral": "N", "angry": "A"}


def msp_improv(
    root: Path, each: int = 1, seconds: float | None = SECONDS, ratings: str = "Evaluation.txt", nested: bool = True
) -> Path:
    """Make a tree like MSP-IMPROV: `each` utterances per session, condition and emotion, and two of other labels.

    Args:
        root: Where.
        each: How many.
        seconds: Of each clip; None for the whole.
        ratings: Name of the file of labels.
        nested: Whether sounds and transcripts lie in the folders Audio and Human_transcriptions.
    """
    blocks = []
    audio, texts = ("Audio", "Human_transcriptions") if nested else (".", ".")
    for session in range(1, 7):
        supply = {emotion: clips(session, emotion, seconds) for emotion in EMOTIONS}
        for condition in "PRST":
            spoken = [next(supply[emotion]) for _ in range(each) for emotion in EMOTIONS]
            labels = [MSP_CODES[clip.emotion] for clip in spoken] + ["X", "O"]
            spoken += [next(supply["neutral"]), next(supply["neutral"])]
            scene = f"S{2 if condition in 'RT' else 1:02d}{'AHSN'[session % 4]}"
            for i, (clip, label) in enumerate(zip(spoken, labels, strict=True)):
                rest = f"{scene}-{'FM'[session % 2]}{session:02d}-{condition}-{('FM', 'MF')[i % 2]}{i // 2 + 1:02d}"
                blocks.append(_ratings(rest, label, agreed=i % 2 == 0))
                said = "I won't do that.\n" if condition in "RT" else f"{clip.text}\n"
                write(root / texts / f"All_human_transcriptions/MSP-IMPROV-{rest}.txt", said)
                place = root / audio / f"session{session}/{scene}/{condition}"
                write_wav(place / f"MSP-IMPROV-{rest}.wav", clip.wave, MSP_RATES[session % 2])
        write(place / f"._MSP-IMPROV-{rest}.wav", APPLE_DOUBLE)
    write(root / ratings, "\n".join(blocks))
    return root


def _ratings(rest: str, label: str, agreed: bool) -> str:
    """A block of the file of labels: four raters, one of them listed twice, and numbers that are missing."""
    vote = {"A": "Angry", "S": "Sad", "H": "Happy", "N": "Neutral", "O": "Other", "X": "Sad"}[label]
    other = vote if agreed else {"Angry": "Neutral"}.get(vote, "Angry")
    dominance = "3.000000" if agreed else "NaN"
    return (
        f"UTD-IMPROV-{rest}.avi; {label}; A:3.000000; V:3.500000; D:{dominance} ; N:3.666667;\n"
        f"PR16; {vote}; {vote},Frustrated; A:3.000000; V:4.000000; D:3.000000; N:4.000000;\n"
        f"PR16; {vote}; {vote},Frustrated; A:3.000000; V:4.000000; D:3.000000; N:4.000000;\n"
        f"A1B2-crowd; {vote}; Other: tired; and bored; A:3.000000; V:3.000000; D:NaN; N:3.000000;\n"
        f"WORKER_3; {vote}; ; A:3.000000; V:3.000000; D:3.000000; N:NaN;\n"
        f"WORKER_4; {other}; {other}; A:3.000000; V:4.000000; D:3.000000; N:4.000000;\n"
    )


# MELD -------------------------------------------------------------------------------------------------------------

MELD_HEADER = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime\r\n"
MELD_CODES = {"happy": "joy", "sad": "sadness", "neutral": "neutral", "angry": "anger"}
MELD_FOLDERS = {
    "train": "train/train_splits",
    "dev": "dev/dev_splits_complete",
    "test": "test/output_repeated_splits_test",
}
MELD_PROBLEMS = {
    "train": [(125, 3), (309, 0), (400, 0)],
    "dev": [(110, 7)],
    "test": [(38, 4), (220, 0)],
}
"""Rows whose clip is corrupt (train 125), wrongly cut (train 309, test), hardly there (train 400) or absent (dev)."""
MELD_TWICE = "dia0_utt1"
"""Clip of the test part that was cut again."""


def meld(
    root: Path,
    each: int = 1,
    seconds: float | None = SECONDS,
    videos: bool = True,
    others: tuple[str, ...] = ("surprise",),
) -> Path:
    """Make a tree like MELD.Raw: dialogues of one utterance per emotion and one of each other one, `each` per part.

    Args:
        root: Where.
        each: Dialogues per part.
        seconds: Of each clip; None for the whole.
        videos: Whether the video clips lie beside the sound.
        others: Labels that are none of the four classes.
    """
    for number, part in enumerate(MELD_FOLDERS, start=1):
        supply = {emotion: clips(number, emotion, seconds) for emotion in EMOTIONS}
        rows, folder = [], root / MELD_FOLDERS[part]
        for dialogue in range(each):
            for i, emotion in enumerate([*EMOTIONS, *others]):
                clip = next(supply[emotion if emotion in supply else "neutral"])
                utterance = i + (i > 1)  # a gap
                rows.append(_meld_row(clip.text, MELD_CODES.get(emotion, emotion), dialogue, utterance))
                name = f"dia{dialogue}_utt{utterance}"
                surround = np.stack([clip.wave] * 6, axis=1)
                many = part == "dev"
                write_wav(folder / f"{name}.wav", surround if many else clip.wave, 48_000 if many else SAMPLE_RATE)
        rows += [_meld_row("It broke.", "neutral", *numbers) for numbers in MELD_PROBLEMS[part]]
        write(root / f"{part}_sent_emo.csv", MELD_HEADER + "".join(rows))
    _meld_problems(root)
    for path in sorted(root.glob("*/*/*.wav")) if videos else []:
        write(path.with_suffix(".mp4"), b"not a film")
    if videos:
        write(root / MELD_FOLDERS["train"] / "dia125_utt3.mp4", b"")
    return root


def _meld_problems(root: Path) -> None:
    train, dev, test = (root / MELD_FOLDERS[part] for part in MELD_FOLDERS)
    for path, length in ((train / "dia309_utt0", 41), (test / "dia38_utt4", 305), (test / "dia220_utt0", 235)):
        soundfile.write(path.with_suffix(".wav"), np.full(length * 8000, 0.1), 8000, subtype="PCM_U8")
    write_wav(train / "dia400_utt0.wav", np.full(round(0.064 * SAMPLE_RATE), 0.1))
    write_wav(dev / "dia66_utt9.wav", np.full(SAMPLE_RATE, 0.1))
    write_wav(test / f"final_videos_test{MELD_TWICE}.wav", next(clips(5, "sad")).wave)
    write(train / "._dia0_utt0.wav", APPLE_DOUBLE)
    write(train / "._dia0_utt0.mp4", APPLE_DOUBLE)


def _meld_row(text: str, emotion: str, dialogue: int, utterance: int) -> str:
    said = text.replace("'", "\u2019").replace('"', '""')
    return (
        f'1,"{said}",Ross,{emotion},neutral,{dialogue},{utterance},8,21,"00:16:{utterance:02d},059","00:16:59,000"\r\n'
    )


def why(corpus: Corpus) -> dict[str, str]:
    """What was left out, and the reason."""
    return dict(zip(corpus.skipped["what"], corpus.skipped["why"], strict=True))


def counts(table: pd.DataFrame, by: str) -> pd.DataFrame:
    """Utterances per value of a column and class, as the `EXPECTED` of the loaders."""
    return pd.crosstab(table[by], table["emotion"])[list(EMOTIONS)].rename_axis(index=None, columns=None)


HARMS = (
    "cut", "flip", "insert", "empty", "zeros", "delete", "rename", "odd name", "duplicate", "swap", "forbid", "folder",
    "broken link", "circle", "pipe", "encode", "line ends",
)  # fmt: skip
"""What `harm` does to a file or a folder."""

ODD_BYTES = [
    b"\0",
    b"\x92",
    b"\xff",
    b"\xc2\x85",
    b"\xe2\x80\xa8",
    b"\r",
    b"\n",
    b'"',
    b",",
    b";",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
]


def harm(root: Path, rng: np.random.Generator) -> str:
    """Damage one file or folder below a folder, drawn as half text, a third sound, else a folder; say what was done."""
    texts = [p for e in ("*.txt", "*.csv") for p in root.rglob(e) if p.is_file() and not p.is_symlink()]
    sounds = [path for path in root.rglob("*.wav") if path.is_file() and not path.is_symlink()]
    folders = [path for path in root.rglob("*") if path.is_dir() and not path.is_symlink()]
    chosen = sorted((texts, texts, texts, sounds, sounds, folders)[rng.integers(6)])
    kind = HARMS[rng.integers(len(HARMS))]
    if not chosen:
        return "nothing"
    path = chosen[rng.integers(len(chosen))]
    other = chosen[rng.integers(len(chosen))]
    if path.is_dir():
        _harm_folder(path, kind)
    elif kind == "swap":
        mine, theirs = path.read_bytes(), other.read_bytes()
        _again(path, theirs)
        _again(other, mine)
    else:
        _harm_file(path, kind, rng)
    return f"{kind} {path.relative_to(root)}"


def _again(path: Path, content: bytes) -> None:
    """Write a file that may be a second name of another tree's."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def _harm_folder(path: Path, kind: str) -> None:
    if kind in ("rename", "swap", "encode"):
        path.rename(path.with_name("other"))
    elif kind == "odd name":
        path.rename(Path(os.fsdecode(os.fsencode(path) + b"\xe9")))
    elif kind == "duplicate":
        shutil.copytree(path, path.with_name(path.name + " copy"), symlinks=True)
    elif kind == "forbid":
        path.chmod(0)
    elif kind == "circle":
        (path / "circle").symlink_to(path)
    else:
        shutil.rmtree(path)
        if kind == "folder":
            path.mkdir()
        elif kind == "empty":
            path.write_bytes(b"")
        elif kind == "broken link":
            path.symlink_to("nothing")
        elif kind == "pipe":
            os.mkfifo(path)


def _harm_file(path: Path, kind: str, rng: np.random.Generator) -> None:
    content = path.read_bytes()
    at = int(rng.integers(len(content) + 1))
    some = bytes(rng.integers(256, size=rng.integers(1, 9)).astype(np.uint8))
    if kind == "cut":
        _again(path, content[:at])
    elif kind == "flip":
        _again(path, content[:at] + some + content[at + len(some) :])
    elif kind == "insert":
        _again(path, content[:at] + ODD_BYTES[rng.integers(len(ODD_BYTES))] + content[at:])
    elif kind == "zeros":
        _again(path, content[:at] + bytes(min(512, len(content) - at)) + content[at + 512 :])
    elif kind == "encode":
        encoding = ("utf-16", "utf-8-sig", "cp1252")[rng.integers(3)]
        _again(path, content.decode("utf-8", "replace").encode(encoding, "replace"))
    elif kind == "line ends":
        _again(path, content.replace(b"\r", b"").replace(b"\n", (b"\r", b"\r\n")[at % 2]))
    elif kind == "rename":
        path.rename(path.with_name(f"{at}{path.name}"))
    elif kind == "odd name":
        path.rename(Path(os.fsdecode(os.fsencode(path.with_suffix("")) + b"\xe9" + os.fsencode(path.suffix))))
    elif kind == "duplicate":
        place = path.parent.parent / "more"
        place.mkdir(exist_ok=True)
        _again(place / path.name, content)
    elif kind == "forbid":
        _again(path, content)
        path.chmod(0)
    elif kind == "empty":
        _again(path, b"")
    else:
        path.unlink()
        if kind == "folder":
            path.mkdir()
        elif kind == "broken link":
            path.symlink_to("nothing")
        elif kind == "circle":
            path.symlink_to(path.name)
        elif kind == "pipe":
            os.mkfifo(path)


SURPRISES = ["", "\t", "9" * 400, "\u0663", "\u2028", "nan", "]:", "-", ";", '"', ","]


@st.composite
def damaged_lines(draw: st.DrawFn, good: list[str]) -> str:
    """Lines of a format, some with characters lost, doubled or replaced, and lines of anything."""
    lines = []
    for line in draw(st.lists(st.one_of(st.sampled_from(good), st.text(max_size=40)), max_size=12)):
        if line and draw(st.booleans()):
            at = draw(st.integers(0, len(line) - 1))
            surprise = draw(st.sampled_from([line[at] * 2, *SURPRISES]))
            line = line[:at] + surprise + line[at + draw(st.integers(0, 3)) :]
        lines.append(line)
    return draw(st.sampled_from(["\n", "\r\n", "\r"])).join(lines)


if __name__ == "__main__":
    iemocap(Path(sys.argv[1]), each=4, seconds=None)
