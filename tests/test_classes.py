"""Six and seven classes: the emotions are those of the corpus, from its label table to the tables of results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
import trees
from conftest import make_corpus
from hypothesis import given, settings
from hypothesis import strategies as st
from test_model import utterances
from test_systems import LENGTHS, PLACES, build, total
from test_tables import runs

from mer_lib import conditions, corpora, experiments, metrics, plots, shortcuts, systems, tables
from mer_lib.corpora.base import COLUMNS, EMOTIONS, Corpus, CorpusError, in_words
from mer_lib.experiments import Run
from mer_lib.features.batches import Prepared, Utterances, prepare
from mer_lib.training import TrainingConfig, class_shares, train

SIX = (*EMOTIONS, "excited", "frustrated")
SEVEN = (*EMOTIONS, "surprise", "fear", "disgust")
SETS = {"four": EMOTIONS, "six": SIX, "seven": SEVEN}

of_each_size = pytest.mark.parametrize("emotions", SETS.values(), ids=SETS.keys())


# From the released labels -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def iemocap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trees.iemocap(tmp_path_factory.mktemp("iemocap"), each=2)


@pytest.fixture(scope="module")
def meld(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trees.meld(tmp_path_factory.mktemp("meld"), each=2, others=("surprise", "fear", "disgust"))


def classes(corpus: Corpus) -> dict[str, str]:
    """Label to class; fails where a label has two."""
    pairs = corpus.table[["label", "emotion"]].drop_duplicates()
    assert not pairs["label"].duplicated().any()
    return dict(zip(pairs["label"], pairs["emotion"], strict=True))


def test_six_classes_of_iemocap_keep_excited_and_frustrated_apart(iemocap: Path) -> None:
    corpus = corpora.load("iemocap?labels=6", iemocap)
    assert corpus.emotions == SIX
    assert classes(corpus) == {
        "hap": "happy", "sad": "sad", "neu": "neutral", "ang": "angry", "exc": "excited", "fru": "frustrated"
    }  # fmt: skip
    reasons = {why for why in trees.why(corpus).values() if why.startswith("is labelled")}
    assert reasons == {"is labelled xxx, none of the six classes"}


def test_seven_classes_of_meld_are_all_that_it_has(meld: Path) -> None:
    corpus = corpora.load("meld?labels=7", meld)
    assert corpus.emotions == SEVEN
    assert classes(corpus) == {
        "joy": "happy", "sadness": "sad", "neutral": "neutral", "anger": "angry",
        "surprise": "surprise", "fear": "fear", "disgust": "disgust",
    }  # fmt: skip
    assert not [why for why in trees.why(corpus).values() if why.startswith("is labelled")]


@pytest.mark.parametrize("name", ["iemocap", "meld"])
def test_a_corpus_has_four_classes_unless_more_are_asked_for(name: str, request: pytest.FixtureRequest) -> None:
    root = request.getfixturevalue(name)
    usual, asked = corpora.load(name, root), corpora.load(f"{name}?labels=4", root)
    pd.testing.assert_frame_equal(usual.table, asked.table)
    assert usual.emotions == asked.emotions == EMOTIONS
    rows = usual.table[list(COLUMNS)].to_csv(index=False)  # as runs were named before there were other classes
    assert usual.content() == hashlib.sha256(f"{rows} {usual.official}".encode()).hexdigest()


def test_the_classes_of_a_corpus_are_known_by_its_name_alone(iemocap: Path, meld: Path) -> None:
    (iemocap / "mine.csv").write_text("id,emotion\nSes01F_impro01_F000,fru\nSes01F_impro01_M000,hap\n")
    places = {"iemocap": iemocap, "meld": meld}
    for name in ("iemocap", "iemocap?labels=4", "iemocap?labels=6", "iemocap?labels=mine.csv", "meld?labels=7"):
        assert corpora.emotions(name) == corpora.load(name, places[corpora.bare(name)]).emotions, name
    assert corpora.emotions("iemocap?labels=6:mine.csv") == SIX
    assert corpora.emotions("msp-improv?conditions=PS") == corpora.emotions("duet-x") == EMOTIONS


def test_a_label_table_may_have_six_classes_too(iemocap: Path, tmp_path: Path) -> None:
    ids = corpora.load("iemocap?labels=6", iemocap).table["id"].iloc[:6].tolist()
    table = tmp_path / "six.csv"
    for labels in (("hap", "sad", "neu", "ang", "exc", "fru"), SIX):
        rows = [",".join(row) for row in zip(ids, labels, strict=True)]
        table.write_text("\n".join(["id,emotion", *rows]))
        found = corpora.load(f"iemocap?labels=6:{table}", iemocap)
        assert found.table["emotion"].to_dict() == dict(zip(ids, SIX, strict=True))
        four = corpora.load("iemocap", iemocap, labels=table)
        expected = ["happy", "sad", "neutral", "angry", "happy"]
        assert four.table["emotion"].to_dict() == dict(zip(ids[:5], expected, strict=True))
        assert trees.why(four)[ids[5]] == f"is labelled {labels[5]}, none of the four classes"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("iemocap?labels=5", r"iemocap has no labels=5; it has labels=4 \(happy.* and labels=6 \(happy.*frustrated\)"),
        ("iemocap?labels=0", r"no labels=0; it has labels=4 .* takes your own labels from a CSV file"),
        ("iemocap?labels=7:a.csv", r"no labels=7; it has labels=4 .* and labels=6 "),
        ("iemocap?labels=six", r"There is no label table .*six; iemocap has labels=4 .* and labels=6 .*labels=FILE"),
        ("iemocap?labels=6:", r"There is no label table .*; iemocap has labels=4 "),
        ("meld?labels=6", r"meld has no labels=6; it has labels=4 \(.*\) and labels=7 \(.*, disgust\)\.$"),
        ("meld?labels=seven", r"meld has no labels=seven; it has labels=4 "),
        ("msp-improv?labels=6", r"msp-improv has no labels=6; it has labels=4 \(.*angry\) and no others\.$"),
        ("duet-i?labels=6", r"duet-i has no option 'labels'; it takes none"),
    ],
)
def test_classes_that_a_corpus_does_not_have_are_refused_beside_those_it_has(
    name: str, sentence: str, iemocap: Path
) -> None:
    with pytest.raises(CorpusError, match=sentence) as error:
        corpora.load(name, iemocap)
    assert "\n" not in str(error.value)


def test_a_label_outside_the_classes_of_a_corpus_is_refused() -> None:
    with pytest.raises(
        CorpusError, match=r"unknown emotions \['excited', 'frustrated'\]; known are \['happy', 'sad', "
    ):
        replace(six(), emotions=EMOTIONS)


# A corpus of six ----------------------------------------------------------------------------------------------


def six(sessions: int = 4, lacks: dict[str, str] | None = None) -> Corpus:
    """The tiny corpus, where a third of the happy are excited and of the angry frustrated.

    Args:
        sessions: How many.
        lacks: Session to an emotion that nobody shows there.
    """
    base = make_corpus(sessions, each=3)
    table = base.table.reset_index(drop=True)
    rank = table.groupby(["speaker", "emotion"]).cumcount()
    table["emotion"] = table["emotion"].mask((rank == 2) & (table["emotion"] == "happy"), "excited")
    table["emotion"] = table["emotion"].mask((rank == 2) & (table["emotion"] == "angry"), "frustrated")
    for session, emotion in (lacks or {}).items():
        table = table[(table["session"] != session) | (table["emotion"] != emotion)]
    return Corpus("six", table, lambda row: base.waveform(row["id"]), version=str(sessions), emotions=SIX)


@pytest.fixture(scope="module")
def data(_own_cache: None) -> Prepared:
    corpus = six()
    return prepare(corpus, corpus.fold(1))


def test_what_is_prepared_knows_the_classes_of_its_corpus(data: Prepared) -> None:
    corpus = six()
    assert data.emotions == data.test.emotions == SIX
    for part in (data.train, data.dev, data.test):
        assert [SIX[label] for label in part.labels] == corpus.table.loc[part.ids, "emotion"].tolist()


def test_utterances_keep_their_classes_when_some_are_taken_or_their_texts_exchanged(data: Prepared) -> None:
    part = data.test
    others = (conditions.some(part, [0, 1]), conditions.exchanged(part), part.with_text(part.text, part.spans))
    assert [other.emotions for other in others] == [SIX] * 3


def test_where_a_part_lacks_a_class_it_is_said_and_the_mean_is_over_the_others(capsys: pytest.CaptureFixture) -> None:
    corpus = six(lacks={"S1": "frustrated"})
    prepared = prepare(corpus, corpus.fold(1))
    said = "Fold S1 of six has no frustrated utterance in test: UA and F1 there are means over the classes that it has."
    assert capsys.readouterr().out == f"{said}\n"
    logits = 9 * np.eye(6)[prepared.test.labels]
    found = metrics.scores(logits, prepared.test.labels.numpy(), class_shares(prepared.train), SIX)
    assert np.isnan(found["frustrated"])
    assert found["ua"] == found["f1"] == found["wa"] == found["excited"] == 100


def test_a_fold_that_trains_without_a_class_is_refused_by_its_name() -> None:
    corpus = six(lacks={"S3": "excited", "S4": "excited"})
    with pytest.raises(CorpusError, match="Fold S1 of six trains without any excited utterance"):
        prepare(corpus, corpus.fold(1))


# Systems and scores -------------------------------------------------------------------------------------------


@of_each_size
@pytest.mark.parametrize("name", systems.names())
def test_every_system_has_an_output_for_each_class(name: str, emotions: tuple[str, ...]) -> None:
    k = len(emotions)
    plain = utterances(LENGTHS, labels=[number % k for number in range(len(LENGTHS))])
    facts = {"labels": plain.labels.tolist(), "places": PLACES, "emotions": emotions}
    batch = Utterances(plain.ids, plain.audio, plain.text, plain.spans, **facts).batch(range(len(plain)))
    for modalities in (("audio", "text"), ("audio",), ("text",)):
        system = build(name, classes=k, modalities=modalities)
        output = system(batch)
        assert output.logits.shape == (len(LENGTHS), k)
        assert all(logits.shape == (len(LENGTHS), k) for logits in output.unimodal.values())
        loss = total(system, batch)
        assert loss.isfinite()
        loss.backward()


@pytest.mark.parametrize("combine", ["average", "learned"])
def test_late_fusion_combines_as_many_classes_as_there_are(combine: str) -> None:
    batch = utterances(LENGTHS, labels=[number % 7 for number in range(len(LENGTHS))]).batch(range(len(LENGTHS)))
    assert build("late", classes=7, combine=combine)(batch).logits.shape == (len(LENGTHS), 7)


@pytest.mark.parametrize("name", systems.names())
def test_without_a_number_of_classes_a_system_has_four_and_the_same_weights(name: str) -> None:
    usual, four = build(name).state_dict(), build(name, classes=4).state_dict()
    assert usual.keys() == four.keys()
    assert all(torch.equal(usual[part], four[part]) for part in usual)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(st.data())
def test_scores_of_any_number_of_classes_are_means_over_those_that_occur(draw: st.DataObject) -> None:
    k = draw.draw(st.integers(2, 9))
    pairs = draw.draw(st.lists(st.tuples(st.integers(0, k - 1), st.integers(0, k - 1)), min_size=1, max_size=30))
    label, said = map(np.array, zip(*pairs, strict=True))
    emotions = tuple(f"class{number}" for number in range(k))
    found = metrics.scores(np.eye(k)[said], label, np.full(k, 1 / k), emotions)
    recalls = {c: 100 * np.mean(said[label == c] == c) for c in set(label.tolist())}
    f1 = [200 * np.sum((label == c) & (said == c)) / (np.sum(label == c) + np.sum(said == c)) for c in recalls]
    assert found["ua"] == pytest.approx(np.mean(list(recalls.values())))
    assert found["f1"] == pytest.approx(np.mean(f1))
    assert found["wa"] == pytest.approx(100 * np.mean(label == said))
    expected = [recalls.get(c, np.nan) for c in range(k)]
    assert [found[e] for e in emotions] == pytest.approx(expected, nan_ok=True)
    matrix = metrics.confusion(label, said, k)
    assert matrix.shape == (k, k)
    np.testing.assert_allclose(matrix.sum(1), [float(c in recalls) for c in range(k)])


def test_balanced_classes_have_even_weights_and_an_even_prior_whatever_their_number(data: Prepared) -> None:
    shares = class_shares(data.train)
    assert shares.shape == (6,)
    assert shares.sum() == pytest.approx(1)
    assert shares[4:].tolist() == pytest.approx([1 / 12] * 2)
    torch.manual_seed(0)
    system = systems.build("majority", torch.as_tensor(data.vectors.vectors), data.features, classes=6)
    config = TrainingConfig(epochs=40, rate=0.05, warm_up=1, average=0.0, balanced=True)
    done = train(system, data.train, data.dev, config)
    assert done.prior.tolist() == pytest.approx([1 / 6] * 6)
    assert system.logits.softmax(0).tolist() == pytest.approx([1 / 6] * 6, abs=0.01)


# From runs to tables and figures ------------------------------------------------------------------------------


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let `six` stand for IEMOCAP with six classes; one session lacks a class."""
    corpus = six(lacks={"S2": "excited"})
    monkeypatch.setattr(corpora, "load", lambda name, root=None: corpus)
    for kept in (experiments._corpus, experiments.prepared):
        kept.cache_clear()
    yield
    for kept in (experiments._corpus, experiments.prepared):
        kept.cache_clear()


