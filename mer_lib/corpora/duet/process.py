"""The planted truth of Duet: how an emotion becomes words and a voice, as a table of probabilities.

Every utterance has a latent emotion. The *words* carry a cue, the *voice* carries a cue, and
`Process.joint` lists the probability of every combination. The corpora are drawn from that table
and the ceilings are computed from it, so what is planted and what is claimed cannot differ.

Our choice throughout; the recalls on the diagonals are the deck's (Table 3, rows A and T).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np
import pandas as pd

from mer_lib.corpora.base import EMOTIONS

DEADPAN = "deadpan"
FLIP = {"happy": "angry", "angry": "happy", "sad": "neutral", "neutral": "sad"}
"""What a deadpan voice does to the words: the irony of duet-x."""

NEAR_IN_VOICE = {"happy": "angry", "angry": "happy", "sad": "neutral", "neutral": "sad"}  # alike in arousal
NEAR_IN_WORDS = {"happy": "neutral", "neutral": "happy", "sad": "angry", "angry": "sad"}  # alike in valence

TURNS = (8, 16)
"""Fewest and most turns of a dialogue."""


def confusion(recalls: tuple[float, ...], near: dict[str, str], to_near: float = 0.7) -> np.ndarray:
    """Spread what is left beside each recall: `to_near` of it on the nearest class, the rest evenly.

    Args:
        recalls: Probability that the cue equals the emotion, in the order of `EMOTIONS`.
        near: The class that each class is most often mistaken for.
        to_near: Share of the errors that go to it.

    Returns:
        (4, 4), row = emotion, column = cue; rows sum to 1.
    """
    table = np.empty((4, 4))
    for i, (emotion, recall) in enumerate(zip(EMOTIONS, recalls, strict=True)):
        for j, cue in enumerate(EMOTIONS):
            share = to_near if cue == near[emotion] else (1 - to_near) / 2
            table[i, j] = recall if i == j else (1 - recall) * share
    return table


@dataclass(frozen=True)
class Process:
    """A planted process. The knobs below are for teaching; each setting has its own exact ceilings.

    Attributes:
        name: Name of the corpus.
        shares: Probability of each emotion.
        words: Recall of the cue in the words, per emotion.
        voice: Recall of the cue in the voice, per emotion.
        sessions: Number of sessions; each has two speakers of its own.
        irony: Share of utterances whose deadpan voice turns the words over.
        focus: Share of utterances with several clauses, of which the stressed one is meant.
        clauses: Number of clauses of a focus utterance and its probability.
        inertia: Probability that a turn keeps the emotion of the turn before.
        leak: How strongly a scenario prefers its own emotion, from 0 to 1.
        coupling: How far the errors of the two channels coincide, from 0 (independent) to 1.
        label_noise: Probability that the label is replaced by one of the three others.
        stress: Strength of the stress on the meant clause; 1 is the shipped one.
        noise: Added to the level of the background noise, in dB.
    """

    name: str
    shares: tuple[float, ...]
    words: tuple[float, ...]
    voice: tuple[float, ...]
    sessions: int
    irony: float = 0.0
    focus: float = 0.0
    clauses: tuple[tuple[int, float], ...] = ((2, 0.5), (3, 0.3), (4, 0.2))
    inertia: float = 0.4
    leak: float = 0.2
    coupling: float = 0.0
    label_noise: float = 0.0
    stress: float = 1.0
    noise: float = 0.0

    def channels(self) -> np.ndarray:
        """P(voice cue, words cue | emotion) of an ordinary utterance, (4, 4, 4)."""
        words, voice = confusion(self.words, NEAR_IN_WORDS), confusion(self.voice, NEAR_IN_VOICE)
        independent = np.einsum("yv,yw->yvw", voice, words)
        together = np.stack([_maximal_coupling(v, w) for v, w in zip(voice, words, strict=True)])
        return (1 - self.coupling) * independent + self.coupling * together

    def joint(self) -> pd.DataFrame:
        """Return the probability of every emotion, voice and text.

        Returns:
            One row per combination that can occur, probabilities summing to 1: `emotion` (the label),
            `kind` (ordinary, irony, focus), `voice` (acted style), `stressed` (number of the stressed
            clause from 0; -1 for none), `says` (what the clauses say, joined by "|"), `probability`.
        """
        rows = []
        words = confusion(self.words, NEAR_IN_WORDS)
        ordinary = 1 - self.irony - self.focus
        for y, emotion in enumerate(EMOTIONS):
            for v, w in np.ndindex(4, 4):
                rows.append((emotion, "ordinary", EMOTIONS[v], -1, EMOTIONS[w], ordinary * self.channels()[y, v, w]))
            for m, meant in enumerate(EMOTIONS):
                rows.append((emotion, "irony", DEADPAN, -1, FLIP[meant], self.irony * words[y, m]))
                for style, stressed, says, p in self._focus(meant):
                    rows.append((emotion, "focus", style, stressed, says, self.focus * words[y, m] * p))
        columns = ["emotion", "kind", "voice", "stressed", "says", "probability"]
        table = pd.DataFrame(rows, columns=columns).query("probability > 0")
        table["probability"] *= table["emotion"].map(dict(zip(EMOTIONS, self.shares, strict=True)))
        return self._with_label_noise(table.reset_index(drop=True))

    def _focus(self, meant: str) -> list[tuple[str, int, str, float]]:
        """All ways to mean `meant` by stress: (style, stressed clause, what the clauses say, probability)."""
        ways = []
        others = [emotion for emotion in EMOTIONS if emotion != meant]
        for n, p_n in self.clauses:
            orders = list(permutations(others, n - 1))
            for stressed, order, style in [(s, o, e) for s in range(n) for o in orders for e in EMOTIONS]:
                says = [*order[:stressed], meant, *order[stressed:]]
                ways.append((style, stressed, "|".join(says), p_n / (n * len(orders) * 4)))
        return ways

    def _with_label_noise(self, table: pd.DataFrame) -> pd.DataFrame:
        if not self.label_noise:
            return table
        copies = []
        for label in EMOTIONS:
            kept = np.where(table["emotion"] == label, 1 - self.label_noise, self.label_noise / 3)
            copies.append(table.assign(emotion=label, probability=table["probability"] * kept))
        cues = ["emotion", "kind", "voice", "stressed", "says"]
        return pd.concat(copies).groupby(cues, as_index=False, sort=False)["probability"].sum()

    def scenarios(self) -> pd.DataFrame:
        """Return the scenarios: index `scenario`, `probability`, and P(emotion | scenario) per emotion.

        A third of each emotion's scenarios is scripted: its unemotional sentences are the same in
        every session. Averaged over scenarios the emotions have exactly the class shares.
        """
        rows = {}
        for number in range(12):
            favourite = number % 4
            given = (1 - self.leak) * np.array(self.shares)
            given[favourite] += self.leak
            name = f"script{favourite:02d}" if number >= 8 else f"improv{number:02d}"
            rows[name] = [self.shares[favourite] / 3, *given]
        return pd.DataFrame.from_dict(rows, orient="index", columns=["probability", *EMOTIONS]).rename_axis("scenario")

    def draw(self, size: int, seed: int = 0) -> pd.DataFrame:
        """Draw a corpus of cues, without words or sound.

        Args:
            size: Number of utterances, shared out evenly over the sessions.
            seed: Another seed draws another corpus of the same process.

        Returns:
            One row per utterance: `id`, `emotion`, `speaker`, `session`, `dialogue`, `turn`, `scenario`,
            and the planted `kind`, `voice`, `stressed`, `says`.

        Raises:
            ValueError: If there are fewer utterances than sessions.
        """
        if size < self.sessions:
            raise ValueError(f"{size} utterances cannot fill {self.sessions} sessions; ask for more.")
        rng = generator(seed, self.name, "cues")
        given_emotion = dict(list(replace(self, label_noise=0.0).joint().groupby("emotion", sort=False)))
        scenarios = self.scenarios()
        rows = []
        for number, total in enumerate(np.diff(np.linspace(0, size, self.sessions + 1).astype(int)), start=1):
            session, left, dialogue = f"S{number}", total, 0
            while left:
                dialogue += 1
                turns = min(left, TURNS[0] + pick(rng, np.ones(TURNS[1] - TURNS[0] + 1)))
                left -= turns
                scenario = scenarios.index[pick(rng, scenarios["probability"])]
                gender = pick(rng, np.ones(2))
                for turn, emotion in enumerate(self._chain(rng, scenarios.loc[scenario, list(EMOTIONS)], turns)):
                    speaker = f"{session}{'FM'[(gender + turn) % 2]}"
                    name = f"{session}_{scenario}_{dialogue:02d}_{'FM'[(gender + turn) % 2]}{turn:02d}"
                    cues = given_emotion[emotion]
                    cue = cues.iloc[pick(rng, cues["probability"])]
                    place = (
                        name,
                        self._label(rng, emotion),
                        speaker,
                        session,
                        f"{session}_{scenario}_{dialogue:02d}",
                        turn,
                        scenario,
                    )
                    rows.append((*place, cue["kind"], cue["voice"], cue["stressed"], cue["says"]))
        columns = "id emotion speaker session dialogue turn scenario kind voice stressed says".split()
        return pd.DataFrame(rows, columns=columns)

    def _label(self, rng: np.random.Generator, emotion: str) -> str:
        """The emotion, or with probability `label_noise` one of the three others."""
        if not self.label_noise or rng.random() >= self.label_noise:
            return emotion
        others = [other for other in EMOTIONS if other != emotion]
        return others[pick(rng, np.ones(3))]

    def _chain(self, rng: np.random.Generator, given: pd.Series, turns: int) -> list[str]:
        """Emotions of a dialogue: each turn keeps the last one with probability `inertia`, or is drawn anew."""
        chain: list[str] = []
        for _ in range(turns):
            keep = bool(chain) and rng.random() < self.inertia
            chain.append(chain[-1] if keep else EMOTIONS[pick(rng, given)])
        return chain


def _maximal_coupling(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Joint table with marginals p and q in which the two agree as often as they can."""
    both = np.minimum(p, q)
    rest = 1 - both.sum()
    table = np.diag(both)
    return table + np.outer(p - both, q - both) / rest if rest > 1e-12 else table


