"""From a waveform to frames: log-mel energies, pitch, voicing, loudness and the melody as a whole.

The spectrum comes from torchaudio, the pitch from Praat, see `mer_lib.features.pitch`. Shown in chapter 04.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from joblib import Parallel, delayed

from mer_lib.cache import cached
from mer_lib.corpora.base import SAMPLE_RATE, Corpus, CorpusError
from mer_lib.features.check import check_audio
from mer_lib.features.pitch import HOP_SECONDS, MELODY, STACK, TRACK, Pitch, pitch, shipped_pitch, stack
from mer_lib.progress import progress

FRAME_SECONDS = HOP_SECONDS * STACK
"""One frame every 100 ms: short enough to follow a stressed word, and few enough to train fast."""

STEP_SECONDS = 2 * FRAME_SECONDS
"""Models see two neighbouring frames as one step of 200 ms: half the steps, a quarter of the attention."""

MELS = 32
PROSODY = (*TRACK, "loudness", "loudness_change")
FEATURES = tuple(f"mel{i}" for i in range(MELS)) + PROSODY + MELODY
"""Name of each column of `frames`."""

_MAY_BE_NAN = np.array([name in ("pitch", "pitch_change", *MELODY) for name in FEATURES])
_VERSION = "3"  # change it whenever the numbers change, so that no old cache is read


def frames(wave: np.ndarray, sample_rate: int = SAMPLE_RATE, known: Pitch | None = None) -> np.ndarray:
    """Turn a waveform into frames.

    Args:
        wave: float32, shape (samples,), mono.
        sample_rate: In Hz.
        known: Its pitch, where it was tracked before.

    Returns:
        float32, shape (time, len(FEATURES)), one row every `FRAME_SECONDS`: log-mel energies (natural
        log of power), pitch (semitones above 100 Hz; NaN in a frame without voice), its mean absolute
        change (semitones per 10 ms), share of voiced 10 ms steps, harmonicity (strength of Praat's
        autocorrelation, 0 to 1), loudness (dB) and its change (dB); then `melody` of the whole utterance,
        the same in every row. At least one row.

    Raises:
        ValueError: If the waveform is not one-dimensional, is empty, or holds NaN or infinity.
    """
    if wave.ndim != 1 or wave.size == 0 or not np.isfinite(wave).all():
        raise ValueError(f"A waveform is finite numbers of shape (samples,), mono; this one has shape {wave.shape}.")
    mel = _log_mel(wave, sample_rate)
    heard = known or pitch(wave, sample_rate, len(mel))
    loudness = 10 * np.log10(np.exp(mel).sum(axis=1))
    loudness_change = np.abs(np.diff(loudness, prepend=loudness[0]))
    sound = stack(np.column_stack([mel, loudness, loudness_change]).astype(float))
    rows = [sound[:, :MELS], heard.track, sound[:, MELS:], np.tile(heard.melody, (len(sound), 1))]
    return np.column_stack(rows).astype(np.float32)


def _log_mel(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """Log-mel energies every 10 ms, (steps, MELS); what is shorter than one window is followed by silence."""
    import torch  # here, since most who import this module make no frames, and torch takes seconds to load

    wave = np.pad(wave, (0, max(0, round(0.025 * sample_rate) - wave.size)))
    power = _mel_spectrogram(sample_rate)(torch.from_numpy(np.ascontiguousarray(wave, dtype=np.float32)))
    return torch.log(power.T + 1e-7).numpy()


@lru_cache(maxsize=4)
def _mel_spectrogram(sample_rate: int) -> Any:
    from mer_lib._torchaudio import torchaudio

    window, hop = round(0.025 * sample_rate), round(HOP_SECONDS * sample_rate)
    fft = 1 << (window - 1).bit_length()
    return torchaudio.transforms.MelSpectrogram(
        sample_rate, n_fft=fft, win_length=window, hop_length=hop, f_min=60, f_max=sample_rate / 2, n_mels=MELS
    )


def corpus_frames(corpus: Corpus, jobs: int | None = None) -> dict[str, np.ndarray]:
    """Return the frames of every utterance whose sound can be used, from the cache if they were made before.

    Args:
        corpus: Any corpus.
        jobs: Processes to use; by default one per core.

    Returns:
        Utterance id to (time, len(FEATURES)).
    """
    corpus = check_audio(corpus, jobs)
    ids = corpus.table["id"].tolist()
    stored = cached(f"frames-{corpus.name}", f"{_VERSION} {corpus.fingerprint()}", lambda: _extract(corpus, ids, jobs))
    ends = np.cumsum(stored["lengths"])[:-1]
    return dict(zip(ids, np.split(stored["frames"], ends), strict=True))


def _extract(corpus: Corpus, ids: list[str], jobs: int | None) -> dict[str, np.ndarray]:
    known = shipped_pitch(corpus) or {}
    blocks = [ids[start : start + 100] for start in range(0, len(ids), 100)]
    # Decoding and spectra leave the interpreter free for other threads; tracking pitch does not, and wants processes.
    work = Parallel(jobs or -1, prefer="threads" if known else "processes", return_as="generator")
    done = work(delayed(_extract_block)(corpus, block, [known.get(name) for name in block]) for block in blocks)
    rows = [table for block in progress(done, f"frames of {corpus.name}", len(blocks)) for table in block]
    return {"frames": np.concatenate(rows), "lengths": np.array([len(table) for table in rows])}


def _extract_block(corpus: Corpus, ids: list[str], known: list[Pitch | None]) -> list[np.ndarray]:
    return [frames(corpus.waveform(name), corpus.sample_rate, track) for name, track in zip(ids, known, strict=True)]


def normalise(
    tables: Mapping[str, np.ndarray], groups: dict[str, str], may_be_nan: np.ndarray = _MAY_BE_NAN
) -> dict[str, np.ndarray]:
    """Give every feature mean 0 and deviation 1 within each group, and set the pitch of voiceless frames to 0.

    No label is used. With speakers as groups this presumes that several utterances of a speaker are
    at hand when one is judged, as in a recorded session; with one group per utterance it does not.

    Args:
        tables: Utterance id to (time, features), or to (time, layers, features).
        groups: Utterance id to the name of its group, such as its speaker.
        may_be_nan: Which features may be NaN, (features,).

    Returns:
        The same shapes, float32, finite.

    Raises:
        CorpusError: If a feature other than pitch is NaN or infinite.
    """
    members: dict[str, list[str]] = {}
    for name, table in tables.items():
        if not (np.isfinite(table) | (np.isnan(table) & may_be_nan)).all():
            raise CorpusError(f"The features of {name} hold NaN or infinity. Delete its cache and look at its sound.")
        members.setdefault(groups[name], []).append(name)
    done = {}
    for names in members.values():
        rows = np.ma.masked_invalid(np.concatenate([tables[name] for name in names]).astype(np.float64))
        mean, deviation = rows.mean(axis=0).filled(0.0), rows.std(axis=0).filled(0.0)
        for name in names:
            done[name] = np.nan_to_num((tables[name] - mean) / np.maximum(deviation, 1e-5)).astype(np.float32)
    return {name: done[name] for name in tables}