def test_a_run_on_six_classes_goes_from_training_to_the_table(known: None, capsys: pytest.CaptureFixture) -> None:
    name = "iemocap?labels=6"
    experiments.grid(name)
    assert "Fold S2 of six has no excited utterance in test" in capsys.readouterr().out
    short = TrainingConfig(epochs=2, warm_up=2)
    options = (("dim", 8), ("heads", 2))
    rows = [experiments.execute(Run(name, fold, 0, options=options, training=short)) for fold in (1, 2)]
    rows = json.loads(json.dumps(rows))  # as a sweep keeps them
    assert [[name for name in row if name in SIX] for row in rows] == [list(SIX)] * 2
    assert np.isnan(rows[1]["excited"])
    assert rows[1]["ua"] == pytest.approx(np.nanmean([rows[1][e] for e in SIX]))
    results = pd.DataFrame(rows)
    said = experiments.decisions(results)
    assert set(said["emotion"]) == set(SIX)
    assert set(said["adjusted"]) <= set(SIX)
    right = (
        said[said["fold"] == 1]
        .groupby("emotion")[["adjusted", "emotion"]]
        .apply(lambda part: 100 * (part["adjusted"] == part["emotion"]).mean())
    )
    assert right.to_dict() == pytest.approx({e: rows[0][e] for e in SIX})
    table = tables.table3(results, name)
    assert list(table["measured"].columns) == [*SIX, "WA", "UA"]
    assert table.loc["A+T", ("measured", "excited")] == pytest.approx(rows[0]["excited"])  # the fold that has some
    assert "reported" not in table


