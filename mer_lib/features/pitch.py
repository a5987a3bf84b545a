"""Pitch: its track by Praat, what frames and whole utterances say of it, and the tracks that ship with the book.

Praat (Boersma 1993), through parselmouth: a plain autocorrelation tracker is several semitones off on processed or
noisy speech. It takes most of the time that frames take, so the tracks of the shipped corpora ship, too
(`data/pitch`, made by `tools/ship_pitch.py`). Shown in chapter 04.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from mer_lib import shipped
from mer_lib.cache import digest, whole
from mer_lib.corpora.base import Corpus

HOP_SECONDS = 0.01
STACK = 10
"""Steps of 10 ms in a frame."""

TRACK = ("pitch", "pitch_change", "voiced", "harmonicity")
MELODY = ("melody_low", "melody_middle", "melody_high", "melody_spread", "melody_change")

_VERSION = "1"  # change it whenever the numbers change, and make the shipped files again


class Pitch(NamedTuple):
    """The pitch of one utterance.

    Attributes:
        track: float32, (time, len(TRACK)), a row every 100 ms.
        melody: float32, (len(MELODY),), of the whole utterance, see `melody`.
    """

    track: np.ndarray
    melody: np.ndarray


def pitch(wave: np.ndarray, sample_rate: int, steps: int) -> Pitch:
    """Track the pitch of a sound.

    Args:
        wave: Shape (samples,), mono.
        sample_rate: In Hz.
        steps: How many steps of `HOP_SECONDS` the sound has, see `steps_of`.
    """
    hz, strength = praat(wave, sample_rate, steps)
    voiced = hz > 0
    semitones = np.where(voiced, 12 * np.log2(np.where(voiced, hz, 100.0) / 100.0), np.nan)
    change = np.abs(np.diff(semitones, prepend=np.nan))
    track = stack(np.column_stack([semitones, np.minimum(change, 4.0), voiced, strength]))
    return Pitch(track.astype(np.float32), melody(semitones).astype(np.float32))


def melody(semitones: np.ndarray) -> np.ndarray:
    """Describe the pitch of a whole utterance: how low, how high, how wide, how shaky.

    A frame says what the pitch is now. Whether an utterance is spread over many semitones is a property of
    all its frames, and statistics like these are what classical systems use (Eyben et al. 2016).

    Args:
        semitones: Pitch every 10 ms, (steps,); NaN where voiceless.

    Returns:
        (len(MELODY),): 10th, 50th and 90th percentile, standard deviation, and mean absolute change from one
        voiced step to the next (at most 2 each), in semitones; NaN if fewer than two steps are voiced.
    """
    voiced = semitones[~np.isnan(semitones)]
    if len(voiced) < 2:
        return np.full(len(MELODY), np.nan)
    change = np.abs(np.diff(voiced)).clip(max=2.0).mean()
    return np.array([*np.percentile(voiced, [10, 50, 90]), voiced.std(), change])


def stack(steps: np.ndarray) -> np.ndarray:
    """Average every `STACK` steps of 10 ms, ignoring NaN: (steps, n) to (ceil(steps / STACK), n)."""
    starts = np.arange(0, len(steps), STACK)
    known = ~np.isnan(steps)
    count = np.add.reduceat(known, starts, axis=0)
    total = np.add.reduceat(np.where(known, steps, 0.0), starts, axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def praat(wave: np.ndarray, sample_rate: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Pitch in Hz (0 where unvoiced) and autocorrelation strength, on the steps of the spectrogram."""
    hz, strength = np.zeros(steps), np.zeros(steps)
    if wave.size / sample_rate < 0.06:  # Praat needs three periods of its lowest pitch
        return hz, strength
    import parselmouth  # here, since who needs this module's names only should not wait

    track = parselmouth.Sound(wave.astype(float), sample_rate).to_pitch(HOP_SECONDS, pitch_floor=60, pitch_ceiling=500)
    # Only the first time is rounded: Praat's times may lie half way between ours, where neighbours would collide.
    at = round(track.xs()[0] / HOP_SECONDS) + np.arange(track.get_number_of_frames())
    inside = at < steps
    hz[at[inside]] = track.selected_array["frequency"][inside]
    strength[at[inside]] = track.selected_array["strength"][inside]
    return hz, strength


def steps_of(wave: np.ndarray, sample_rate: int) -> int:
    """How many steps of `HOP_SECONDS` a sound has: one window at least, and one more after each hop."""
    return 1 + max(wave.size, round(0.025 * sample_rate)) // round(HOP_SECONDS * sample_rate)


# The tracks that ship ----------------------------------------------------------------------------------------


def shipped_pitch(corpus: Corpus) -> dict[str, Pitch] | None:
    """The tracks that ship with a corpus, by utterance id; None where there are none, or they are of other sound."""
    try:
        path = shipped.folder("pitch") / f"{corpus.name}.safetensors"
        held = _read(path, path.stat().st_mtime_ns)
    except (FileNotFoundError, SafetensorError):
        return None  # they are only a short cut: what is not there is tracked again
    known, found = held
    return found if known == _of(corpus) and corpus.table.index.isin(list(found)).all() else None


@lru_cache(maxsize=3)
def _read(path: Path, written: int) -> tuple[str, dict[str, Pitch]]:
    with safe_open(path, framework="numpy") as file:
        stored = {name: file.get_tensor(name) for name in ("ids", "lengths", "track", "melody")}
        known = (file.metadata() or {}).get("of", "")
    ids = stored["ids"].tobytes().decode().split("\n")
    tracks = np.split(stored["track"], np.cumsum(stored["lengths"])[:-1])
    return known, {name: Pitch(*row) for name, *row in zip(ids, tracks, stored["melody"], strict=True)}


def _of(corpus: Corpus) -> str:
    """Names the sound that tracks were made of, and how."""
    return digest(_VERSION, corpus.name, corpus.version, str(corpus.sample_rate))


def ship(corpus: Corpus, folder: Path) -> Path:
    """Track every sound of a corpus and write the file that `shipped_pitch` reads, for the book's own corpora."""
    made = Parallel(n_jobs=-1)(delayed(_track)(corpus, name) for name in corpus.table["id"])
    arrays = {
        "ids": np.frombuffer("\n".join(corpus.table["id"]).encode(), dtype=np.uint8),
        "lengths": np.array([len(found.track) for found in made]),
        "track": np.concatenate([found.track for found in made]),
        "melody": np.stack([found.melody for found in made]),
    }
    path = folder / f"{corpus.name}.safetensors"
    with whole(path) as unfinished:
        save_file(arrays, unfinished, {"of": _of(corpus)})
    return path


def _track(corpus: Corpus, utterance: str) -> Pitch:
    wave = corpus.waveform(utterance)
    return pitch(wave, corpus.sample_rate, steps_of(wave, corpus.sample_rate))
