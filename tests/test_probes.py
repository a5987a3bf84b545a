from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from mer_lib import probes, systems
from mer_lib.conditions import some
from mer_lib.features.batches import Prepared, Utterances
from mer_lib.model import MODALITIES

NAMES = [f"{space} {m}" for space in ("encoded", "public", "unique") for m in MODALITIES]


def fresh(data: Prepared, **options: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return systems.build("method", torch.as_tensor(data.vectors.vectors), dim=8, heads=2, **options)


def vectors(emotion: np.ndarray, rng: np.random.Generator, apart: float = 0.0) -> dict[str, np.ndarray]:
    """Vectors in which the emotion stands in the first four columns, and the channel in the fifth."""
    found = {}
    for name in NAMES:
        x = rng.normal(0, 0.1, (len(emotion), 5))
        x[:, :4] += np.eye(4)[emotion]
        x[:, 4] += apart * name.endswith("audio")
        found[name] = x
    return found


def test_vectors_do_not_depend_on_the_company_in_the_batch(data: Prepared) -> None:
    system = fresh(data)
    found = probes.pooled(system, data.test)
    assert set(found) == set(NAMES)
    assert {x.shape for x in found.values()} == {(len(data.test), 8)}
    alone = probes.pooled(system, some(data.test, [3]))
    for name in NAMES:
        np.testing.assert_allclose(alone[name][0], found[name][3], atol=1e-5)


def test_a_probe_reads_what_is_there_and_nothing_where_nothing_is(
    data: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, label = np.random.default_rng(0), data.train.labels.numpy()
    monkeypatch.setattr(probes, "pooled", lambda *_: vectors(label, rng, apart=3.0))
    fitted = probes.Probes(None, data.train)
    found = fitted.ask(vectors(label, rng, apart=3.0), label)
    assert found.pop("leak") > 80  # both spaces know the emotion, and each has noise of its own
    assert set(found.values()) == {100}
    blind = fitted.ask({name: np.zeros((len(label), 5)) for name in NAMES}, label)
    assert blind["probe_audio"] == blind["emotion_unique"] == 25
    assert blind["modality_public"] == 50


def test_the_leak_is_what_a_linear_rule_tells_of_the_unique_from_the_public(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, label = np.random.default_rng(0), np.arange(400) % 4
    mix = rng.normal(size=(5, 5))

    def drawn() -> dict[str, np.ndarray]:
        found = {name: rng.normal(size=(400, 5)) for name in NAMES}
        return found | {"unique audio": found["public audio"] @ mix}

    monkeypatch.setattr(probes, "pooled", lambda *_: drawn())
    fitted = probes.Probes(None, SimpleNamespace(labels=torch.as_tensor(label)))
    found = fitted.ask(drawn(), label)["leak"]
    assert found == pytest.approx(50, abs=2)  # all of the audio, nothing of the text
    silent = fitted.ask(drawn() | {"unique audio": np.full((400, 5), 0.3)}, label)
    assert np.isnan(silent["leak"]), "nothing varies in a channel that is missing, so there is nothing to tell"


def test_equal_clouds_are_not_apart_and_the_gap_does_not_shrink_with_them() -> None:
    rng, label = np.random.default_rng(0), np.arange(40) % 4
    cloud = {name: rng.random((40, 5)) for name in NAMES}
    assert probes.alignment(cloud | {"public text": cloud["public audio"]}) == pytest.approx(
        {"cmd": 0, "gap": 0}, abs=1e-5
    )
    apart = vectors(label, rng, apart=1.0)
    small = probes.alignment({name: 0.1 * x for name, x in apart.items()})
    assert small["gap"] == pytest.approx(probes.alignment(apart)["gap"], rel=1e-5)
    assert small["cmd"] < probes.alignment(apart)["cmd"]


def test_the_gap_is_the_distance_of_the_means_over_the_spread() -> None:
    audio, text = np.array([[0.0, 0.0], [2.0, 0.0]]), np.array([[3.0, 0.0], [5.0, 0.0]])
    cloud = {"public audio": audio, "public text": text}
    assert probes.alignment(cloud)["gap"] == pytest.approx(3.0)  # means 1 and 4, deviation 1 each


def planted(part: Utterances) -> pd.DataFrame:
    """Two clauses of equal length by letters; the second is stressed in every other utterance, the rest is no focus."""
    stressed = np.where(np.arange(len(part)) % 2, 1, -1)
    return pd.DataFrame({"stressed": stressed, "clauses": "aaaa|bbbb"}, index=part.ids)


def test_attention_that_asks_nothing_is_the_prior_alone(data: Prepared) -> None:
    for alignment in ("bias", "words", "none"):
        system = fresh(data, alignment=alignment)
        torch.nn.init.zeros_(system.cross["text"].query.weight)
        torch.nn.init.zeros_(system.cross["text"].query.bias)
        found = probes.on_stress(system, data.test, planted(data.test))
        assert found["on_stress"] == pytest.approx(found["on_stress_prior"], abs=1e-3)
        if alignment == "none":
            assert found["on_stress_prior"] == pytest.approx(found["on_stress_even"], abs=1e-3)
        else:
            assert found["on_stress_prior"] > found["on_stress_even"] + 5


def test_the_share_on_the_stressed_clause_is_that_of_the_pencil() -> None:
    # Two words and three frames; the second word and the last two frames belong to the stressed clause.
    clause = {"words": np.array([0, 1]), "frames": np.array([0, 1, 1])}
    weights = np.array([[0.6, 0.2, 0.2], [0.5, 0.4, 0.1]])
    found = probes._listening(weights, np.full((2, 3), 1 / 3), clause, 1)
    assert found == pytest.approx(
        {"on_stress": 0.5, "on_stress_prior": 2 / 3, "on_stress_even": 2 / 3, "points_at_stress": 0.0}
    )  # per frame .55 on the first clause, (.3 + .15) / 2 on the second


def test_clauses_are_cut_by_letters() -> None:
    found = probes._clauses("abc|abcdefg", np.array([0.1, 0.34, 0.9]), 4)  # 4 of 12 letters with their spaces
    assert found["words"].tolist() == [0, 1, 1]
    assert found["frames"].tolist() == [0, 1, 1, 1]
