from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from sklearn.naive_bayes import BernoulliNB

from mer_lib import shortcuts
from mer_lib.ceilings import GOALS, ceilings
from mer_lib.corpora import duet
from mer_lib.corpora.base import EMOTIONS, Corpus
from mer_lib.metrics import scores

TOY = pd.DataFrame(
    {
        "scene": ["bar"] * 4 + ["wake"] * 2 + ["bar", "wake", "moon"],
        "emotion": ["happy", "happy", "happy", "angry", "sad", "neutral", "happy", "sad", "angry"],
    },
    index=list("abcdefghi"),
)


def halves(corpus: Corpus) -> list[shortcuts.Split]:
    return [(fold.train + fold.dev, fold.test) for fold in corpus.folds()]


def test_a_lookup_counts_and_adds_one_utterance_shared_out_like_training() -> None:
    learn = shortcuts.lookup(TOY["scene"], TOY["emotion"])
    shares = np.exp(learn(list("abcdef"), list("ghi")))
    prior = np.array([3, 1, 1, 1]) / 6
    np.testing.assert_allclose(shares[0], (np.array([3, 0, 0, 1]) + prior) / 5)
    np.testing.assert_allclose(shares[1], (np.array([0, 1, 1, 0]) + prior) / 3)
    np.testing.assert_allclose(shares[2], prior, err_msg="a scene that training lacks tells nothing")


def test_clues_hold_one_column_each_and_no_word_of_the_utterance_itself_but_its_sentence(corpus: Corpus) -> None:
    found = shortcuts.clues(corpus.table)
    assert found.index.equals(corpus.table.index)
    assert set(found["nothing"]) == {""}
    assert found[["turn", "words", "seconds"]].max().max() < shortcuts.BINS
    turns = corpus.table[corpus.table["dialogue"] == "S1-d"].sort_values("turn")
    assert found.loc[turns.index, "before"].tolist() == ["", *turns["emotion"].iloc[:-1]]


@pytest.mark.parametrize("name", duet.names())
def test_what_the_scenario_tells_is_its_ceiling(name: str) -> None:
    process = replace(duet.process(name), irony=0.0, focus=0.0)
    for one in (process, replace(process, label_noise=0.2)):
        ours, theirs = shortcuts.planted(one), ceilings(one, dialogues=1)
        np.testing.assert_allclose(ours.loc["scenario"], theirs.loc["scenario", list(GOALS)].astype(float))


def test_what_the_turn_before_tells_can_be_worked_out_by_hand() -> None:
    even = replace(duet.process("duet-x"), leak=0.0, inertia=0.4)
    assert shortcuts.planted(even, starts=0.0).loc["before", "accuracy"] == pytest.approx(0.4 + 0.6 / 4)
    assert shortcuts.planted(even, starts=1.0).loc["before", "accuracy"] == pytest.approx(1 / 4)
    flipped = replace(even, label_noise=0.75)  # labels are drawn anew, evenly
    assert shortcuts.planted(flipped).loc["before", "accuracy"] == pytest.approx(1 / 4)
    skewed = shortcuts.planted(duet.process("duet-m"))
    np.testing.assert_allclose(
        skewed.loc[["nothing", "speaker", "turn"], "accuracy"], max(duet.process("duet-m").shares)
    )
    np.testing.assert_allclose(skewed.loc[["nothing", "speaker", "turn"], "mean_recall"], 1 / 4)


def test_a_lookup_comes_close_to_what_was_planted_on_a_corpus_drawn_anew() -> None:
    process = replace(duet.process("duet-x"), leak=0.5)
    table = process.draw(1500, seed=1).set_index("id", drop=False)
    sessions = table["session"].unique()
    splits = [
        (table.index[table["session"] != s].tolist(), table.index[table["session"] == s].tolist()) for s in sessions
    ]
    measured = shortcuts.by_session(
        shortcuts.judged(table, splits, shortcuts.lookup(table["scenario"], table["emotion"]))
    )
    assert measured["wa"].mean() == pytest.approx(100 * shortcuts.planted(process).loc["scenario", "accuracy"], abs=6)


def test_what_has_the_same_name_is_never_dealt_to_both_sides(corpus: Corpus) -> None:
    rng = np.random.default_rng(0)
    for by in ("id", "speaker"):
        splits = shortcuts.dealt(corpus.table[by], 4, rng)
        assert sorted(i for _, test in splits for i in test) == sorted(corpus.table["id"])
        for train, test in splits:
            assert len(train) + len(test) == len(corpus)
            assert not set(corpus.table.loc[train, by]) & set(corpus.table.loc[test, by])


def test_a_classifier_answers_in_the_order_of_the_emotions_and_knows_only_those_it_met(corpus: Corpus) -> None:
    features = corpus.table["emotion"].str.get_dummies()
    learn = shortcuts.classifier(BernoulliNB(), features, corpus.table["emotion"])
    ids = corpus.table["id"].tolist()
    assert (learn(ids, ids).argmax(axis=1) == corpus.table["emotion"].map(EMOTIONS.index)).all()
    calm = corpus.table.index[corpus.table["emotion"] != "angry"].tolist()
    assert np.isfinite(learn(calm, ids)).all()
    assert (learn(calm, ids).argmax(axis=1) != EMOTIONS.index("angry")).all()


