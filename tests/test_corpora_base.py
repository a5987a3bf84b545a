from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import make_corpus

from mer_lib import corpora
from mer_lib.corpora.base import EMOTIONS, Corpus, CorpusError


def changed(corpus: Corpus, **columns: object) -> Corpus:
    """The same corpus with other values in some columns."""
    return replace(corpus, table=corpus.table.assign(**columns))


def test_a_fold_holds_out_one_session_and_chooses_on_the_next(corpus: Corpus) -> None:
    session = corpus.table["session"]
    for number, fold in enumerate(corpus.folds()):
        assert fold.name == f"S{number + 1}"
        assert set(session[fold.test]) == {f"S{number + 1}"}
        assert set(session[fold.dev]) == {f"S{(number + 1) % 4 + 1}"}
        assert set(session[fold.train]) == {f"S{n}" for n in (1, 2, 3, 4)} - set(session[fold.test]) - set(
            session[fold.dev]
        )


@pytest.mark.parametrize("by", ["session", "scenario"])
def test_no_speaker_and_no_utterance_is_in_two_parts_of_a_fold(corpus: Corpus, by: str) -> None:
    for fold in corpus.folds(by):
        parts = [fold.train, fold.dev, fold.test]
        for column in ("id", "speaker"):
            seen = [set(corpus.table.loc[part, column]) for part in parts]
            assert sum(map(len, seen)) == len(set().union(*seen))
        assert all(parts)


def test_every_utterance_is_tested_exactly_once_when_sessions_are_left_out(corpus: Corpus) -> None:
    tested = [utterance for fold in corpus.folds() for utterance in fold.test]
    assert sorted(tested) == sorted(corpus.table["id"])
    assert all(len(fold.train) + len(fold.dev) + len(fold.test) == len(corpus) for fold in corpus.folds())


def test_folds_by_scenario_share_no_scenario_with_the_test_part(corpus: Corpus) -> None:
    scenario = corpus.table["scenario"]
    for plain, fold in zip(corpus.folds(), corpus.folds("scenario"), strict=True):
        assert not set(scenario[fold.test]) & (set(scenario[fold.train]) | set(scenario[fold.dev]))
        assert set(fold.test) < set(plain.test)
        assert set(fold.train) < set(plain.train)


def test_a_fold_is_found_by_number_and_by_name(corpus: Corpus) -> None:
    assert corpus.fold(2) == corpus.fold("2") == corpus.fold("S2") == corpus.folds()[1]
    assert corpus.fold_number("S4") == 4


@pytest.mark.parametrize("name", [0, 5, -1, "S9", ""])
def test_an_unknown_fold_is_named_beside_those_there_are(corpus: Corpus, name: str | int) -> None:
    with pytest.raises(CorpusError, match=rf"tiny has no fold {name!r}; it has 1 to 4, named S1, S2, S3, S4\."):
        corpus.fold(name)


def test_folds_by_something_else_are_refused(corpus: Corpus) -> None:
    with pytest.raises(CorpusError, match=r"no folds by 'speaker'; choose 'session' or 'scenario'"):
        corpus.folds("speaker")


def test_an_official_split_is_the_one_fold_and_needs_no_three_sessions(corpus: Corpus) -> None:
    parts = {"train": ["S1", "S2"], "dev": ["S3"], "test": ["S4"]}
    (fold,) = replace(corpus, official=parts).folds()
    assert fold.name == "S4"
    for part, sessions in parts.items():
        assert set(corpus.table.loc[getattr(fold, part), "session"]) == set(sessions)
    two = make_corpus(sessions=2)
    assert replace(two, official={"train": ["S1"], "dev": ["S1"], "test": ["S2"]}).fold("S2").test


def test_two_sessions_make_no_folds() -> None:
    with pytest.raises(CorpusError, match=r"tiny has 2 sessions; train, dev and test need three"):
        make_corpus(sessions=2).folds()


def test_the_table_keeps_its_columns_and_is_indexed_by_id(corpus: Corpus) -> None:
    assert corpus.table.index.tolist() == corpus.table["id"].tolist()
    assert set(corpus.table["emotion"]) == set(EMOTIONS)
    assert len(corpus) == 64


def test_a_waveform_is_mono_finite_and_of_one_kind(corpus: Corpus) -> None:
    wave = corpus.waveform("S1-00")
    assert wave.ndim == 1
    assert wave.dtype == np.float32
    assert np.isfinite(wave).all()