def generator(seed: int, *names: str) -> np.random.Generator:
    """A random generator of its own for each named purpose, the same on every machine."""
    return np.random.default_rng([seed, *(zlib.crc32(name.encode()) for name in names)])


def pick(rng: np.random.Generator, weights: np.ndarray | pd.Series) -> int:
    """Draw an index with the given weights (by `random` alone, whose stream NumPy keeps stable)."""
    total = np.cumsum(np.asarray(weights, dtype=float))
    return int(np.searchsorted(total, rng.random() * total[-1], side="right"))


_IEMOCAP = np.array([1636, 1084, 1708, 1103])
_MSP = np.array([2644, 885, 3477, 792])

PROCESSES = {
    "duet-i": Process(
        name="duet-i",
        shares=tuple((_IEMOCAP / _IEMOCAP.sum()).tolist()),
        words=(0.91, 0.88, 0.72, 0.71),
        voice=(0.57, 0.64, 0.66, 0.91),
        sessions=5,
    ),
    "duet-m": Process(
        name="duet-m",
        shares=tuple((_MSP / _MSP.sum()).tolist()),
        words=(0.87, 0.69, 0.72, 0.90),
        voice=(0.85, 0.73, 0.67, 0.52),
        sessions=6,
    ),
    "duet-x": Process(
        name="duet-x",
        shares=(0.25, 0.25, 0.25, 0.25),
        words=(0.95, 0.95, 0.95, 0.95),
        voice=(0.80, 0.80, 0.80, 0.80),
        sessions=5,
        irony=1 / 6,
        focus=1 / 2,
    ),
}
