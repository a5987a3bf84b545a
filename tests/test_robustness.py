from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import pulses
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss, precision_recall_curve

from mer_lib import robustness, systems
from mer_lib.conditions import no_voice
from mer_lib.corpora import duet
from mer_lib.corpora.base import Corpus
from mer_lib.features.audio import frames, normalise
from mer_lib.features.batches import Prepared
from mer_lib.tables import ceilings_by_class, ceilings_by_kind
from mer_lib.training import predict


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def power(wave: np.ndarray) -> float:
    return float(np.mean(np.square(wave, dtype=np.float64)))


@pytest.mark.parametrize("snr", [20.0, 0.0, -5.0])
def test_noise_has_the_stated_ratio_to_the_sound(snr: float) -> None:
    wave, noise = pulses(200), rng().standard_normal(20_000)
    added = robustness.noisy(wave, noise, snr) - wave
    assert 10 * np.log10(power(wave) / power(added)) == pytest.approx(snr, abs=0.01)
    assert np.corrcoef(added, noise[: len(wave)])[0, 1] == pytest.approx(1, abs=1e-3)


def test_noise_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="5 samples of noise cannot cover 8000"):
        robustness.noisy(pulses(200), np.ones(5), 10)


def test_all_voices_of_a_babble_are_equally_loud_and_fill_it() -> None:
    loud, soft = pulses(200, level=0.5), pulses(310, level=0.01)
    both = robustness.babble([loud, soft], 12_000)
    assert both.shape == (12_000,)
    alone = robustness.babble([loud], 12_000)
    assert power(alone) == pytest.approx(1, rel=0.01)
    assert power(both - alone) == pytest.approx(1, rel=0.01)
    np.testing.assert_allclose(alone[8000:], alone[:4000])


def test_a_room_decays_by_sixty_decibels_in_its_time_and_has_the_stated_direct_sound() -> None:
    impulse = robustness.room(0.5, rng(), direct=3.0)
    assert impulse[0] == 1
    assert 10 * np.log10(1 / np.sum(impulse[1:] ** 2.0)) == pytest.approx(3, abs=0.01)
    left = np.cumsum(impulse[:0:-1] ** 2.0)[::-1]  # Schroeder (1965)
    level = 10 * np.log10(left / left[0])
    slope = np.polyfit(np.arange(2000) / 16_000, level[:2000], 1)[0]
    assert -60 / slope == pytest.approx(0.5, rel=0.1)


def test_a_room_without_walls_changes_nothing_and_no_room_changes_the_length() -> None:
    wave = pulses(200)
    np.testing.assert_allclose(robustness.reverberant(wave, np.array([1.0])), wave, atol=1e-6)
    ringing = robustness.reverberant(wave, robustness.room(0.4, rng()))
    assert ringing.shape == wave.shape
    assert not np.allclose(ringing, wave, atol=0.01)


def test_unchanged_sound_gives_the_features_of_the_pipeline(corpus: Corpus, data: Prepared) -> None:
    speakers = corpus.table["speaker"].to_dict()
    waves = {name: corpus.waveform(name) for name in corpus.table["id"]}
    tables = robustness.heard(waves, lambda wave, luck: wave)
    again = robustness.with_sound(data.test, normalise(tables, speakers))
    assert all(torch.equal(a, b) for a, b in zip(again.audio, data.test.audio, strict=True))
    asked = {name: tables[name] for name in data.test.ids}
    single = robustness.with_sound(data.test, robustness.one_by_one(asked, tables, speakers))
    for a, b in zip(single.audio, data.test.audio, strict=True):
        torch.testing.assert_close(a, b)


def test_each_utterance_has_luck_of_its_own_whatever_the_others(corpus: Corpus) -> None:
    first, second = corpus.table["id"].iloc[:2]
    waves = {name: corpus.waveform(name) for name in (first, second)}

    def change(wave: np.ndarray, luck: np.random.Generator) -> np.ndarray:
        return robustness.noisy(wave, luck.standard_normal(len(wave)), 5)

    both, alone = robustness.heard(waves, change), robustness.heard({second: waves[second]}, change)
    np.testing.assert_array_equal(both[second], alone[second])
    assert not np.allclose(both[second], frames(waves[second]))


