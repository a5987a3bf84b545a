from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import make_corpus
from scipy import stats

from mer_lib import conditions, corpora, experiments
from mer_lib.conditions import CHANGES, CONDITIONS, FULL, Change, Trial, changed, verdicts
from mer_lib.corpora import duet
from mer_lib.corpora.base import EMOTIONS, Corpus
from mer_lib.experiments import PARTS, VARIANTS, Run, keep_results
from mer_lib.features.batches import Prepared, Utterances
from mer_lib.metrics import scores
from mer_lib.tables import ceilings_by_kind
from mer_lib.training import TrainingConfig, predict

SHORT = TrainingConfig(epochs=1, batch=16)
FOLDS = 4


def planted_corpus() -> Corpus:
    """The tiny corpus, with a planted truth in which every second group of four is a focus of two clauses."""
    corpus = make_corpus()
    focus = corpus.table["turn"] // len(EMOTIONS) % 2 == 1
    truth = pd.DataFrame({"voice": "neutral", "stressed": np.where(focus, 1, -1)}, index=corpus.table.index)
    truth["says"] = np.where(focus, "happy|sad", "happy")
    halves = corpus.table["text"].str.partition(", ")
    truth["clauses"] = np.where(focus, halves[0] + ",|" + halves[2], corpus.table["text"])
    return replace(corpus, truth=truth)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Let every corpus be the tiny one, drawn anew or not."""
    corpus = planted_corpus()
    monkeypatch.setattr(corpora, "load", lambda name, root=None: corpus)
    monkeypatch.setattr(conditions, "drawn", lambda corpus, draw, home, jobs: home / str(draw))
    for kept in (experiments._corpus, experiments.prepared):
        kept.cache_clear()
    yield tmp_path
    for kept in (experiments._corpus, experiments.prepared):
        kept.cache_clear()


def small(variant: str = "A+T", seed: int = 0) -> Run:
    options = tuple(sorted({**VARIANTS[variant], "dim": 8, "heads": 2}.items()))
    return Run("duet-x", 1, seed, variant, options=options, training=SHORT)


def same(one: Utterances, other: Utterances) -> bool:
    if one.ids != other.ids or not torch.equal(one.labels, other.labels):
        return False
    pairs = [*zip(one.audio, other.audio, strict=True), *zip(one.text, other.text, strict=True)]
    pairs += zip(one.spans, other.spans, strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# Changes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_leaves_its_input_alone_and_repeats_with_its_seed(name: str, data: Prepared) -> None:
    part, change = data.train, CHANGES[name]
    before = Utterances(
        part.ids, *([x.clone().numpy() for x in xs] for xs in (part.audio, part.text, part.spans)), part.labels.tolist()
    )
    once, again, other = change(part, 0.5, rng()), change(part, 0.5, rng()), change(part, 0.5, rng(1))
    assert same(part, before)
    assert same(once, again)
    assert not same(once, part)
    assert not same(once, other)


def test_fewer_labels_are_a_share_of_each_emotion_and_never_none(data: Prepared) -> None:
    for share, each in ((1.0, 8), (0.5, 4), (0.25, 2), (0.01, 1)):
        kept = conditions.fewer(data.train, share, rng())
        assert np.bincount(kept.labels.numpy()).tolist() == [each] * 4
        assert [i for i in data.train.ids if i in set(kept.ids)] == kept.ids, "their order stays"


def test_a_missing_voice_is_one_step_that_says_nothing(data: Prepared) -> None:
    half = conditions.no_voice(data.test, 0.5, rng())
    gone = [len(frames) == 1 and not frames.any() for frames in half.audio]
    assert sum(gone) == len(data.test) // 2
    assert all(g or torch.equal(a, b) for g, a, b in zip(gone, half.audio, data.test.audio, strict=True))
    batch = conditions.no_voice(data.test, 1.0, rng()).batch(range(5))
    assert batch.audio_mask.tolist() == [[True]] * 5
    assert not batch.audio.any()
    assert torch.equal(batch.text, data.test.batch(range(5)).text)


def test_missing_words_are_what_the_library_makes_of_an_empty_text(data: Prepared) -> None:
    ids, spans = data.vectors.encode("")
    mute = conditions.no_words(data.test, 1.0, rng())
    for words, span in zip(mute.text, mute.spans, strict=True):
        assert words.tolist() == ids.tolist()
        assert span.tolist() == spans.tolist()
    assert all(torch.equal(a, b) for a, b in zip(mute.audio, data.test.audio, strict=True))


def test_a_system_cannot_tell_utterances_apart_whose_channels_are_both_missing(data: Prepared) -> None:
    result = experiments.fit_on(small(), data)
    nothing = conditions.no_words(conditions.no_voice(data.test, 1.0, rng()), 1.0, rng())
    logits = predict(result.system, nothing)
    np.testing.assert_allclose(logits, logits[:1].repeat(len(logits), 0), atol=1e-5)


def test_voices_are_swapped_among_the_chosen_and_none_keeps_its_own(data: Prepared) -> None:
    part = data.train
    lent = conditions.other_voice(part, 0.5, rng())
    moved = [not torch.equal(a, b) for a, b in zip(lent.audio, part.audio, strict=True)]
    assert sum(moved) == len(part) // 2
    assert sorted(frames.sum().item() for frames in lent.audio) == sorted(frames.sum().item() for frames in part.audio)
    assert torch.equal(lent.labels, part.labels)


def test_words_are_swapped_together_with_their_places(data: Prepared) -> None:
    part = data.train
    lent = conditions.other_words(part, 0.5, rng())
    assert all(len(words) == len(spans) for words, spans in zip(lent.text, lent.spans, strict=True))
    assert sorted(words.sum().item() for words in lent.text) == sorted(words.sum().item() for words in part.text)
    assert 0 < sum(not torch.equal(a, b) for a, b in zip(lent.text, part.text, strict=True)) <= len(part) // 2
    assert all(torch.equal(a, b) for a, b in zip(lent.audio, part.audio, strict=True))


def test_noise_has_the_stated_strength_and_half_of_it_stays_through_the_utterance(data: Prepared) -> None:
    noisy = conditions.noisy_voice(data.train, 2.0, rng())
    added = [(a - b).numpy() for a, b in zip(noisy.audio, data.train.audio, strict=True)]
    assert np.concatenate(added).std() == pytest.approx(2.0, rel=0.1)
    lasting = np.array([frames.mean(0) for frames in added])
    steps = np.mean([1 / len(frames) for frames in added])
    assert lasting.var() == pytest.approx(2.0 + 2.0 * steps, rel=0.15)
    assert same(conditions.noisy_voice(data.train, 0.0, rng()), data.train)


def test_wrong_words_come_from_the_split_and_no_text_gets_longer(data: Prepared) -> None:
    wrong = conditions.wrong_words(data.train, 0.3, rng())
    before, after = torch.cat(data.train.text), torch.cat(wrong.text)
    assert set(after.tolist()) <= set(before.tolist())
    assert 0.15 < float((before != after).float().mean()) < 0.35
    assert [len(words) for words in wrong.text] == [len(words) for words in data.train.text]
    assert same(conditions.wrong_words(data.train, 0.0, rng()), data.train)


def test_a_change_touches_its_splits_only(data: Prepared) -> None:
    after = changed(data, [Change("no_voice", 1.0, ("test",)), Change("fewer", 0.5, ("train",))], 0)
    assert same(after.dev, data.dev)
    assert len(after.train) == len(data.train) // 2
    assert all(len(frames) == 1 for frames in after.test.audio)
    assert not same(after.test, data.test)
    assert after.vectors is data.vectors


def test_splits_and_seeds_draw_apart(data: Prepared) -> None:
    both = [Change("noisy_voice", 1.0, ("train", "dev"))]
    one, other = changed(data, both, 0), changed(data, both, 1)
    assert not same(one.train, other.train)
    shift = [(after.audio[0] - before.audio[0])[0] for after, before in
             ((one.train, data.train), (one.dev, data.dev))]  # fmt: skip
    assert not torch.allclose(*shift)


# What was written down ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("one", CONDITIONS.values(), ids=str)
def test_a_condition_says_all_that_a_reader_must_know_beforehand(one: conditions.Condition) -> None:
    assert one.corpus in duet.names()
    assert re.search(r"\(.*\d{4}\)|same claim", one.claim), "the claim has its reference"
    assert one.claim.endswith(".")
    assert one.why.endswith(".")
    assert set(one.predicted) <= set(VARIANTS) - {conditions.FULL}
    assert set(one.predicted.values()) <= {0, 1}
    for change in one.changes:
        assert change.what in CHANGES
        assert change.amount > 0
        assert set(change.splits) <= set(conditions.EVERYWHERE)


def test_there_are_conditions_for_and_against_every_part_and_two_of_the_kinds_exist() -> None:
    assert len(CONDITIONS) >= 6
    for part in PARTS:
        predicted = {one.predicted[f"A+T (w/o {part})"] for one in CONDITIONS.values()}
        assert predicted == {0, 1}, part
    kinds = set(ceilings_by_kind(duet.process("duet-x")).index)
    assert {one.kind for one in CONDITIONS.values() if one.kind} <= kinds


def test_an_unknown_condition_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no condition 'rain'; there are: independent cues; irony; focus, 2 clauses"):
        conditions.condition("rain")


def test_what_is_scored_is_the_kind_that_the_condition_names(data: Prepared) -> None:
    truth = planted_corpus().truth
    rows = conditions.scored_rows(CONDITIONS["focus, 2 clauses"], data.test, truth)
    assert rows.tolist() == [i for i, name in enumerate(data.test.ids) if truth.at[name, "stressed"] == 1]
    assert len(conditions.scored_rows(CONDITIONS["weak voice"], data.test, truth)) == len(data.test)


# Trials ------------------------------------------------------------------------------------------------------


def test_conditions_that_change_only_the_test_share_one_training(tiny: Path) -> None:
    names = ["independent cues", "no words at test", "wrong words at test", "weak voice"]
    found = conditions.trials(names, draws=[1], seeds=1, home=tiny)
    assert len(found) == 8, "four variants, trained as they are and with a weak voice"
    assert {trial.conditions for trial in found} == {tuple(names[:3]), ("weak voice",)}
    assert len({trial.key() for trial in found}) == 8


def test_a_variant_is_trained_only_where_a_condition_asks_for_it(tiny: Path) -> None:
    found = conditions.trials(["irony", "focus, 3 clauses"], draws=[1], seeds=1, home=tiny)
    asked = {trial.run.variant: trial.conditions for trial in found}
    assert asked["A+T"] == ("irony", "focus, 3 clauses")
    assert asked["A+T (w/o alignment)"] == ("focus, 3 clauses",)


def test_few_labels_are_trained_on_for_as_many_steps_as_all_of_them(tiny: Path) -> None:
    usual = TrainingConfig()
    found = conditions.trials(list(CONDITIONS), draws=[1], seeds=1, home=tiny)
    spent = {name: trial.run.training for trial in found for name in trial.conditions}
    assert spent.pop("a tenth of the labels") == replace(usual, epochs=10 * usual.epochs, patience=10 * usual.patience)
    assert spent.pop("a quarter of the labels") == replace(usual, epochs=4 * usual.epochs, patience=4 * usual.patience)
    assert set(spent.values()) == {usual}


def test_every_draw_is_another_corpus_and_the_sessions_take_turns(tiny: Path) -> None:
    found = conditions.trials(["irony"], draws=range(1, 7), seeds=2, home=tiny)
    assert {trial.draw: trial.run.fold for trial in found} == {1: 1, 2: 2, 3: 3, 4: 4, 5: 1, 6: 2}
    assert {trial.run.root for trial in found if trial.draw == 3} == {str(tiny / "3")}
    assert {trial.run.seed for trial in found} == {0, 1}


def test_a_draw_is_held_only_if_no_condition_variant_or_seed_is_missing() -> None:
    names, usual = ["irony", "weak voice"], json.dumps(asdict(TrainingConfig()), sort_keys=True)
    rows = [
        {"condition": name, "draw": draw, "variant": variant, "seed": seed, "training": usual}
        for name in names
        for draw in (1, 2)
        for variant in (FULL, *CONDITIONS[name].predicted)
        for seed in (0, 1)
    ]
    results = pd.DataFrame(rows)
    assert conditions.held(results, names, 2) == conditions.held(results, names[:1], 1) == {1, 2}
    assert conditions.held(results, names, 3) == conditions.held(results, [*names, "noisy voice"], 1) == set()
    assert conditions.held(results.iloc[:-1], names, 2) == {1}
    assert conditions.held(results.assign(training="{}"), names, 2) == set(), "trained otherwise"
    few = results.assign(condition="a tenth of the labels")
    assert conditions.held(few, ["a tenth of the labels"], 2) == set(), "as long as with all labels"


def test_nothing_to_do_is_refused(tiny: Path) -> None:
    for names, draws, seeds in (([], [1], 1), (["irony"], [], 1), (["irony"], [1], 0)):
        with pytest.raises(ValueError, match="nothing to run"):
            conditions.trials(names, draws, seeds, tiny)


def test_the_key_changes_with_what_is_done_and_not_with_what_is_said_about_it(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = Trial(small(), 1, ("weak voice",))
    key = trial.key()
    told = replace(CONDITIONS["weak voice"], claim="Another one (2030).", why="So.")
    monkeypatch.setitem(CONDITIONS, "weak voice", told)
    assert trial.key() == key
    monkeypatch.setitem(CONDITIONS, "weak voice", replace(told, changes=(Change("other_voice", 0.9, ("train",)),)))
    assert trial.key() != key
    assert replace(trial, run=small(seed=1)).key() != trial.key()


def test_every_condition_on_a_training_is_a_row_with_scores_and_quantities(tiny: Path) -> None:
    names = ("independent cues", "focus, 2 clauses", "no words at test")
    rows = pd.DataFrame(conditions.execute(Trial(small(), 3, names))).set_index("condition")
    assert list(rows.index) == list(names)
    assert set(rows["draw"]) == {3}
    assert len(set(rows["seconds"])) == 1
    assert rows["utterances"].tolist() == [16, 8, 16]
    measured = [name for group in conditions.QUANTITIES.values() for name in group]
    unknown = [tuple(place) for place in np.argwhere(rows[measured].isna())]
    assert unknown == [(2, measured.index("leak"))], "where a channel is missing there is no variance to tell"
    assert rows.loc["independent cues", measured].equals(rows.loc["focus, 2 clauses", measured]), "of the whole split"
    assert rows.loc["no words at test", "ua"] == pytest.approx(rows.loc["independent cues", "ua_without_text"])
    assert rows.loc["no words at test", "probe_text"] == 25, "the same of all utterances"
    json.dumps(rows.reset_index().to_dict("records"))


def test_the_scores_of_a_condition_are_those_of_its_changed_test(tiny: Path) -> None:
    (row,) = conditions.execute(Trial(small(), 1, ("weak voice",)))
    data = changed(experiments.prepared("duet-x", 1), CONDITIONS["weak voice"].changes, 0)
    result = experiments.fit_on(small(), data)
    found = scores(predict(result.system, data.test), data.test.labels.numpy(), result.prior)
    assert {name: row[name] for name in found} == pytest.approx(found)


def test_without_attention_nothing_listens(tiny: Path) -> None:
    (row,) = conditions.execute(Trial(small("A+T (w/o attention)"), 1, ("independent cues",)))
    assert "on_stress" not in row
    assert {"probe_audio", "gap"} <= set(row)


def test_a_sweep_of_conditions_goes_on_where_it_was_stopped(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []

    def counted(trial: Trial) -> list[dict[str, object]]:
        done.append(trial.run.seed)
        if len(done) == 2:
            raise KeyboardInterrupt
        return [{"condition": name, "seed": trial.run.seed} for name in trial.conditions]

    monkeypatch.setattr(conditions, "execute", counted)
    asked = [Trial(small(seed=s), 1, ("independent cues", "weak voice")) for s in range(2)]
    with pytest.raises(KeyboardInterrupt):
        conditions.sweep(asked, tiny / "store")
    assert len(conditions.sweep(asked, tiny / "store")) == 4
    assert done == [0, 1, 1]


def test_a_draw_is_made_once_and_is_as_large_as_what_ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def generate(process: object, size: int, seed: int, out: Path, jobs: int) -> None:
        made.append((process, size, seed))
        (out / "duet-i").mkdir(parents=True)
        (out / "duet-i" / "corpus.json").touch()

    monkeypatch.setattr(conditions, "generate", generate)
    for _ in range(2):
        assert conditions.drawn("duet-i", 7, tmp_path) == tmp_path / "7"
    assert made == [(duet.process("duet-i"), 1800, 7)]


# Results -----------------------------------------------------------------------------------------------------


def made_up(gains: dict[tuple[str, str], list[float]], seeds: int = 2) -> pd.DataFrame:
    """Results in which the full method has 70 and is ahead of a variant by the given points, draw by draw."""
    rows = []
    for (name, variant), by_draw in gains.items():
        for draw, gain in enumerate(by_draw, start=1):
            for seed in range(seeds):
                place = {"condition": name, "draw": draw, "seed": seed, "corpus": "duet-i", "fold": draw}
                luck = {"wa": 0.0, "ua": 70.0 + draw + seed}
                rows.append({**place, "variant": "A+T", **luck})
                rows.append({**place, "variant": variant, "wa": 0.0, "ua": luck["ua"] - gain})
    return pd.DataFrame(rows).drop_duplicates(conditions.ROW)


def test_a_verdict_needs_a_sure_difference_or_an_interval_within_the_margin() -> None:
    found = verdicts(
        made_up({
            ("weak voice", "A+T (w/o L_ua)"): [4.0, 4.1, 3.9, 4.0, 4.0],
            ("weak voice", "A+T (w/o L_sp)"): [0.1, -0.1, 0.2, -0.2, 0.0],
            ("no words at test", "A+T (w/o L_ua)"): [-4.0, -4.1, -3.9, -4.0, -4.0],
            ("no words at test", "A+T (w/o L_sp)"): [9.0, -9.0, 5.0, -2.0, 1.0],
            ("independent cues", "A+T (w/o L_ua)"): [4.0, 4.1, 3.9, 4.0, 4.0],
            ("independent cues", "A+T (w/o L_sp)"): [1.6, 2.2, 1.8, 2.0, 1.9],
            ("independent cues", "A+T (w/o attention)"): [1.0, 1.1, 0.9, 1.0, 1.0],
        })
    )  # fmt: skip
    assert found["verdict"].to_dict() == {
        ("weak voice", "A+T (w/o L_ua)"): "as predicted",
        ("weak voice", "A+T (w/o L_sp)"): "as predicted",
        ("no words at test", "A+T (w/o L_ua)"): "against it",
        ("no words at test", "A+T (w/o L_sp)"): "open",
        ("independent cues", "A+T (w/o L_ua)"): "against it",
        ("independent cues", "A+T (w/o L_sp)"): "open",
        ("independent cues", "A+T (w/o attention)"): "as predicted",
    }
    assert found["draws"].tolist() == [5] * 7
    assert found.loc[("weak voice", "A+T (w/o L_ua)"), "difference"] == pytest.approx(4.0)


def test_a_sure_difference_within_the_margin_does_not_refute_a_predicted_null() -> None:
    gain = {("independent cues", "A+T (w/o L_sp)"): [1.6, 2.2, 1.8, 2.0, 1.9]}
    found = verdicts(made_up(gain)).iloc[0]
    assert found["p"] < 0.001, "surely not 0"
    assert found["p_holm"] == 1.0
    assert found["verdict"] == "open"
    far = verdicts(made_up({("independent cues", "A+T (w/o L_sp)"): [3.1, 3.0, 2.9, 3.2, 2.8]})).iloc[0]
    gaps = np.array([3.1, 3.0, 2.9, 3.2, 2.8])
    assert far["p_holm"] == pytest.approx(stats.ttest_1samp(gaps, 2.0).pvalue)
    assert far["verdict"] == "against it"


def test_few_draws_have_no_verdict_and_a_single_one_no_difference() -> None:
    gains = {("weak voice", "A+T (w/o L_ua)"): [4.0, 4.1, 3.9, 4.0], ("irony", "A+T (w/o attention)"): [9.0]}
    found = verdicts(made_up(gains))
    assert found["verdict"].to_dict() == {("weak voice", "A+T (w/o L_ua)"): "too few draws"}
    with pytest.raises(ValueError, match="two draws"):
        verdicts(made_up({("irony", "A+T (w/o attention)"): [9.0]}))


def test_draws_that_are_not_done_are_left_out() -> None:
    results = made_up({("weak voice", "A+T (w/o L_ua)"): [1.0, 2.0, 3.0]})
    late = results[(results["draw"] == 3) & (results["variant"] != "A+T")].index
    assert verdicts(results.drop(late))["draws"].tolist() == [2]


def test_kept_results_come_back_and_none_is_an_empty_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions, "folder", lambda name: tmp_path)
    assert conditions.recorded().empty
    results = made_up({("weak voice", "A+T (w/o L_ua)"): [1.0, 2.0]})
    keep_results(results, tmp_path / "conditions.csv", conditions.ROW)
    keep_results(results.assign(ua=50.0), tmp_path / "conditions.csv", conditions.ROW)
    assert len(conditions.recorded()) == len(results)
    assert set(conditions.recorded()["ua"]) == {50}