def test_scores_by_session_are_those_of_the_metrics(corpus: Corpus) -> None:
    rng = np.random.default_rng(0)
    logits = pd.DataFrame(rng.normal(size=(len(corpus), 4)), corpus.table.index)
    splits = halves(corpus)
    found = shortcuts.by_session(
        shortcuts.judged(corpus.table, splits, lambda _, test: logits.loc[list(test)].to_numpy())
    )
    for (train, test), (_, row) in zip(splits, found.iterrows(), strict=True):
        label, known = (corpus.table.loc[ids, "emotion"].map(EMOTIONS.index).to_numpy() for ids in (test, train))
        wanted = scores(logits.loc[test].to_numpy(), label, np.bincount(known, minlength=4) / len(known))
        assert row.to_dict() == pytest.approx({name: wanted[name] for name in ("wa", "ua")})


def scenes() -> pd.DataFrame:
    """Two sessions; in both, the bar makes happy and the wake makes sad three times as likely."""
    rows = [
        (f"{session}{scene}{emotion}{number}", session, scene, emotion)
        for session in ("S1", "S2")
        for scene, likely in (("bar", "happy"), ("wake", "sad"))
        for emotion in ("happy", "sad")
        for number in range(3 if emotion == likely else 1)
    ]
    return pd.DataFrame(rows, columns=["id", "session", "scenario", "emotion"]).set_index("id", drop=False)


def test_a_label_is_favoured_by_a_scenario_as_the_other_sessions_have_it() -> None:
    table = scenes()
    found = shortcuts.favoured(table)
    likely = table["scenario"].map({"bar": "happy", "wake": "sad"})
    assert (found == (table["emotion"] == likely)).all()
    table.loc[table["session"] == "S1", "emotion"] = "sad"  # S1 is judged by S2, which stays
    found = shortcuts.favoured(table)
    assert found[table["scenario"] == "wake"].loc[lambda s: s.index.str.startswith("S1")].all()
    alone = table.assign(scenario=table["session"])
    assert shortcuts.favoured(alone).empty, "a scenario of one session has nothing to be judged by"


def test_who_guesses_by_the_scenario_relies_on_it_and_who_is_always_right_does_not() -> None:
    table = scenes()
    guess = table["scenario"].map({"bar": "happy", "wake": "sad"})
    favour = shortcuts.favoured(table)
    decided = table[["id", "session", "emotion"]].reset_index(drop=True)
    guesses = decided.assign(adjusted=guess.to_numpy())
    np.testing.assert_allclose(shortcuts.reliance(guesses, favour), [100, 100])
    np.testing.assert_allclose(shortcuts.reliance(decided.assign(adjusted=decided["emotion"]), favour), [0, 0])
    bar = guesses[guesses["id"].str.contains("bar")]
    assert shortcuts.reliance(bar, favour).empty, "the bar favours all of its happy ones and none of its sad ones"
    for one_kind in (True, False):  # nobody is favoured, or all are
        assert shortcuts.reliance(guesses, favour[favour == one_kind]).empty
    by_fold = guesses.drop(columns="session").assign(fold=1)
    assert shortcuts.reliance(by_fold, favour).to_dict() == {1: 100}


@pytest.mark.parametrize("tries", [1, 2, 3, 5])
def test_the_expected_choice_is_the_mean_over_all_sets_of_runs(tries: int) -> None:
    judge, score = np.array([3.0, 9.0, 4.0, 7.0, 1.0]), np.array([10.0, 20.0, 70.0, 40.0, 50.0])
    sets = list(combinations(range(5), tries))
    by_hand = np.mean([score[max(one, key=lambda i: judge[i])] for one in sets])
    assert shortcuts.chosen(judge, score, tries) == pytest.approx(by_hand)
    best = np.mean([max(score[list(one)]) for one in sets])
    assert shortcuts.chosen(score, score, tries) == pytest.approx(best)


@pytest.mark.parametrize(("judge", "tries"), [([1.0, 2.0], 3), ([1.0, 2.0], 0), ([1.0], 1)])
def test_an_impossible_choice_is_refused(judge: list[float], tries: int) -> None:
    with pytest.raises(ValueError, match=f"cannot choose among {tries} runs, given {len(judge)} values"):
        shortcuts.chosen(judge, [1.0, 2.0], tries)


def test_thinning_takes_the_same_share_of_all_but_one_emotion_in_each_session(corpus: Corpus) -> None:
    thin = shortcuts.thinned(corpus.table, "neutral", 0.25, np.random.default_rng(0))
    left = thin.pivot_table("id", "session", "emotion", aggfunc="count")
    assert (left["neutral"] == 4).all()
    assert (left.drop(columns="neutral") == 1).all().all()


def test_the_orientation_for_readers_without_a_licence_says_where_it_comes_from() -> None:
    rows = shortcuts.orientation()
    assert rows["accuracy"].between(25, 100).all()
    assert (rows["source"].str.len() > 10).all()
    assert set(rows["corpus"]) == {"iemocap"}