def test_one_noisy_utterance_stands_out_among_its_usual_group(corpus: Corpus) -> None:
    speakers = corpus.table["speaker"].to_dict()
    usual = {name: frames(corpus.waveform(name)) for name in corpus.table["id"]}
    asked = dict.fromkeys([corpus.table["id"].iloc[0]], usual[corpus.table["id"].iloc[0]] + 10)
    (found,) = robustness.one_by_one(asked, usual, speakers).values()
    assert found.mean() > 1


@pytest.mark.parametrize("name", ["method", "late", "mmin"])
def test_who_is_told_that_a_channel_is_missing_does_not_look_at_it(data: Prepared, name: str) -> None:
    torch.manual_seed(0)
    system = systems.build(name, torch.as_tensor(data.vectors.vectors))
    deaf = no_voice(data.test, 1.0, rng())
    np.testing.assert_allclose(
        robustness.told(system, data.test, "text"), robustness.told(system, deaf, "text"), atol=1e-5
    )
    assert not np.allclose(robustness.told(system, data.test, "audio"), robustness.told(system, deaf, "audio"))
    before = predict(system, data.test)
    assert not np.allclose(before, robustness.told(system, data.test, "text"))
    np.testing.assert_array_equal(before, predict(system, data.test), err_msg="asking must not change the system")


def test_a_system_without_a_classifier_for_one_channel_says_so(data: Prepared) -> None:
    system = systems.build("early", torch.as_tensor(data.vectors.vectors))
    with pytest.raises(ValueError, match="Early has no answer from audio alone"):
        robustness.told(system, data.test, "audio")


def test_the_interval_is_of_the_mean_recall_and_of_differences_too() -> None:
    label = np.repeat([0, 1, 2, 3], [40, 20, 20, 20])
    right = np.concatenate([np.ones(40), np.zeros(20), np.tile([0, 1], 20)])
    mean, low, high = robustness.interval(right, label)
    assert mean == pytest.approx(100 * (1 + 0 + 0.5 + 0.5) / 4)
    assert high - low == pytest.approx(2 * 1.96 * 100 * np.sqrt(2 * 0.25 / 20) / 4, rel=0.1)
    assert robustness.interval(right - right, label) == (0, 0, 0)
    assert robustness.interval(right[:60], label[:60])[0] == 50


@pytest.mark.parametrize("name", duet.names())
def test_swapping_a_channel_leads_from_the_ceiling_of_both_to_that_of_the_other(name: str) -> None:
    process = duet.process(name)
    known = ceilings_by_class(process)["UA"]
    for channel, other in (("audio", "text"), ("text", "audio")):
        curve = [robustness.swapped_ceiling(process, share, channel) for share in (0, 0.25, 0.5, 0.75, 1)]
        assert curve[0] == pytest.approx(known["both"])
        assert curve[-1] == pytest.approx(known[other])
        assert (np.diff(curve) <= 1e-9).all()
    with pytest.raises(ValueError, match="no channel 'face'"):
        robustness.swapped_ceiling(process, 0.5, "face")


def test_conflicts_are_named_by_who_is_right() -> None:
    assert robustness.conflict("sad", -1, "sad", "sad") == "both right"
    assert robustness.conflict("sad", -1, "sad", "angry") == "both wrong"
    assert robustness.conflict("sad", -1, "angry", "angry") == "words right"
    assert robustness.conflict("sad", -1, "angry", "sad") == "voice right"
    assert robustness.conflict("sad", -1, "angry", "happy") == "neither right"
    assert robustness.conflict("deadpan", -1, "angry", "happy") == "irony"
    assert robustness.conflict("sad", 1, "sad|angry", "happy") == "focus"