def test_a_class_that_no_fold_can_test_is_shown_as_a_dash() -> None:
    name = "meld?labels=7"
    results = runs(name).assign(surprise=50.0, fear=np.nan)  # and no column of disgust
    table = tables.table3(results, name)
    assert table["measured"].loc["A", ["surprise", "fear", "disgust"]].tolist() == pytest.approx(
        [50, np.nan, np.nan], nan_ok=True
    )
    assert tables.styled(table, "Seven classes").to_html().count(">–<") == 2 * len(table)


def test_the_deck_stands_beside_four_classes_only() -> None:
    assert tables.deck_dataset("iemocap?labels=4") == tables.deck_dataset("iemocap?labels=a.csv") == "IEMOCAP"
    assert tables.deck_dataset("iemocap?labels=6") is None


def test_a_summary_over_corpora_keeps_the_classes_of_each() -> None:
    other = runs("iemocap?labels=6").assign(excited=40.0, frustrated=30.0)
    found = experiments.summary(pd.concat([runs("duet-i"), other], ignore_index=True))
    assert found.loc[("iemocap?labels=6", "A"), ("excited", "mean")] == 40
    assert np.isnan(found.loc[("duet-i", "A"), ("excited", "mean")])
    assert list(found.columns.levels[0].intersection(corpora.EVERY_EMOTION)) == sorted(SIX)
    alone = experiments.summary(runs("duet-i"))
    assert set(alone.columns.get_level_values(0)) == {"wa", "ua", "f1", *EMOTIONS}


