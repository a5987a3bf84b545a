"""The words of Duet say what they should, to a careful reader but not to one who ignores their order."""

from __future__ import annotations

import re
import string
from collections import Counter, defaultdict
from itertools import permutations

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from mer_lib.corpora.base import EMOTIONS, CorpusError
from mer_lib.corpora.duet import words
from mer_lib.corpora.duet.process import generator

SESSIONS = ["S1", "S2", "S3", "S4", "S5", "S6"]
KINDS = [*words.KINDS, "single", "topic", "focus"]
FRAMES = words.LEXICON["frames"]


def spoken(size: int, seed: int, sessions: list[str] = SESSIONS) -> tuple[list[str], list[str]]:
    """Utterances that say one emotion, and the emotion of each."""
    rng = generator(seed, "test")
    says = [EMOTIONS[i % 4] for i in range(size)]
    places = [sessions[i // 4 % len(sessions)] for i in range(size)]
    return [" ".join(words.write(e, s, "improv00", rng)) for e, s in zip(says, places, strict=True)], says


def focused(size: int) -> list[tuple[tuple[str, ...], list[str]]]:
    """Utterances that say several emotions: (emotions, clauses). Improvised and scripted by turns."""
    rng = generator(0, "test")
    orders = [order for n in (2, 3, 4) for order in permutations(EMOTIONS, n)]
    drawn = []
    for i in range(size):
        order, scenario = orders[i % len(orders)], ("improv01", "script00", "improv02", "script03", "script01")[i % 5]
        drawn.append((order, words.write("|".join(order), SESSIONS[i % 6], scenario, rng)))
    return drawn


def bare(clause: str) -> str:
    """A clause without capital, punctuation and connective."""
    return re.sub(r"^(and|but|though|yet|while) ", "", clause.lower().rstrip(".,"))


def word_set(texts: list[str]) -> set[str]:
    """Words of templates or fillings, slots and the commonest function words left out."""
    text = re.sub(r"\{.*?\}", " ", " ".join(texts)).lower()
    return set(re.findall(r"[\w'-]+", text)) - {"the", "i", "we"}


def of_frames(place: str) -> set[str]:
    """Words that only a session's or a script's frames and things can bring in."""
    return word_set(FRAMES[place]["aspect"] + [text for act in FRAMES[place]["acts"] for part in act for text in part])


def of_emotions() -> set[str]:
    """Words of every emotional clause."""
    lists = [*words.LEXICON["shared"]["strong"].values(), *(t for e in EMOTIONS for t in words.LEXICON[e].values())]
    return word_set([text for listed in lists for text in listed])


def read(ngrams: int, train: tuple[list[str], list[str]], test: tuple[list[str], list[str]]) -> float:
    """Accuracy of a linear reader of n-grams up to a length."""
    counts = CountVectorizer(token_pattern=r"[\w'-]+|[,.]", ngram_range=(1, ngrams))
    return make_pipeline(counts, LogisticRegression(C=10, max_iter=2000)).fit(*train).score(*test)


def test_no_clause_is_said_for_two_emotions():
    rng = generator(0, "test")
    said = defaultdict(set)
    for i in range(24_000):
        emotion, kind = EMOTIONS[i % 4], KINDS[i // 4 % len(KINDS)]
        said[words.Writer(SESSIONS[i % 6], rng).clause(emotion, kind)].add(emotion)
    assert len(said) > 5000
    assert max(map(len, said.values())) == 1


def test_no_utterance_is_said_for_two_emotions():
    said = defaultdict(set)
    for text, emotion in zip(*spoken(20_000, 3), strict=True):
        said[text].add(emotion)
    assert max(map(len, said.values())) == 1


@pytest.mark.parametrize("slot", ["feel", "thing", "noun", "mood", "do", "did", "doing", "event", "fact"])
def test_a_filling_belongs_to_one_emotion(slot):
    owners = Counter(text for emotion in EMOTIONS for text in words.LEXICON[emotion].get(slot, []))
    assert max(owners.values()) == 1


def test_every_template_of_a_strong_emotion_holds_something_of_that_emotion():
    for kind, listed in words.LEXICON["shared"]["strong"].items():
        for template in listed:
            assert re.search(r"\{(feel|thing|noun|mood|do|did|doing|event)\}", template), (kind, template)


def test_nearly_all_utterances_differ_and_are_short():
    texts, _ = spoken(1800, 0)
    lengths = [len(text.split()) for text in texts]
    assert len(set(texts)) > 0.98 * 1800
    assert 8 <= np.mean(lengths) <= 10
    assert max(len(text.split()) for text in spoken(20_000, 1)[0]) <= 16


def test_focus_has_a_short_clause_for_each_emotion_in_any_order():
    for order, clauses in focused(6000):
        assert len(clauses) == len(order)
        assert all(3 <= len(clause.split()) <= 7 for clause in clauses), clauses
        assert len(" ".join(clauses).split()) <= 26


def test_each_focus_clause_says_its_emotion_wherever_it_stands():
    said = defaultdict(set)
    for order, clauses in focused(6000):
        for emotion, clause in zip(order, clauses, strict=True):
            said[bare(clause)].add(emotion)
    assert max(map(len, said.values())) == 1


def test_connectives_tell_nothing_about_the_emotion():
    table = np.zeros((4, len(words.CONNECTIVES)))
    for order, clauses in focused(6000):
        for emotion, clause, before in zip(order[1:], clauses[1:], clauses[:-1], strict=True):
            link = "." if before.endswith(".") else clause.split()[0]
            table[EMOTIONS.index(emotion), words.CONNECTIVES.index(link)] += 1
    expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
    assert ((table - expected) ** 2 / expected).sum() < 37.7  # chi-square, 15 degrees of freedom, p = .001


def test_frames_of_a_session_occur_in_no_other_session_nor_script():
    for session in SESSIONS:
        others = set().union(*(of_frames(place) for place in FRAMES if place != session))
        assert not of_frames(session) & others


def test_a_session_has_at_least_40_frames():
    for session in SESSIONS:
        assert sum(len(doing) * len(things) for doing, things in FRAMES[session]["acts"]) >= 40


def test_emotional_words_belong_to_no_session():
    assert not of_emotions() & set().union(*map(of_frames, FRAMES))
    seen = [word_set(spoken(4000, 4, [session])[0]) & of_emotions() for session in SESSIONS]
    assert all(len(words_here) > 0.99 * len(set().union(*seen)) for words_here in seen)


def test_scripts_read_alike_in_every_session():
    for script in words.SCRIPTS:
        drawn = [words.write("sad", session, script, generator(1, "test")) for session in SESSIONS]
        assert all(clauses == drawn[0] for clauses in drawn)


def test_order_matters_a_bag_of_words_misreads_what_trigrams_read():
    train, test = spoken(8000, 1, SESSIONS[:3]), spoken(3000, 2, SESSIONS[3:])
    assert read(1, train, test) < 0.98
    assert read(3, train, test) > 0.995


def test_a_bag_of_words_is_often_wrong_about_contrasts():
    rng = generator(2, "test")
    says = [EMOTIONS[i % 4] for i in range(2000)]
    contrasts = [words.Writer("S4", rng).clause(emotion, "contrast") for emotion in says]
    train = spoken(8000, 1, SESSIONS[:3])
    assert read(1, train, (contrasts, says)) < 0.85
    assert read(3, train, (contrasts, says)) > 0.93


def test_text_is_plain_ascii_without_empty_slots():
    text = " ".join(spoken(4000, 5)[0] + [clause for _, clauses in focused(1000) for clause in clauses])
    assert set(text) <= set(string.ascii_letters + " ',.-")


def test_the_same_seed_writes_the_same_words():
    assert words.pool(200, 7, ["S1", "S2"]) == words.pool(200, 7, ["S1", "S2"])
    assert words.pool(200, 7, ["S1", "S2"]) != words.pool(200, 8, ["S1", "S2"])


def test_the_pool_keeps_out_sessions_that_were_not_asked_for():
    seen = word_set(words.pool(6000, 0, ["S1", "S2", "S3"]))
    assert of_frames("S3") & seen
    assert not seen & set().union(*(of_frames(session) for session in ("S4", "S5", "S6")))


@pytest.mark.parametrize(
    ("says", "session", "scenario", "named"),
    [("joyful", "S1", "improv00", "joyful"), ("sad", "S9", "improv00", "S9"), ("sad", "S1", "script77", "script77")],
)
def test_unknown_emotions_sessions_and_scripts_are_named(says, session, scenario, named):
    with pytest.raises(CorpusError, match=named):
        words.write(says, session, scenario, generator(0, "test"))
