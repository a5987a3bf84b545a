"""The words of Duet: English utterances that say a given emotion, or several.

`lexicon.toml` lists templates and what may fill them. Every clause under an emotion says that emotion
however it is filled, so the emotion that the words say can be read from the text without error, and the
ceilings of `Process` are those of the text. Many clauses need more than their words: "I'm furious, not sad"
and "I'm sad, not furious" share all of them.

Our choice throughout. Shown in chapter 02.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import numpy as np

from mer_lib.corpora.base import EMOTIONS, CorpusError
from mer_lib.corpora.duet.process import generator, pick

LEXICON = tomllib.loads(files("mer_lib.corpora.duet").joinpath("lexicon.toml").read_text(encoding="utf-8"))
SCRIPTS = tuple(name for name in LEXICON["frames"] if name.startswith("script"))

SHAPES = {"framed": 0.5, "topic": 0.25, "throughout": 0.25}
"""Framed: emotional only by one clause. Topic: one clause about a thing of the frames. Throughout: two clauses."""

KINDS = {"pair": 0.5, "negated": 0.2, "contrast": 0.15, "ambiguous": 0.15}
"""Kinds of the emotional clause of a framed utterance."""

CONNECTIVES = ("and", "but", "though", "yet", "while", ".")
"""What links the clauses of a focus utterance; drawn without looking at what they say."""

DATED, TURNED, FILLED = 0.15, 0.3, 0.15
"""Shares: of frames that say when, of framed utterances that turn the emotion first, of others that have a filler."""

_SLOT = re.compile(r"\{([\w.]+)\}")


def write(says: str, session: str, scenario: str, rng: np.random.Generator) -> list[str]:
    """Write one utterance.

    Args:
        says: The emotion that the words say, or 2 to 4 different ones joined by "|".
        session: "S1" to "S6"; where the scenario is improvised, the frames are this session's own.
        scenario: "improv.." or "script.."; a script has its own frames, the same in every session.
        rng: Only its `random` is used.

    Returns:
        Clauses that make the utterance when joined by spaces. If several emotions are said, one clause each.

    Raises:
        CorpusError: If there is no such emotion, session or script.
    """
    emotions = says.split("|")
    if unknown := set(emotions) - set(EMOTIONS):
        raise CorpusError(f"Words cannot say {sorted(unknown)}; give emotions of {list(EMOTIONS)}, joined by '|'.")
    place = scenario if scenario.startswith("script") else session
    if place not in LEXICON["frames"]:
        raise CorpusError(f"There are no frames for {place!r}; there are some for {list(LEXICON['frames'])}.")
    writer = Writer(place, rng)
    return writer.one(emotions[0]) if len(emotions) == 1 else writer.several(emotions)


def pool(size: int, seed: int, sessions: Sequence[str]) -> list[str]:
    """Write unlabelled sentences for pretraining, each saying one emotion that is not told.

    A third of them are clauses as focus utterances have them, each standing alone: its words keep the
    company of its own emotion only.

    Args:
        size: Number of sentences.
        seed: Another seed writes others.
        sessions: Sessions whose frames may occur, beside those of the scripts.

    Returns:
        `size` sentences, emotions equally often on average.
    """
    rng = generator(seed, "pool", *sessions)
    sentences = []
    for _ in range(size):
        emotion = _choose(rng, EMOTIONS)
        session = _choose(rng, sessions)
        scenario = _choose(rng, SCRIPTS) if rng.random() < 1 / 3 else "improv"
        if rng.random() < 1 / 3:
            sentences.append(write(f"{emotion}|{_choose(rng, EMOTIONS)}", session, scenario, rng)[0])
        else:
            sentences.append(" ".join(write(emotion, session, scenario, rng)))
    return sentences


def templates(emotion: str, kind: str) -> list[str]:
    """Clause templates of one kind that say `emotion`, those shared by the strong emotions included."""
    shared = [] if emotion == "neutral" else LEXICON["shared"]["strong"].get(kind, [])
    return shared + LEXICON[emotion].get(kind, [])


class Writer:
    """Writes one utterance, and uses nothing twice in it."""

    def __init__(self, place: str, rng: np.random.Generator) -> None:
        self.frames, self.rng = LEXICON["frames"][place], rng
        self.used: set[str] = set()

    def one(self, emotion: str) -> list[str]:
        """An utterance that says one emotion, in one clause or two."""
        shape = _weighted(self.rng, SHAPES)
        if shape == "framed":
            clauses = [self.frame(), self.clause(emotion, _weighted(self.rng, KINDS))]
            turned = self.rng.random() < TURNED
            return self.join(clauses[::-1], ["."]) if turned else self.join(clauses, [self.choose(["and", "."])])
        clauses = [self.clause(emotion, kind) for kind in (["topic"] if shape == "topic" else ["single", "single"])]
        if self.rng.random() < FILLED:
            clauses[0] = f"{self.choose(LEXICON['shared']['filler'])} {clauses[0]}"
        return self.join(clauses, [self.choose(["and", ".", ""])][: len(clauses) - 1])

    def several(self, emotions: list[str]) -> list[str]:
        """An utterance with a clause for each emotion; four make two sentences."""
        links = [self.choose(CONNECTIVES) for _ in emotions[1:]]
        if len(emotions) == 4:
            links[1] = "."
        return self.join([self.clause(emotion, "focus") for emotion in emotions], links)

    def frame(self) -> str:
        """An unemotional clause: who did what, and perhaps when."""
        doing, things = _choose(self.rng, self.frames["acts"])
        when = f" {self.choose(LEXICON['shared']['when'])}" if self.rng.random() < DATED else ""
        return f"{self.choose(doing)} {self.choose(things)}{when}"

    def clause(self, emotion: str, kind: str) -> str:
        """A clause that says `emotion`: a template, its slots filled from left to right."""
        text = self.choose(templates(emotion, kind))
        while slot := _SLOT.search(text):
            text = text[: slot.start()] + self.choose(self.fillings(emotion, slot[1])) + text[slot.end() :]
        return text

    def fillings(self, emotion: str, slot: str) -> list[str]:
        """What may fill `slot` in a clause that says `emotion`."""
        of, _, name = slot.rpartition(".")
        if of == "rival":
            of = _choose(self.rng, [other for other in EMOTIONS if other != emotion and name in LEXICON[other]])
        if name == "topic":
            return [thing for _, things in self.frames["acts"] for thing in things]
        return LEXICON[of or emotion].get(name) or self.frames.get(name) or LEXICON["shared"][name]

    def choose(self, options: Sequence[str]) -> str:
        """Draw one of the options, a fresh one if there is any."""
        choice = _choose(self.rng, [option for option in options if option not in self.used] or options)
        self.used.add(choice)
        return choice

    @staticmethod
    def join(clauses: list[str], links: list[str]) -> list[str]:
        """Punctuate clauses. A link is a connective after a comma, a full stop, or "" for the comma alone."""
        joined = [_capital(clauses[0])]
        for link, clause in zip(links, clauses[1:], strict=True):
            joined[-1] += "." if link == "." else ","
            joined.append(_capital(clause) if link == "." else f"{link} {clause}".strip())
        joined[-1] += "."
        return joined


def _choose(rng: np.random.Generator, options: Sequence[Any]) -> Any:
    return options[int(rng.random() * len(options))]


def _weighted(rng: np.random.Generator, shares: dict[str, float]) -> str:
    return list(shares)[pick(rng, np.array(list(shares.values())))]


def _capital(clause: str) -> str:
    return clause[0].upper() + clause[1:]