@pytest.mark.parametrize("name", duet.names())
def test_what_the_best_rules_reach_in_each_conflict_adds_up_to_their_ceilings(name: str) -> None:
    process = duet.process(name)
    table, known = robustness.right_by_conflict(process), ceilings_by_class(process)["WA"].to_dict()
    known["late"] = ceilings_by_kind(process).loc["all", "late"]
    assert table["share"].sum() == pytest.approx(100)
    for rule in ("audio", "text", "late", "both"):
        assert (table["share"] * table[rule]).sum() / 100 == pytest.approx(known[rule])
    assert ("irony" in table.index) == (name == "duet-x")
    assert table.loc["both right", "both"] > 95
    assert table.loc["both wrong", "both"] < 5


TEN = np.array([0.95, 0.92, 0.85, 0.83, 0.75, 0.72, 0.65, 0.55, 0.52, 0.35])
RIGHT = np.array([1, 1, 1, 0, 1, 0, 1, 1, 0, 0])


def test_the_calibration_error_of_ten_answers_can_be_worked_out_by_hand() -> None:
    gaps = [2 - 1.87, 1 - 1.68, 1 - 1.47, 1 - 0.65, 1 - 1.07, 0 - 0.35]
    assert robustness.calibration_error(TEN, RIGHT) == pytest.approx(np.abs(gaps).sum() / 10)
    table = robustness.reliability(TEN, RIGHT)
    assert table["answers"].tolist() == [1, 2, 1, 2, 2, 2]
    assert (table["right"] - table["confidence"]).abs() @ table["answers"] / 10 == pytest.approx(
        robustness.calibration_error(TEN, RIGHT)
    )
    assert ((table["low"] <= table["right"]) & (table["right"] <= table["high"])).all()


def test_bins_are_those_of_scikit_learn_at_their_edges_too() -> None:
    sure = np.concatenate([np.linspace(0, 1, 11), rng().random(200)])
    right = rng().random(len(sure)) < sure
    table = robustness.reliability(sure, right, 10)
    share, mean = calibration_curve(right, sure, n_bins=10)
    np.testing.assert_allclose(table[["right", "confidence"]], np.column_stack([share, mean]))
    np.testing.assert_allclose(
        np.average(np.abs(share - mean), weights=table["answers"]), robustness.calibration_error(sure, right)
    )


def test_luck_alone_gives_a_calibration_error_that_falls_with_the_number_of_answers() -> None:
    few, many = (robustness.calibration_luck(rng().uniform(0.3, 1, n), repeats=200) for n in (50, 5000))
    assert few[0] > 5 * many[0] > 0
    assert few[1] > few[0]


def test_the_temperature_undoes_a_known_one_and_changes_no_decision() -> None:
    luck = rng()
    logits = luck.normal(0, 2, (4000, 4))
    chance = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    label = np.array([luck.choice(4, p=p) for p in chance])
    assert robustness.fit_temperature(3 * logits, label) == pytest.approx(3, rel=0.1)
    best = robustness.fit_temperature(logits, label)
    assert log_loss(label, chance) == pytest.approx(
        log_loss(label, np.exp(logits / best) / np.exp(logits / best).sum(1, keepdims=True)), rel=0.01
    )
    np.testing.assert_allclose(robustness.confidence(logits), chance.max(1))
    assert (robustness.confidence(logits, 2.0) <= chance.max(1)).all()


def test_who_answers_only_when_sure_has_the_error_of_the_surest() -> None:
    risk = robustness.risk_coverage(TEN, RIGHT)
    np.testing.assert_allclose(risk, np.cumsum(1 - RIGHT) / np.arange(1, 11))
    np.testing.assert_allclose(risk.index, np.arange(1, 11) / 10)
    precision, _, _ = precision_recall_curve(RIGHT, TEN)
    np.testing.assert_allclose(precision[:-1], 1 - risk[::-1])


def test_answers_that_are_equally_sure_count_in_the_mean_over_all_orders() -> None:
    sure = np.array([0.9, 0.6, 0.6])
    for right in ([1, 0, 1], [1, 1, 0]):
        np.testing.assert_allclose(robustness.risk_coverage(sure, np.array(right)), [0, 0.25, 1 / 3])
    exact = robustness.risk_coverage(sure, sure)
    assert isinstance(exact, pd.Series)
    np.testing.assert_allclose(exact, [0.1, 0.25, 0.3])
