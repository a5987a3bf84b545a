from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import make_corpus, pulses
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from mer_lib import corpora, systems, training
from mer_lib.cache import cached
from mer_lib.corpora.base import EMOTIONS, Corpus, CorpusError
from mer_lib.features import (
    FEATURES,
    FRAME_SECONDS,
    STEP_FEATURES,
    Utterances,
    check_audio,
    frames,
    normalise,
    prepare,
    word_vectors,
)
from mer_lib.features import pitch as features_pitch
from mer_lib.features.audio import corpus_frames
from mer_lib.features.batches import Prepared, fold_vectors, shipped_steps
from mer_lib.features.pitch import MELODY, melody, pitch, shipped_pitch, steps_of
from mer_lib.features.stored import shipped_states
from mer_lib.features.text import WordVectors, ppmi

RATE = 16_000


def column(table: np.ndarray, name: str) -> np.ndarray:
    return table[:, FEATURES.index(name)]


def middle(table: np.ndarray, name: str) -> float:
    """Median of a feature away from the edges of the sound."""
    return float(np.nanmedian(column(table, name)[1:-1]))


# ---- pitch that ships


@pytest.mark.parametrize("name", ["duet-i", "duet-m", "duet-x"])
def test_the_pitch_that_ships_is_what_praat_hears_now(name: str) -> None:
    corpus = corpora.load(name)
    held = shipped_pitch(corpus)
    assert held is not None
    assert list(held) == corpus.table["id"].tolist()
    for utterance in corpus.table["id"].iloc[:: len(corpus) // 6]:
        wave = corpus.waveform(utterance)
        now = pitch(wave, RATE, steps_of(wave, RATE))
        np.testing.assert_allclose(held[utterance].track, now.track, atol=1e-4)
        np.testing.assert_allclose(held[utterance].melody, now.melody, atol=1e-4)
        np.testing.assert_allclose(frames(wave, RATE, held[utterance]), frames(wave), atol=1e-4)


def test_pitch_of_other_sound_is_not_taken_from_what_ships() -> None:
    corpus = corpora.load("duet-i")
    some = replace(corpus, table=corpus.table.iloc[:7])
    assert shipped_pitch(some) is not None
    for other in (replace(corpus, version="drawn anew"), replace(corpus, name="duet-m"), make_corpus()):
        assert shipped_pitch(other) is None


def test_a_damaged_file_of_pitch_costs_time_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = corpora.load("duet-i")
    (tmp_path / "duet-i.safetensors").write_bytes(b"half a fi")
    monkeypatch.setattr(features_pitch.shipped, "folder", lambda name: tmp_path)
    assert shipped_pitch(corpus) is None


def test_steps_are_known_without_the_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = corpora.load("duet-i")
    few = replace(corpus, table=corpus.table.iloc[::100])
    tables = corpus_frames(few)
    monkeypatch.setattr(Corpus, "waveform", lambda *_: pytest.fail("sound was read"))
    steps = shipped_steps(corpus)
    assert steps is not None
    assert {name: steps[name] for name in tables} == {name: -(-len(table) // 2) for name, table in tables.items()}


def test_sound_that_nobody_reads_is_never_made(monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = corpora.load("duet-i")
    monkeypatch.setattr(Corpus, "waveform", lambda *_: pytest.fail("sound was read"))
    data = prepare(corpus, corpus.fold(1))
    system = systems.build("method", torch.as_tensor(data.vectors.vectors), data.features, modalities=("text",))
    logits = training.predict(system, data.test)
    batch = data.test.batch(range(5), ("text",))
    assert batch.audio.shape == (5, max(data.test.steps[:5]), 0)
    assert batch.audio_mask.sum(1).tolist() == data.test.steps[:5]
    assert logits.shape == (len(data.test), 4)


@pytest.mark.parametrize("system", ["method", "recurrent"])
def test_reading_alone_is_the_same_with_and_without_sound_in_memory(data: Prepared, system: str) -> None:
    built = systems.build(
        system, torch.as_tensor(data.vectors.vectors), data.features, modalities=("text",), dropout=0.0
    ).eval()
    rows = range(len(data.test))
    with torch.no_grad():
        torch.testing.assert_close(
            built(data.test.batch(rows)).logits, built(data.test.batch(rows, ("text",))).logits, rtol=0, atol=0
        )


def test_other_texts_leave_the_rest_of_the_utterances_as_it_was(data: Prepared) -> None:
    backwards = data.test.with_text(
        [ids.flip(0).numpy() for ids in data.test.text], [s.numpy() for s in data.test.spans]
    )
    assert backwards.ids == data.test.ids
    assert all(torch.equal(a, b) for a, b in zip(backwards.audio, data.test.audio, strict=True))
    assert torch.equal(backwards.places, data.test.places)
    assert torch.equal(backwards.text[0], data.test.text[0].flip(0))


# ---- frames


@pytest.mark.parametrize("seconds", [0.0001, 0.05, 0.1, 0.73, 2.0])
def test_frames_come_every_tenth_of_a_second(seconds: float) -> None:
    table = frames(pulses(150, seconds))
    assert table.dtype == np.float32
    assert table.shape[1] == len(FEATURES)
    assert abs(len(table) - seconds / FRAME_SECONDS) <= 1.1
    assert len(table) >= 1


def test_only_pitch_may_be_nan() -> None:
    for wave in (
        pulses(150),
        np.zeros(8000, np.float32),
        np.random.default_rng(0).normal(size=8000).astype(np.float32),
    ):
        table = frames(wave)
        unknown = {name for name in FEATURES if not np.isfinite(column(table, name)).all()}
        assert unknown <= {"pitch", "pitch_change", *MELODY}


@pytest.mark.parametrize(("hertz", "semitones"), [(100, 0), (200, 12), (300, 12 * np.log2(3)), (400, 24)])
def test_pitch_is_in_semitones_above_100_hz(hertz: float, semitones: float) -> None:
    table = frames(pulses(hertz, 1.0))
    assert middle(table, "pitch") == pytest.approx(semitones, abs=0.5)
    assert middle(table, "voiced") == 1
    assert middle(table, "pitch_change") < 0.1


def test_a_rising_voice_has_rising_pitch_and_a_larger_pitch_change() -> None:
    time = np.arange(RATE) / RATE
    phase = 2 * np.pi * np.cumsum(120 * 2**time) / RATE  # one octave in a second
    glide = sum(np.cos(k * phase) / k for k in range(1, 10)).astype(np.float32) * 0.1
    table = frames(glide)
    assert (np.diff(column(table, "pitch")[1:-1]) > 0.5).all()
    assert middle(table, "pitch_change") == pytest.approx(12 * 0.01, abs=0.03)  # semitones in 10 ms


def test_the_melody_of_a_glide_spans_its_octave_and_is_the_same_in_every_frame() -> None:
    time = np.arange(4 * RATE) / RATE
    phase = 2 * np.pi * np.cumsum(100 * 2 ** (time / 4)) / RATE  # from 100 to 200 Hz: 0 to 12 semitones, evenly
    table = frames(sum(np.cos(k * phase) / k for k in range(1, 10)).astype(np.float32) * 0.1)
    expected = {"low": 1.2, "middle": 6, "high": 10.8, "spread": 12 / np.sqrt(12), "change": 0.03}
    for name, value in expected.items():
        row = column(table, f"melody_{name}")
        assert (row == row[0]).all()
        assert row[0] == pytest.approx(value, rel=0.1)


def test_the_melody_looks_past_voiceless_steps_and_is_unknown_without_two_voiced_ones() -> None:
    toy = np.array([np.nan, 0.0, np.nan, 1.0, 3.0, 13.0, np.nan])
    low, middle, high, spread, change = melody(toy)
    assert (low, middle, high) == pytest.approx((0.3, 2, 10))  # 10% of the way from 0 to 13 by rank, and so on
    assert spread == pytest.approx(np.std([0, 1, 3, 13]))
    assert change == pytest.approx((1 + 2 + 2) / 3)  # the leap of 10 counts as 2
    assert np.isnan(melody(np.array([np.nan, 5.0]))).all()


@pytest.mark.parametrize("gain", [2.0, 0.5, 10.0])
def test_six_decibels_more_are_six_decibels_louder(gain: float) -> None:
    wave = pulses(150, 1.0, level=0.05)
    gap = column(frames(wave * np.float32(gain)), "loudness") - column(frames(wave), "loudness")
    np.testing.assert_allclose(gap, 20 * np.log10(gain), atol=0.05)


def test_mel_energies_are_natural_logarithms_of_power() -> None:
    wave = pulses(150, 1.0, level=0.05)
    gap = frames(2 * wave)[:, :32] - frames(wave)[:, :32]
    loud = frames(wave)[:, :32] > -5  # far above the floor
    assert loud.any()
    np.testing.assert_allclose(gap[loud], 2 * np.log(2), atol=0.01)


def test_a_high_tone_lights_a_higher_mel_band_than_a_low_one() -> None:
    time = np.arange(RATE) / RATE
    bands = [frames(np.sin(2 * np.pi * f * time).astype(np.float32))[3, :32].argmax() for f in (200, 1000, 3000, 7000)]
    assert bands == sorted(set(bands))


def test_silence_has_no_voice() -> None:
    table = frames(np.zeros(RATE, dtype=np.float32))
    assert not column(table, "voiced").any()
    assert np.isnan(column(table, "pitch")).all()
    assert not column(table, "harmonicity").any()


def test_a_voice_is_more_harmonic_than_noise() -> None:
    noise = np.random.default_rng(0).normal(scale=0.1, size=RATE).astype(np.float32)
    assert middle(frames(pulses(150, 1.0)), "harmonicity") > 0.9
    assert middle(frames(noise), "harmonicity") < 0.5


def test_half_a_second_of_voice_after_half_a_second_of_silence_is_voiced_in_its_second_half() -> None:
    voiced = column(frames(np.concatenate([np.zeros(RATE // 2, np.float32), pulses(150, 0.5)])), "voiced")
    assert not voiced[:4].any()
    assert (voiced[6:9] == 1).all()


@pytest.mark.parametrize(
    "wave",
    [np.array([0.1, np.nan]), np.array([np.inf, 0.1]), np.array([]), np.zeros((2, 100))],
    ids=["nan", "infinite", "empty", "stereo"],
)
def test_what_is_no_waveform_is_refused(wave: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"finite numbers of shape \(samples,\), mono; this one has shape"):
        frames(wave.astype(np.float32))


# ---- normalisation


def groups_of_frames() -> tuple[dict[str, np.ndarray], dict[str, str]]:
    rng = np.random.default_rng(0)
    tables = {f"u{i}": (i + 1) * rng.normal(size=(5 + i, len(FEATURES))) + 10 * i for i in range(6)}
    tables["u3"][2, FEATURES.index("pitch")] = np.nan
    return tables, {name: "ab"[i % 2] for i, name in enumerate(tables)}


def test_each_group_gets_mean_0_and_deviation_1() -> None:
    tables, groups = groups_of_frames()
    found = normalise(tables, groups)
    assert list(found) == list(tables)
    known = [i for i, name in enumerate(FEATURES) if name != "pitch"]
    for group in "ab":
        rows = np.concatenate([found[name] for name in found if groups[name] == group])[:, known]
        np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(rows.std(axis=0), 1, atol=1e-5)


def test_normalising_leaks_nothing_from_one_group_to_another() -> None:
    tables, groups = groups_of_frames()
    before = normalise(tables, groups)
    after = normalise({name: table * (3 if groups[name] == "b" else 1) + 1 for name, table in tables.items()}, groups)
    only = normalise({name: table for name, table in tables.items() if groups[name] == "a"}, groups)
    for name in (n for n in tables if groups[n] == "a"):
        np.testing.assert_allclose(after[name], before[name], atol=1e-5)
        np.testing.assert_array_equal(only[name], before[name])


def test_normalised_by_itself_an_utterance_does_not_depend_on_others() -> None:
    tables, _ = groups_of_frames()
    together = normalise(tables, {name: name for name in tables})
    np.testing.assert_array_equal(together["u1"], normalise({"u1": tables["u1"]}, {"u1": "u1"})["u1"])


def test_unknown_pitch_becomes_the_mean_and_does_not_move_it() -> None:
    tables, groups = groups_of_frames()
    found = normalise(tables, groups)
    pitch = FEATURES.index("pitch")
    assert found["u3"][2, pitch] == 0
    rows = np.concatenate([found[name][:, pitch] for name in found if groups[name] == "b"])
    assert rows.mean() == pytest.approx(0, abs=1e-5)


def test_a_speaker_without_any_voiced_frame_is_normalised_too() -> None:
    table = np.random.default_rng(0).normal(size=(4, len(FEATURES)))
    table[:, [FEATURES.index(name) for name in ("pitch", "pitch_change", *MELODY)]] = np.nan
    assert np.isfinite(normalise({"u": table}, {"u": "a"})["u"]).all()


def test_a_constant_feature_becomes_0() -> None:
    table = np.full((4, len(FEATURES)), 3.0)
    assert not normalise({"u": table}, {"u": "a"})["u"].any()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_are_named(value: float) -> None:
    tables, groups = groups_of_frames()
    tables["u2"][1, FEATURES.index("loudness")] = value
    with pytest.raises(CorpusError, match=r"features of u[0-9] hold NaN or infinity"):
        normalise(tables, groups)


# ---- the cache


def test_features_are_made_once_and_read_back_equal(cache: Path, corpus: Corpus) -> None:
    reads = []

    def read(row):
        reads.append(row["id"])
        return corpus.read(row)

    counted = replace(corpus, read=read)
    first = corpus_frames(counted)
    second = corpus_frames(counted)
    assert sorted(reads) == sorted(corpus.table["id"])
    assert list(first) == list(second) == corpus.table["id"].tolist()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
        np.testing.assert_array_equal(first[name], frames(corpus.waveform(name)))


def test_another_version_of_a_corpus_is_read_anew(cache: Path, corpus: Corpus) -> None:
    corpus_frames(corpus)
    louder = replace(corpus, version="louder", read=lambda row: 2 * corpus.read(row))
    gap = column(corpus_frames(louder)["S1-00"], "loudness") - column(corpus_frames(corpus)["S1-00"], "loudness")
    np.testing.assert_allclose(gap, 6.02, atol=0.05)


def test_a_cache_file_that_was_cut_short_is_made_again(cache: Path) -> None:
    made = cached("x", "key", lambda: {"a": np.arange(1000)})
    (path,) = stored(cache)
    for length in (0, 4, path.stat().st_size // 2, path.stat().st_size - 1):
        path.write_bytes(path.read_bytes()[:length])
        np.testing.assert_array_equal(cached("x", "key", lambda: {"a": np.arange(1000)})["a"], made["a"])
        assert path.stat().st_size > length


def stored(cache: Path) -> list[Path]:
    """Everything in the cache but the locks, which stay."""
    return [path for path in cache.iterdir() if path.suffix != ".lock"]


def test_the_cache_keeps_names_and_keys_apart_and_leaves_no_unfinished_file(cache: Path) -> None:
    for value, (name, key) in enumerate([("x", "a"), ("x", "b"), ("y", "a")]):
        assert cached(name, key, lambda v=value: {"v": np.array([v])})["v"] == value
    assert cached("x", "a", dict)["v"] == 0
    assert len(stored(cache)) == 3
    assert {path.suffix for path in stored(cache)} == {".safetensors"}


def test_a_failed_making_leaves_nothing_in_the_cache(cache: Path) -> None:
    def fail() -> dict[str, np.ndarray]:
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match=r"power cut"):
        cached("x", "key", fail)
    assert not stored(cache)


def test_nothing_is_ever_unpickled(cache: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("something was unpickled")

    first = cached("x", "key", lambda: {"a": np.arange(3)})
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(f"pickle.{name}", forbidden)
    np.testing.assert_array_equal(cached("x", "key", dict)["a"], first["a"])
    (path,) = stored(cache)
    assert not path.read_bytes().startswith(b"\x80")


# ---- words


SENTENCES = [
    f"{who} {verb} the {thing}"
    for who in ("anna", "ben", "carl", "dora")
    for verb, thing in [
        ("eats", "apple"),
        ("eats", "bread"),
        ("eats", "cheese"),
        ("drives", "lorry"),
        ("drives", "bus"),
        ("drives", "taxi"),
    ]
]


@pytest.fixture(scope="module")
def vectors(_own_cache: None) -> WordVectors:
    return word_vectors(SENTENCES, min_count=2)


def cosine(vectors: WordVectors, first: str, second: str) -> float:
    a, b = (vectors.vectors[vectors.tokenizer.token_to_id(word)] for word in (first, second))
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_the_same_sentences_give_the_same_vectors_without_the_cache(
    vectors: WordVectors, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MER_LIB_CACHE", str(tmp_path))
    again = word_vectors(SENTENCES, min_count=2)
    assert again.tokenizer.get_vocab() == vectors.tokenizer.get_vocab()
    np.testing.assert_array_equal(again.vectors, vectors.vectors)


def test_other_sentences_give_other_vectors(vectors: WordVectors) -> None:
    other = word_vectors([*SENTENCES, "anna eats the lorry"], min_count=2)
    assert not np.array_equal(other.vectors, vectors.vectors)


def test_words_that_keep_the_same_company_lie_close_together(vectors: WordVectors) -> None:
    assert cosine(vectors, "apple", "bread") > 0.9
    assert cosine(vectors, "apple", "bread") > cosine(vectors, "apple", "lorry") + 0.3
    assert set(vectors.nearest("apple", 2)) == {"bread", "cheese"}


def test_a_vector_has_the_length_that_was_asked_for() -> None:
    found = word_vectors(SENTENCES, dimensions=7, min_count=2)
    assert found.vectors.shape == (found.tokenizer.get_vocab_size(), 7)
    assert found.vectors.dtype == np.float32


def test_unknown_words_share_the_first_row_which_is_0(vectors: WordVectors) -> None:
    ids, _ = vectors.encode("Anna EATS quinoa, and Zoe drives!")
    known = vectors.tokenizer.token_to_id
    assert ids.tolist() == [known("anna"), known("eats"), 0, 0, 0, known("drives")]
    assert not vectors.vectors[0].any()


@pytest.mark.parametrize("text", ["", "   ", "...", "?! -"])
def test_a_text_without_words_is_one_unknown_word(vectors: WordVectors, text: str) -> None:
    ids, spans = vectors.encode(text)
    assert ids.tolist() == [0]
    assert spans.tolist() == [[0, 1]]


def test_spans_say_where_a_word_stands(vectors: WordVectors) -> None:
    ids, spans = vectors.encode("anna eats")
    assert len(ids) == 2
    np.testing.assert_allclose(spans, [[0, 4 / 9], [5 / 9, 1]], atol=1e-6)


def test_a_negation_stays_one_word() -> None:
    found = word_vectors(["I couldn't stay", "you couldn't stay"], min_count=1)
    assert len(found.encode("couldn't")[0]) == 1
    assert found.encode("couldn't")[0][0] != 0
    ids, spans = found.encode("I couldn\u2019t stay")
    assert ids.tolist() == found.encode("I couldn't stay")[0].tolist()
    assert spans.tolist() == found.encode("I couldn't stay")[1].tolist()


@settings(deadline=None, max_examples=50, derandomize=True)
@given(st.text(max_size=40))
def test_any_text_becomes_words_in_order_with_spans_from_0_to_1(vectors: WordVectors, text: str) -> None:
    ids, spans = vectors.encode(text)
    assert len(ids) == len(spans) >= 1
    assert ((spans >= 0) & (spans <= 1)).all()
    assert (spans[:, 0] < spans[:, 1]).all()
    assert (np.diff(spans[:, 0]) >= 0).all()
    assert ((ids >= 0) & (ids < len(vectors.vectors))).all()


def test_a_word_that_is_not_in_the_vocabulary_has_no_neighbours(vectors: WordVectors) -> None:
    with pytest.raises(ValueError, match=r"vocabulary has no word 'quinoa'"):
        vectors.nearest("quinoa")


@pytest.mark.parametrize("sentences", [[], ["one two three"], ["", ""]])
def test_too_few_sentences_are_refused(sentences: list[str]) -> None:
    with pytest.raises(ValueError, match=f"No word occurs 5 times in {len(sentences)} sentences"):
        word_vectors(sentences)


def test_ppmi_is_what_the_hand_computes() -> None:
    # Rows sum to 8 and 2; contexts to 8 and 2, to the power 0.75: 4.7568 and 1.6818, shares 0.73880 and 0.26120.
    # log(7 / (8 * 0.7388)) = 0.16928 and log(1 / (2 * 0.2612)) = 0.64933; the other two are below 0.
    found = ppmi(csr_matrix([[7.0, 1.0], [1.0, 1.0]])).toarray()
    np.testing.assert_allclose(found, [[0.16928, 0], [0, 0.64933]], atol=1e-4)


def test_ppmi_keeps_pairs_that_never_met_at_0() -> None:
    found = ppmi(csr_matrix([[0.0, 3.0], [3.0, 0.0]]))
    np.testing.assert_allclose(found.toarray(), [[0, np.log(2)], [np.log(2), 0]], atol=1e-12)


# ---- batches


def some(lengths: list[tuple[int, int]]) -> Utterances:
    rng = np.random.default_rng(0)
    return Utterances(
        [f"u{i}" for i in range(len(lengths))],
        [rng.normal(size=(t, 3)) for t, _ in lengths],
        [np.full(w, i + 1) for i, (_, w) in enumerate(lengths)],
        [np.tile([0.0, 1.0], (w, 1)) for _, w in lengths],
        [i % 4 for i in range(len(lengths))],
    )


def test_a_batch_is_padded_to_the_longest_and_its_masks_count_what_is_there() -> None:
    data = some([(5, 2), (1, 4), (3, 1)])
    batch = data.batch([2, 0, 1])
    assert batch.audio.shape == (3, 5, 3)
    assert batch.text.shape == (3, 4)
    assert batch.text_span.shape == (3, 4, 2)
    assert batch.mask("audio").sum(1).tolist() == [3, 5, 1]
    assert batch.mask("text").sum(1).tolist() == [1, 2, 4]
    assert batch.label.tolist() == [2, 0, 1]
    assert torch.equal(batch.audio[0, :3], data.audio[2])
    assert not batch.audio[~batch.audio_mask].any()


def test_batches_in_order_go_through_all_once() -> None:
    sizes = [len(batch.label) for batch in some([(2, 2)] * 10).batches(4)]
    first_words = torch.cat([batch.text[:, 0] for batch in some([(2, 2)] * 10).batches(4)])
    assert sizes == [4, 4, 2]
    assert first_words.tolist() == list(range(1, 11))


def test_shuffling_follows_its_generator() -> None:
    data = some([(2, 2)] * 20)

    def order(seed: int) -> list[int]:
        batches = data.batches(8, torch.Generator().manual_seed(seed))
        return torch.cat([batch.text[:, 0] for batch in batches]).tolist()

    assert order(3) == order(3)
    assert order(3) != order(4)
    assert sorted(order(3)) == list(range(1, 21))


def test_a_generator_shuffles_anew_in_every_epoch() -> None:
    data, generator = some([(2, 2)] * 20), torch.Generator().manual_seed(0)
    epochs = [torch.cat([b.text[:, 0] for b in data.batches(8, generator)]).tolist() for _ in range(2)]
    assert epochs[0] != epochs[1]


def test_a_split_without_utterances_is_refused() -> None:
    with pytest.raises(CorpusError, match=r"split without utterances"):
        some([])


@pytest.mark.parametrize("lengths", [(0, 2), (2, 0)])
def test_an_empty_sequence_is_named(lengths: tuple[int, int]) -> None:
    with pytest.raises(CorpusError, match=f"u1 has {lengths[0]} frames and {lengths[1]} words; both need at least one"):
        some([(2, 2), lengths])


def test_features_that_are_nan_never_reach_a_batch() -> None:
    with pytest.raises(CorpusError, match=r"features of u0 hold NaN"):
        Utterances(["u0"], [np.array([[np.nan]])], [np.array([1])], [np.array([[0.0, 1.0]])], [0])


def test_two_that_want_the_same_at_the_same_time_make_it_once() -> None:
    made = []

    def slow() -> dict[str, np.ndarray]:
        made.append(1)
        time.sleep(0.2)
        return {"table": np.ones(3)}

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: cached("shared", "key", slow), range(2)))
    assert len(made) == 1
    assert all((tables["table"] == 1).all() for tables in found)


# ---- one fold, prepared


def test_a_prepared_fold_holds_its_utterances_with_their_labels(data: Prepared, corpus: Corpus) -> None:
    for part in ("train", "dev", "test"):
        split = getattr(data, part)
        assert split.ids == getattr(data.fold, part)
        assert [EMOTIONS[label] for label in split.labels] == corpus.table.loc[split.ids, "emotion"].tolist()
        assert all(table.shape[1] == STEP_FEATURES for table in split.audio)


def test_the_audio_of_each_speaker_is_normalised_over_that_speaker(data: Prepared, corpus: Corpus) -> None:
    steps = dict(zip(data.test.ids, data.test.audio, strict=True))
    lengths = {name: len(table) for name, table in corpus_frames(corpus).items()}
    rows = {name: steps[name].reshape(-1, len(FEATURES))[: lengths[name]] for name in steps}  # two frames to a step
    for _, ids in corpus.table.loc[data.test.ids].groupby("speaker")["id"]:
        loudness = torch.cat([rows[i] for i in ids])[:, FEATURES.index("loudness")]
        assert float(loudness.mean()) == pytest.approx(0, abs=1e-4)
        assert float(loudness.std(correction=0)) == pytest.approx(1, abs=1e-3)


def test_word_vectors_know_no_word_that_only_dev_or_test_say(corpus: Corpus) -> None:
    fold = corpus.fold(1)
    held_out = [*fold.dev, *fold.test]
    texts = corpus.table["text"].where(~corpus.table["id"].isin(held_out), corpus.table["text"] + " Zanzibar zanzibar")
    vectors = fold_vectors(replace(corpus, table=corpus.table.assign(text=texts)), fold)
    plain = fold_vectors(corpus, fold)
    assert vectors.tokenizer.token_to_id("zanzibar") is None
    np.testing.assert_array_equal(vectors.vectors, plain.vectors)


def test_the_unlabelled_pool_is_asked_for_the_training_sessions_only(corpus: Corpus) -> None:
    asked = []

    def pool(sessions: list[str]) -> list[str]:
        asked.append(sessions)
        return SENTENCES

    found = fold_vectors(replace(corpus, unlabelled=pool), corpus.fold(1))
    assert asked == [["S3", "S4"]]
    assert found.tokenizer.token_to_id("the") is not None


def test_a_class_without_training_utterances_is_named(corpus: Corpus) -> None:
    table = corpus.table[~((corpus.table["emotion"] == "angry") & corpus.table["session"].isin(["S3", "S4"]))]
    small = replace(corpus, table=table)
    with pytest.raises(CorpusError, match=r"Fold S1 of tiny trains without any angry utterance"):
        prepare(small, small.fold(1))


@pytest.mark.parametrize("part", ["train", "dev", "test"])
def test_a_part_of_a_fold_without_a_usable_sound_is_named(corpus: Corpus, cache: Path, part: str) -> None:
    fold = corpus.fold(1)
    lost = set(getattr(fold, part))

    def read(row: pd.Series) -> np.ndarray:
        return np.zeros(0, dtype=np.float32) if row["id"] in lost else corpus.read(row)

    with pytest.raises(CorpusError, match=rf"No utterance of the {part} part of fold S1 of tiny can be used"):
        prepare(replace(corpus, read=read, fallible=True), fold)


def test_whatever_goes_wrong_in_reading_a_sound_is_a_reason_to_leave_it_out(corpus: Corpus, cache: Path) -> None:
    def read(row: pd.Series) -> np.ndarray:
        if row["id"] == "S1-03":
            raise ZeroDivisionError("odd clock")
        return corpus.read(row)

    checked = check_audio(replace(corpus, read=read, fallible=True))
    assert checked.skipped[["what", "why"]].to_numpy().tolist() == [["S1-03", "cannot be read (odd clock)"]]
    assert len(checked) == len(corpus) - 1


def test_a_sound_that_cannot_be_read_stops_the_preparation(cache: Path) -> None:
    corpus = make_corpus(sessions=3, each=1)
    broken = replace(corpus, read=lambda row: np.full(1600, np.nan, dtype=np.float32))
    with pytest.raises(CorpusError, match=r"sound of S1-00 in S1.zip/00 is empty or not finite"):
        prepare(broken, broken.fold(1))
    assert not list(cache.glob("frames*.safetensors"))


def of_dialogues(places: list[tuple[int, int, int]]) -> Utterances:
    """Utterances of one frame and one word, at these places."""
    count = len(places)
    alike = [[np.zeros((1, 2))] * count, [np.zeros(1, int)] * count, [np.array([[0.0, 1.0]])] * count]
    return Utterances([f"u{i}" for i in range(count)], *alike, [0] * count, np.array(places))


def test_batches_of_dialogues_hold_whole_ones_with_their_turns_in_order() -> None:
    places = [(d, t, t % 2) for d, turns in enumerate([3, 1, 4, 2]) for t in range(turns)]
    mixed = [places[i] for i in (9, 4, 0, 7, 2, 5, 1, 3, 8, 6)]
    parts = list(of_dialogues(mixed).dialogues(5, torch.Generator().manual_seed(1)))
    assert sorted(row for rows in parts for row in rows) == list(range(10))
    for rows in parts:
        found = [mixed[row] for row in rows]
        assert len(found) <= 5
        for dialogue in {d for d, _, _ in found}:
            assert [p for p in found if p[0] == dialogue] == [p for p in places if p[0] == dialogue]


def test_a_dialogue_longer_than_a_batch_comes_alone_and_whole() -> None:
    parts = list(of_dialogues([(0, 0, 0), *[(1, t, 0) for t in range(5)], (2, 0, 0)]).dialogues(3))
    assert parts == [[0], [1, 2, 3, 4, 5], [6]]


def test_without_places_every_utterance_is_a_dialogue_of_its_own() -> None:
    alone = Utterances(["a", "b"], [np.zeros((1, 2))] * 2, [np.zeros(1, int)] * 2, [np.zeros((1, 2))] * 2, [0, 1])
    assert alone.batch([1, 0]).place.tolist() == [[1, 0, 0], [0, 0, 0]]


def test_a_prepared_fold_knows_dialogue_turn_and_speaker() -> None:
    corpus = make_corpus(sessions=3, each=1)
    split = prepare(corpus, corpus.fold(1)).train
    table = corpus.table.loc[split.ids]
    for number, name in enumerate(("dialogue", "turn", "speaker")):
        pairs = set(zip(split.places[:, number].tolist(), table[name], strict=True))
        assert len(pairs) == table[name].nunique()
    assert np.all(np.diff(table["turn"])[np.diff(split.places[:, 0]) == 0] > 0)


# ---- states that ship


@pytest.mark.parametrize(("name", "layers"), [("minilm", 7), ("whisper-tiny-en", 5)])
def test_the_states_that_ship_are_of_utterances_of_duet_balanced_over_classes_and_sessions(
    name: str, layers: int
) -> None:
    ids, held = shipped_states(name)
    rows = corpora.load("duet-i").table.loc[ids]
    assert len(set(rows.groupby(["session", "emotion"]).size())) == 1
    for how in ("trained", "random"):
        assert held[how].shape == (len(ids), layers, 384)
        assert held[how].dtype == np.float16
        assert np.isfinite(held[how]).all()


def test_states_that_do_not_ship_are_named_beside_those_that_do() -> None:
    with pytest.raises(FileNotFoundError, match="No hidden states of 'bert' ship; there are minilm, whisper-tiny-en"):
        shipped_states("bert")