def test_an_unknown_utterance_is_refused_with_an_example_of_an_id(corpus: Corpus) -> None:
    with pytest.raises(CorpusError, match=r"tiny has no utterance 'nobody'. Ids look like 'S1-00'"):
        corpus.waveform("nobody")


@pytest.mark.parametrize("wave", [[], [0.1, np.nan], [np.inf, 0.0]])
def test_an_empty_or_broken_sound_is_named(corpus: Corpus, wave: list[float]) -> None:
    broken = replace(corpus, read=lambda row: np.array(wave, dtype=np.float32))
    with pytest.raises(CorpusError, match=r"sound of S1-00 in S1.zip/00 is empty or not finite"):
        broken.waveform("S1-00")


def test_a_missing_column_is_named(corpus: Corpus) -> None:
    with pytest.raises(CorpusError, match=r"table of tiny lacks the columns \['speaker'\]"):
        replace(corpus, table=corpus.table.drop(columns="speaker"))


def test_a_corpus_without_utterances_is_refused(corpus: Corpus) -> None:
    with pytest.raises(CorpusError, match=r"tiny holds no utterance. Look at the folder"):
        replace(corpus, table=corpus.table.iloc[:0])


def test_an_id_that_comes_twice_is_named(corpus: Corpus) -> None:
    with pytest.raises(CorpusError, match=r"lists the id 'S1-03' 2 times"):
        replace(corpus, table=pd.concat([corpus.table, corpus.table.loc[["S1-03"]]]))


def test_an_unknown_emotion_is_named(corpus: Corpus) -> None:
    with pytest.raises(CorpusError, match=r"unknown emotions \['bored'\]"):
        changed(corpus, emotion=["bored", *corpus.table["emotion"][1:]])


def test_the_content_follows_the_table_and_the_split(corpus: Corpus) -> None:
    same = corpus.content()
    assert replace(corpus, version="other").content() == same
    for other in (changed(corpus, text="other words"), changed(corpus, emotion="sad")):
        assert other.content() != same
    assert replace(corpus, official={"train": ["S1"], "dev": ["S2"], "test": ["S3"]}).content() != same


def test_a_speaker_of_two_sessions_is_refused_unless_the_split_is_official(corpus: Corpus) -> None:
    shared = changed(corpus, speaker="Ann")
    with pytest.raises(CorpusError, match="Ann speaks in 4 sessions"):
        shared.folds()
    assert replace(shared, official={"train": ["S1"], "dev": ["S2"], "test": ["S3"]}).folds()


def test_a_fold_has_a_number_and_a_name_that_may_look_like_one(corpus: Corpus) -> None:
    years = changed(corpus, session=corpus.table["session"].map({"S1": "2", "S2": "3", "S3": "4", "S4": "5"}))
    assert [years.fold(name).name for name in (1, "1", "3", "5")] == ["2", "2", "3", "5"]
    assert years.fold(2).name == "3"


def test_the_fingerprint_follows_the_sound_and_nothing_else(corpus: Corpus) -> None:
    same = corpus.fingerprint()
    assert changed(corpus, text="other words").fingerprint() == same
    assert changed(corpus, audio=corpus.table["audio"] + "x").fingerprint() != same
    assert replace(corpus, version="other").fingerprint() != same
    assert replace(corpus, sample_rate=8000).fingerprint() != same
    assert replace(corpus, table=corpus.table.iloc[1:]).fingerprint() != same


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("iemocap?label=x.csv", r"iemocap has no option 'label'; it takes labels\."),
        ("iemocap?root=/data", r"iemocap has no option 'root'; it takes labels\."),
        ("iemocap?labels", r"iemocap has no value for option 'labels'; it takes labels\."),
        ("duet-i?conditions=P", r"duet-i has no option 'conditions'; it takes none\."),
        ("duet-i?name=duet-x", r"duet-i has no option 'name'; it takes none\."),
        ("nowhere?conditions=P", r"There is no corpus 'nowhere'; known are duet-i"),
    ],
)
def test_an_option_behind_the_name_must_be_known(name: str, sentence: str) -> None:
    with pytest.raises(CorpusError, match=sentence):
        corpora.load(name)


def test_options_behind_a_name_are_taken_letter_by_letter() -> None:
    assert corpora.asked("iemocap?labels=/my data/a+b=c.csv") == {"labels": "/my data/a+b=c.csv"}
    assert corpora.asked("duet-i") == {}
