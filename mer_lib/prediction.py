"""Answers on sounds and texts of one's own: which emotion a trained system hears and reads in them.

**Normalisation.** The systems of the book's tables see each feature normalised by its speaker, over a whole session.
A lone file has no session. Given to such a system, a sound that was normalised by itself sounds like none that it knows
(on duet-i the voice alone falls to chance), and one that was normalised by the corpus carries the pitch of its speaker.
So the systems that answer here are trained on sounds that are normalised one by one, too. That was about as good as
the second way, or better, wherever we looked, and both cost much against whole sessions; `benchmarks/predict.py`
measures all of them, and `tests/test_prediction.py` holds that the first way is worse than this one.

**One modality.** What the voice says alone, and the words, is answered by the two heads of L_ua, which were trained
with the system for just that; on utterances that were held out they are about as good as systems with one modality
(same benchmark). A system without L_ua has no such heads, and answers for both together only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mer_lib import experiments
from mer_lib.corpora import reading
from mer_lib.corpora.base import SAMPLE_RATE, Corpus
from mer_lib.errors import during
from mer_lib.experiments import Run
from mer_lib.features.audio import frames, normalise
from mer_lib.features.batches import MODALITIES, Prepared, Utterances, pair
from mer_lib.features.pretrained import Pretrained, SpeechEncoder, SpeechInputs, TextEncoder, TextInputs
from mer_lib.training import Trained, needs_context, reads

MOST_SECONDS = 60.0
"""Longest sound that is taken for one utterance (our choice)."""

SINGLE = {"audio": "A", "text": "T"}
"""The variant of the method that has one modality only."""

ALONE = {
    "audio": "No text was given, so the voice alone answers.",
    "text": "No sound was given, so the words alone answer.",
}


@dataclass(frozen=True)
class Clip:
    """What is asked about.

    Attributes:
        sound: A file of sound; None for words alone.
        text: What is said in it; empty for the voice alone.
    """

    sound: Path | None = None
    text: str = ""

    def __str__(self) -> str:
        return str(self.sound) if self.sound else f'"{self.text}"'

    @property
    def given(self) -> tuple[str, ...]:
        """Which modalities it has."""
        return tuple(m for m, there in zip(MODALITIES, (self.sound, self.text.strip()), strict=True) if there)


def answer(run: Run, clip: Clip) -> dict[str, Any]:
    """Say what the system of a run hears and reads in a clip; it is trained once, then read from the cache.

    Args:
        run: Which system, trained on what. The row `A+T` answers as `A` where there is no text, and as `T` where there
            is no sound.
        clip: Sound, text, or both.

    Returns:
        `sound`, `text`; `variant`, who answered; `emotion`, the likeliest; `probabilities`, emotion to probability,
        which presume the shares of the emotions in training; `alone`, modality to the same of its head of L_ua, empty
        where there is none; `words` and `unknown`, how many words the text has, and which of them training never
        showed, None where pieces of words are read instead; `dev_ua`, of the system (%); `notes`, in sentences.

    Raises:
        CorpusError: If the sound cannot be used, or the corpus cannot be read.
        EncoderError: If an encoder cannot be used.
        ValueError: If the system needs what the clip does not have.
    """
    if not clip.given:
        raise ValueError("There is nothing to answer about; give a sound, its text, or both.")
    wave = _sound(clip.sound) if clip.sound else None
    notes = []
    if run.variant == "A+T" and len(clip.given) == 1:
        (only,) = clip.given
        run, notes = _alone(run, only), [ALONE[only]]
    with during(f"training or reading {run}"):
        result, data = _trained(run)
    read = reads(result.system)
    if needs_context(result.system):
        raise ValueError(
            f"{run.variant} reads the dialogue around an utterance, and a lone one has none; name another."
        )
    if lacking := [m for m in read if m not in clip.given]:
        raise ValueError(f"{run.variant} needs {' and '.join(read)}; {clip} comes without {lacking[0]}.")
    notes += [f"{run.variant} does not use {m}." for m in clip.given if m not in read]
    words, unknown = _words(clip.text, data) if "text" in read else (None, None)
    sound = _heard(wave, data) if wave is not None and "audio" in read else np.zeros((1, data.features), np.float32)
    pieces, spans = _read(clip.text, data) if "text" in read else data.vectors.encode("")
    part = Utterances([str(clip)], [sound], [pieces], [spans], labels=[0], emotions=data.emotions)
    with torch.no_grad():
        output = result.system(part.batch([0], read))
    emotions = data.emotions
    found = {m: _probabilities(logits, emotions) for m, logits in {"both": output.logits, **output.unimodal}.items()}
    both = found.pop("both")
    return {
        "sound": str(clip.sound) if clip.sound else None,
        "text": clip.text or None,
        "variant": run.variant,
        "emotion": max(both, key=lambda emotion: both[emotion]),
        "probabilities": both,
        "alone": found,
        "words": words,
        "unknown": unknown,
        "dev_ua": max(row["dev_ua"] for row in result.history),
        "notes": notes,
    }


def caveats(corpus: Corpus) -> list[str]:
    """What must be said beside every answer of a system that was trained on a corpus."""
    if corpus.truth is not None:
        about = (
            f"{corpus.name} is synthetic speech: a model of it knows nothing of people, and says nothing about them."
        )
    else:
        about = f"This model knows the {corpus.table['speaker'].nunique()} speakers of {corpus.name}, and nobody else."
    return [
        about,
        "Each sound is normalised by itself, since nobody knows how its speaker usually sounds; the system was trained"
        " so as well, and is right less often than those of the book's tables, which know the speaker's whole session.",
        "Probabilities presume the shares of the emotions in training, and are no better than the system.",
    ]


def _alone(run: Run, modality: str) -> Run:
    """The variant of the method that has one modality only, otherwise alike."""
    encoders = (run.audio, None) if modality == "audio" else (None, run.text)
    single, luck = [SINGLE[modality]], ([run.fold], [run.seed])
    (found,) = experiments.grid(run.corpus, single, *luck, run.root, audio=encoders[0], text=encoders[1])
    return found


@cache
def _trained(run: Run) -> tuple[Trained, Prepared]:
    return experiments.trained(run, normalise_by="id")


def _sound(path: Path) -> np.ndarray:
    with during(f"reading {path}"):
        wave = reading.sound(path)
    if len(wave) > MOST_SECONDS * SAMPLE_RATE:
        raise reading.UnusableError(path, f"lasts {len(wave) / SAMPLE_RATE:.0f} s; cut it into single utterances")
    return wave


def _heard(wave: np.ndarray, data: Prepared) -> np.ndarray:
    """What the system hears, (steps, features)."""
    asked = data.pretrained.get("audio")
    if asked is None:
        return pair(normalise({"": frames(wave)}, {"": ""})[""])
    if asked.top:
        return SpeechInputs(asked)(wave, SAMPLE_RATE).numpy()
    encoder = _encoder(SpeechEncoder, asked)
    (states,) = encoder.vectors([encoder.prepare(wave, SAMPLE_RATE)])
    return normalise({"": states.cpu().numpy()}, {"": ""}, may_be_nan=np.array(False))[""]


def _read(text: str, data: Prepared) -> tuple[np.ndarray, np.ndarray]:
    """What the system reads, and where each piece of it stands."""
    asked = data.pretrained.get("text")
    if asked is None:
        return data.vectors.encode(text)
    if asked.top:
        ids, spans = TextInputs(asked)(text)
        return ids.numpy(), spans
    encoder = _encoder(TextEncoder, asked)
    ids, spans = encoder.prepare(text)
    (states,) = encoder.vectors([ids])
    return states.cpu().numpy(), spans


@cache
def _encoder(kind: Any, asked: Pretrained) -> Any:
    return kind(asked).requires_grad_(False)


def _words(text: str, data: Prepared) -> tuple[int | None, list[str] | None]:
    """How many words a text has, and those that training never showed."""
    if "text" in data.pretrained:
        return None, None
    found = data.vectors.tokenizer.encode(text)
    new = [text[slice(*at)] for number, at in zip(found.ids, found.offsets, strict=True) if not number]
    return len(found.ids), list(dict.fromkeys(new))


def _probabilities(logits: torch.Tensor, emotions: Sequence[str]) -> dict[str, float]:
    return {emotion: round(float(p), 4) for emotion, p in zip(emotions, logits[0].softmax(-1), strict=True)}
