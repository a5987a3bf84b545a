"""From the synthesiser's clean sound to a recorded voice: voice quality, then the recording.

Voice quality (jitter, tremor, breath, saturation, tilt) belongs to the acted style and is put on each clause.
The recording (microphone, room, noise, gain) belongs to speaker and place and is put on the whole utterance.
Our choice throughout. Shown in chapter 02.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq
from scipy.signal import fftconvolve, resample_poly

from mer_lib.corpora.base import SAMPLE_RATE
from mer_lib.corpora.duet.process import generator
from mer_lib.corpora.duet.speech import RATE, synthesiser
from mer_lib.corpora.duet.voices import SPEAKERS, Delivery, clauses, deliver, settings

Number = TypeVar("Number", float, np.ndarray)

LEVEL = -35.0
"""Level of a neutral clause, in dB of root mean square against full scale."""


def render(
    texts: list[str],
    voice: str,
    stressed: int,
    speaker: str,
    rng: np.random.Generator,
    stress: float = 1.0,
    noise: float = 0.0,
) -> np.ndarray:
    """Say clauses in an acted style, one of them stressed, and record it.

    Args:
        texts: The clauses.
        voice: The acted style, an emotion or "deadpan".
        stressed: Number of the stressed clause from 0; -1 for none.
        speaker: A key of `voices.SPEAKERS`.
        rng: Draws everything that varies.
        stress: Strength of the stress; 1 is the shipped one.
        noise: Added to the level of the background noise, in dB.

    Returns:
        float32, shape (samples,), mono, at 16,000 Hz, within -1 and 1. Earlier calls make no difference.

    Raises:
        SpeechError: If there is no eSpeak NG on this machine.
    """
    who, pieces = SPEAKERS[speaker], []
    ways = clauses(deliver(voice, speaker, rng), len(texts), stressed, stress, rng)
    with synthesiser() as loaded:
        for text, way in zip(texts, ways, strict=True):
            clean = loaded.say(text, who.variant, **settings(who, way))
            pieces += [voice_quality(resample_poly(trim(clean), 320, 441), way, rng), _pause(rng)]
    return record(np.concatenate(pieces[:-1]), speaker, noise, rng).astype(np.float32)


def trim(wave: np.ndarray, floor: float = 0.005, margin: int = RATE // 100) -> np.ndarray:
    """Cut the silence before and after the speech, up to 10 ms."""
    loud = np.flatnonzero(np.abs(wave) > floor * np.abs(wave).max())
    return wave[max(loud[0] - margin, 0) : loud[-1] + margin]


def voice_quality(wave: np.ndarray, way: Delivery, rng: np.random.Generator) -> np.ndarray:
    """Put jitter, tremor, breath, saturation, tilt and level on a clause."""
    wave = wave / rms(wave)
    wave = warp(wave, max(way.jitter, 0) / 100, max(way.tremor, 0), rng)
    wave = wave + max(way.breath, 0) * breath(wave, rng)
    wave = saturate(wave, max(way.saturation, 0))
    wave = shape(wave, lambda octave: way.tilt / 2 * octave)
    return wave / rms(wave) * decibels(LEVEL + way.level)


def record(wave: np.ndarray, speaker: str, noise: float, rng: np.random.Generator) -> np.ndarray:
    """Put microphone and room of a speaker, background noise (22 to 38 dB below) and gain on an utterance."""
    place = generator(0, "place", speaker)
    colour = np.cumsum(place.normal(0, 1.2, 17))  # a random walk, two steps per octave
    wave = shape(wave, lambda octave: np.interp(octave, np.arange(-5, 3.5, 0.5), colour - colour.mean()))
    wave = reverberate(wave, SPEAKERS[speaker].room, place)
    hiss = shape(rng.normal(0, 1, len(wave)), lambda octave: -3.0 * octave)
    wave = wave + hiss / rms(hiss) * decibels(LEVEL - rng.uniform(22, 38) + noise)
    return np.clip(wave * decibels(rng.uniform(-1.5, 1.5)), -1, 1)


def warp(wave: np.ndarray, jitter: float, tremor: float, rng: np.random.Generator) -> np.ndarray:
    """Let the speed wander 40 times a second (jitter) and waver at 4.5 to 6.5 Hz, with the level (tremor)."""
    seconds = np.arange(len(wave)) / SAMPLE_RATE
    knots = np.arange(0, seconds[-1] + 1 / 20, 1 / 40)
    wander = np.interp(seconds, knots, rng.normal(0, jitter, len(knots)))
    waver = np.sin(2 * np.pi * (rng.uniform(4.5, 6.5) * seconds + rng.random()))
    position = np.cumsum(1 + wander + 0.1 * tremor * waver)
    return np.interp(position, np.arange(len(wave)), wave * (1 + tremor * waver))


def breath(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise that follows the envelope, falling by 6 dB per octave so that it does not undo a falling tilt."""
    window = np.hanning(SAMPLE_RATE // 50)
    envelope = np.sqrt(np.maximum(fftconvolve(wave**2, window / window.sum(), "same"), 0))
    noise = shape(rng.normal(0, 1, len(wave)), lambda octave: -6.0 * np.maximum(octave, -2))
    return envelope * noise / rms(noise)


def saturate(wave: np.ndarray, drive: float) -> np.ndarray:
    """Press the peaks down by a tanh; a drive of 0 changes nothing."""
    return np.tanh(drive * wave) / drive if drive > 0.01 else wave


def shape(wave: np.ndarray, gain: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Filter without delay; `gain` maps octaves about 1 kHz (-5 to 3) to dB."""
    length = next_fast_len(len(wave), real=True)  # a prime length would take ten times as long
    octave = np.log2(np.clip(rfftfreq(length, 1 / SAMPLE_RATE) / 1000, 2**-5, 2**3))
    return irfft(rfft(wave, length) * decibels(gain(octave)), length)[: len(wave)]


def reverberate(wave: np.ndarray, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Add a room: noise that decays by 60 dB in `seconds`, 12 dB below the direct sound."""
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tail = rng.normal(0, 1, len(time)) * 10 ** (-3 * time / seconds)
    tail *= decibels(-12) / np.sqrt(np.sum(tail**2))
    return wave + fftconvolve(wave, tail)[: len(wave)]


def rms(wave: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(wave, dtype=float))) + 1e-12)


def decibels(level: Number) -> Number:
    """The factor on an amplitude."""
    return 10 ** (level / 20)


def _pause(rng: np.random.Generator) -> np.ndarray:
    return np.zeros(int(rng.uniform(0.03, 0.3) * SAMPLE_RATE))