@of_each_size
def test_matrices_and_clouds_show_every_class(emotions: tuple[str, ...]) -> None:
    k = len(emotions)
    ax = plots.confusion(np.eye(k), "All right", emotions=emotions)
    assert [t.get_text() for t in ax.get_xticklabels()] == list(emotions)
    assert len(ax.texts) == k * k
    figure = plots.confusions({"one": np.eye(k)}, "All right", np.zeros((k, k)), emotions=emotions)
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == list(emotions)
    figure.canvas.draw()
    rng = np.random.default_rng(0)
    points = {"one": {m: rng.normal(size=(2 * k, 2)) for m in ("audio", "text")}}
    drawn = plots.clouds(points, np.repeat(np.arange(k), 2), "Letters", emotions).axes[0]
    letters = list(plots.letters(emotions).values())
    assert [t.get_text() for t in drawn.texts] == 2 * letters
    plots.maps({"one": rng.normal(size=(2 * k, 2))}, {"one": np.repeat(emotions, 2)}, "Letters").canvas.draw()
    plt.close("all")


@of_each_size
def test_the_letters_of_a_corpus_differ_and_those_of_the_four_are_their_first(emotions: tuple[str, ...]) -> None:
    letters = plots.letters(emotions)
    assert len(set(letters.values())) == len(emotions)
    assert [letters[e] for e in EMOTIONS] == ["H", "S", "N", "A"]


