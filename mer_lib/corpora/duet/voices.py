"""The voices of Duet: twelve speakers, five acted styles, and stress.

Our choice throughout. The signs follow what actors do (Banse and Scherer 1996); the sizes come from trials, where
they were set so that a plain classifier hears the acted style of an unseen speaker in 90 to 97% of utterances, and
the stressed clause in 95 to 99%. Nothing else was looked at. Shown in chapter 02.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np

from mer_lib.corpora.duet.process import DEADPAN, generator


@dataclass(frozen=True)
class Delivery:
    """How something is said.

    Attributes:
        rate: Natural logarithm of the speaking rate against the speaker's own.
        pitch: Points of eSpeak NG against the speaker's own; 20 are about 22% of F0.
        range: Pitch range in points of eSpeak NG, 0 (monotone) to 100.
        level: dB against the speaker's own.
        pause: Added silence between words, in 10 ms.
        tilt: Spectral tilt, in dB per two octaves about 1 kHz.
        jitter: Standard deviation of the speed of a 40 Hz time warp, in %.
        tremor: Depth of a 4.5 to 6.5 Hz modulation of level and pitch.
        breath: Level of breath noise against the voice.
        saturation: Drive of a tanh, a pressed and rough voice.
    """

    rate: float
    pitch: float
    range: float
    level: float
    pause: float
    tilt: float
    jitter: float
    tremor: float
    breath: float
    saturation: float


# fmt: off
STYLES = {  #        rate pitch range level pause  tilt jit. trem. breath sat.
    "happy":   Delivery(.11,  18,  82,  2.5,  0.0,  2.5, 0.6, 0.02, 0.00, 0.4),
    "sad":     Delivery(-.20, -8,  18, -4.5,  2.5, -5.0, 0.9, 0.20, 0.12, 0.0),
    "neutral": Delivery(.00,   0,  42,  0.0,  0.5,  0.0, 0.4, 0.02, 0.03, 0.2),
    "angry":   Delivery(.10,   5,  58,  5.5,  0.0,  6.0, 1.4, 0.04, 0.00, 2.5),
    DEADPAN:   Delivery(-.24,  2,   0, -0.5,  0.0,  3.0, 0.0, 0.00, 0.00, 0.2),
}
SPREAD = Delivery(.07, 4.5, 14, 2.0, 0.8, 2.0, 0.4, 0.04, 0.03, 0.5)
STRESS = Delivery(np.log(.86), 10, 25, 4.0, 0, 0, 0, 0, 0, 0)
BETWEEN_CLAUSES = Delivery(.05, 3.0, 6, 1.4, 0, 0, 0, 0, 0, 0)
# fmt: on
"""Means of the acted styles; the spread within a style; what stress adds; the spread between clauses."""

SPREAD_SHARE = 0.75
"""Share of `SPREAD` that is used; 1.0 makes the styles overlap too much."""


@dataclass(frozen=True)
class Speaker:
    """A speaker and the place where they are recorded.

    Attributes:
        variant: Voice and variant of eSpeak NG. Variants with breath noise are avoided: they never repeat.
        pitch: Points of eSpeak NG.
        rate: Words per minute.
        room: Reverberation time in seconds.
    """

    variant: str
    pitch: int
    rate: int
    room: float


SPEAKERS = {
    "S1F": Speaker("gmw/en+f1", 54, 180, 0.16),
    "S1M": Speaker("gmw/en-US+m3", 52, 172, 0.18),
    "S2F": Speaker("gmw/en-US+Annie", 50, 172, 0.30),
    "S2M": Speaker("gmw/en-GB-scotland+m1", 48, 184, 0.27),
    "S3F": Speaker("gmw/en-GB-scotland+f4", 42, 168, 0.12),
    "S3M": Speaker("gmw/en+m7", 60, 176, 0.14),
    "S4F": Speaker("gmw/en-GB-x-rp+shelby", 66, 188, 0.22),
    "S4M": Speaker("gmw/en-US+Nguyen", 52, 166, 0.20),
    "S5F": Speaker("gmw/en-US+steph", 60, 178, 0.38),
    "S5M": Speaker("gmw/en-029+adam", 50, 180, 0.34),
    "S6F": Speaker("gmw/en-US+Andrea", 54, 164, 0.15),
    "S6M": Speaker("gmw/en-GB-x-rp+max", 68, 190, 0.12),
}


def deliver(style: str, speaker: str, rng: np.random.Generator) -> Delivery:
    """Draw how a speaker acts a style this time.

    Speakers differ in how much they act, in what they act with, and in where they start from.

    Args:
        style: A key of `STYLES`.
        speaker: A key of `SPEAKERS`.
        rng: Draws this utterance.
    """
    habits = generator(0, "habits", speaker)
    neutral, mean, spread = (np.array(astuple(x)) for x in (STYLES["neutral"], STYLES[style], SPREAD))
    expressive = habits.uniform(0.7, 1.15) * habits.normal(1, 0.12, len(mean))
    offset = 0.5 * habits.normal(0, 1, len(mean)) + rng.normal(0, 1, len(mean))
    return Delivery(*(neutral + expressive * (mean - neutral) + SPREAD_SHARE * spread * offset).tolist())


def clauses(delivery: Delivery, number: int, stressed: int, stress: float, rng: np.random.Generator) -> list[Delivery]:
    """Vary a delivery from clause to clause and stress one of them.

    Args:
        delivery: Of the whole utterance.
        number: Number of clauses.
        stressed: The clause that is stressed, from 0; -1 for none.
        stress: Strength of the stress; 1 is the shipped one.
        rng: Draws the variation.
    """
    whole, between, stressing = (np.array(astuple(x)) for x in (delivery, BETWEEN_CLAUSES, STRESS))
    varied = whole + between * rng.normal(0, 1, (number, len(whole)))
    if stressed >= 0:
        varied[stressed] += stress * stressing
    return [Delivery(*row.tolist()) for row in varied]


def settings(speaker: Speaker, delivery: Delivery) -> dict[str, int]:
    """Parameters of `Synthesiser.say` for a delivery.

    A wider range also lifts the median pitch (measured: 0.22 points per point), so that is taken back.
    """
    span = np.clip(delivery.range, 0, 99)
    return {
        "rate": round(speaker.rate * np.exp(delivery.rate)),
        "pitch": round(np.clip(speaker.pitch + delivery.pitch - 0.22 * (span - 42), 0, 99)),
        "range": round(span),
        "word_gap": round(max(delivery.pause, 0)),
    }
