"""What a trained system knows, and where it looks: linear probes, distances, attention on the stressed clause.

Shown in chapter 12; chapters 8 to 10 build the same by hand.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.metrics import r2_score, recall_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from mer_lib.features.batches import Batch, Utterances
from mer_lib.losses import central_moment_discrepancy
from mer_lib.model import MODALITIES, frame_spans, pool

SPACES = ("public", "unique")


@torch.no_grad()
def pooled(system: nn.Module, part: Utterances) -> dict[str, np.ndarray]:
    """What a trained system makes of a split, pooled over time: "encoded audio", "public text" ..., (utterances, d)."""
    found: dict[str, list[Tensor]] = {}
    for batch in part.batches(128):
        output = system.eval()(batch)
        spaces = {"encoded": {m: pool(h, batch.mask(m)) for m, h in output.encoded.items()}}
        spaces |= {"public": output.public, "unique": output.unique}
        for space, vectors in spaces.items():
            for m in vectors:
                found.setdefault(f"{space} {m}", []).append(vectors[m])
    return {name: torch.cat(parts).numpy() for name, parts in found.items()}


def probe(known: np.ndarray, label: np.ndarray) -> Any:
    """Fit a linear classifier that weighs all classes alike; `told` scores it."""
    return make_pipeline(StandardScaler(), RidgeClassifier(class_weight="balanced")).fit(known, label)


def told(fitted: Any, asked: np.ndarray, label: np.ndarray) -> float:
    """Mean recall of a probe, in percent."""
    return 100 * float(recall_score(label, fitted.predict(asked), labels=np.unique(label), average="macro"))


class Probes:
    """Linear probes of a trained system, fitted on training utterances (Alain & Bengio 2017)."""

    def __init__(self, system: nn.Module, part: Utterances) -> None:
        vectors = pooled(system, part)
        self.emotion = {name: probe(known, part.labels.numpy()) for name, known in vectors.items()}
        self.modality = probe(*_both(vectors))
        self.unique = {m: _linear_rule(vectors[f"public {m}"], vectors[f"unique {m}"]) for m in MODALITIES}

    def ask(self, vectors: dict[str, np.ndarray], label: np.ndarray) -> dict[str, float]:
        """What can be read from vectors that `pooled` returns, in percent.

        `leak` is which share of the variance of the unique vectors a linear rule tells from the public ones of the
        same channel (R^2), the mean of both channels: near 100 where the spaces hold the same, 0 where one tells
        nothing of the other; below 0 where the rule does worse than the mean. It is NaN where the unique vectors of a
        channel are all the same, as when that channel is missing: then there is no variance to tell.
        """
        found = {name: told(self.emotion[name], vectors[name], label) for name in self.emotion}
        return {
            **{f"probe_{m}": found[f"encoded {m}"] for m in MODALITIES},
            **{f"emotion_{space}": sum(found[f"{space} {m}"] for m in MODALITIES) / 2 for space in SPACES},
            "modality_public": told(self.modality, *_both(vectors)),
            "leak": 100 * float(np.mean([_explained(self.unique[m], vectors, m) for m in MODALITIES])),
        }


def _linear_rule(known: np.ndarray, wanted: np.ndarray) -> Any:
    return make_pipeline(StandardScaler(), Ridge()).fit(known, wanted)


def _explained(rule: Any, vectors: dict[str, np.ndarray], modality: str) -> float:
    wanted = vectors[f"unique {modality}"]
    if wanted.std(0).max() < 1e-5:  # what is left is rounding
        return float("nan")
    return float(r2_score(wanted, rule.predict(vectors[f"public {modality}"]), multioutput="variance_weighted"))


def _both(vectors: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The public vectors of both channels, and which is which."""
    clouds = [vectors[f"public {m}"] for m in MODALITIES]
    return np.concatenate(clouds), np.repeat([0, 1], len(clouds[0]))


def alignment(vectors: dict[str, np.ndarray]) -> dict[str, float]:
    """How far the public vectors of the channels are apart.

    Returns:
        `cmd`, the central moment discrepancy that L_sp lowers; and `gap`, the distance of the two means over the
        spread within a cloud, which does not fall when everything shrinks.
    """
    audio, text = (vectors[f"public {m}"] for m in MODALITIES)
    spread = np.sqrt((audio.var(0) + text.var(0)).sum() / 2)
    return {
        "cmd": float(central_moment_discrepancy(torch.as_tensor(audio), torch.as_tensor(text))),
        "gap": float(np.linalg.norm(audio.mean(0) - text.mean(0)) / max(spread, 1e-9)),
    }


@torch.no_grad()
def on_stress(system: nn.Module, part: Utterances, truth: pd.DataFrame) -> dict[str, float]:
    """Where the words of the stressed clause listen, in the focus utterances of a split.

    Clauses are cut by letters, in the text and in the sound.

    Args:
        system: A trained method with attention.
        part: The split.
        truth: What was planted, indexed by id.

    Returns:
        In percent, means over heads and over utterances: `on_stress`, the share of these words' attention that falls
        on frames of their own clause; `on_stress_prior`, the same if only the alignment prior spoke;
        `on_stress_even`, if all frames got the same; `points_at_stress`, how often the clause whose frames get most
        attention from all words is the stressed one.
    """
    found = []
    for rows in torch.tensor([truth.at[name, "stressed"] >= 0 for name in part.ids]).nonzero()[:, 0].split(128):
        batch = part.batch(rows.tolist())
        maps = system.eval()(batch).attention["text"].mean(1), _prior_alone(system, batch)
        for i, row in enumerate(rows.tolist()):
            words, frames = part.spans[row].numpy().mean(1), len(part.audio[row])
            planted = truth.loc[part.ids[row]]
            weights, prior = (w[i, : len(words), :frames].numpy() for w in maps)
            found.append(_listening(weights, prior, _clauses(planted["clauses"], words, frames), planted["stressed"]))
    return (100 * pd.DataFrame(found).mean()).to_dict()


def _prior_alone(system: Any, batch: Batch) -> Tensor:
    """Weights of the words on the frames if no question were asked, (batch, words, frames)."""
    bias = system.prior(batch.text_span, frame_spans(batch.audio_mask))
    if bias is None:
        bias = torch.zeros(*batch.text_mask.shape, batch.audio_mask.shape[1])[:, None]
    return bias.masked_fill(~batch.audio_mask[:, None, None, :], float("-inf")).softmax(-1).mean(1)


def _clauses(texts: str, words: np.ndarray, frames: int) -> dict[str, np.ndarray]:
    """Number of the clause of each word (given by its middle, from 0 to 1) and of each of some frames."""
    ends = np.cumsum([len(text) + 1 for text in texts.split("|")])
    places = {"words": words, "frames": (np.arange(frames) + 0.5) / frames}
    return {name: np.searchsorted(ends[:-1] / ends[-1], at, "right") for name, at in places.items()}


def _listening(
    weights: np.ndarray, prior: np.ndarray, clause: dict[str, np.ndarray], stressed: int
) -> dict[str, float]:
    mine, there = clause["words"] == stressed, clause["frames"] == stressed
    per_frame = pd.Series(weights.mean(0)).groupby(clause["frames"]).mean()
    return {
        "on_stress": weights[mine][:, there].sum(1).mean() if mine.any() else np.nan,
        "on_stress_prior": prior[mine][:, there].sum(1).mean() if mine.any() else np.nan,
        "on_stress_even": there.mean(),
        "points_at_stress": float(per_frame.idxmax() == stressed),
    }