def test_every_emotion_has_a_colour_of_its_own_and_any_other_name_has_one_too() -> None:
    colours = [plots.colour(emotion) for emotion in corpora.EVERY_EMOTION]
    assert len(set(colours)) == len(colours)
    assert plots.colour("bored") == plots.colour("bored")
    assert plots.colour("bored").startswith("#")


def test_dialogues_of_any_emotions_can_be_drawn() -> None:
    table = six().table.assign(emotion=[*SEVEN, "bored"] * 12)
    ax = plots.dialogues(table, "Anything")
    assert {t.get_text() for t in ax.texts} == set(plots.letters(plots.ordered(table["emotion"])).values())
    plt.close("all")


def test_a_clue_is_looked_up_in_as_many_classes_as_the_corpus_has() -> None:
    table = six().table
    clue = table["emotion"]  # the answer itself
    train, test = (table.index[table["session"].isin(some)].tolist() for some in (["S1", "S2"], ["S3", "S4"]))
    said = shortcuts.judged(table, [(train, test)], shortcuts.lookup(clue, table["emotion"]))
    assert (said["plain"] == said["emotion"]).all()
    assert set(said["plain"]) == set(SIX)


@pytest.mark.parametrize(("number", "word"), [(1, "one"), (5, "five"), (9, "nine"), (10, "10"), (0, "0")])
def test_small_numbers_are_said_in_words(number: int, word: str) -> None:
    assert in_words(number) == word
