"""The sound of Duet: the synthesiser, the voices, the recording, the storage, and the generator that joins them."""

from __future__ import annotations

import ctypes.util
import io
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import parselmouth
import pytest
import soundfile

from mer_lib.corpora import duet
from mer_lib.corpora.base import EMOTIONS, SAMPLE_RATE
from mer_lib.corpora.duet import acoustics, archive, generate, speech, voices
from mer_lib.corpora.duet.process import DEADPAN, PROCESSES, generator

TEXTS = ["The parcel came before lunch,", "and we put it on the table."]
STYLES = [*EMOTIONS, DEADPAN]


def installed() -> bool:
    """Whether there is a synthesiser."""
    try:
        speech.version()
    except speech.SpeechError:
        return False
    return True


synthesised = pytest.mark.skipif(not installed(), reason="eSpeak NG is not installed: pip install espeakng-loader")


def say(voice: str = "neutral", stressed: int = -1, speaker: str = "S1M", seed: int = 0, **knobs: float) -> np.ndarray:
    """Speak the two clauses."""
    return acoustics.render(TEXTS, voice, stressed, speaker, generator(seed, "test"), **knobs)


def hum(seconds: float = 1.0) -> np.ndarray:
    """A steady noise with a level of 1."""
    return np.random.default_rng(0).normal(0, 1, int(seconds * SAMPLE_RATE))


def octaves(wave: np.ndarray) -> dict[int, float]:
    """Level in dB of the bands about 250, 500, 1000, 2000 and 4000 Hz."""
    power = np.abs(np.fft.rfft(wave)) ** 2
    octave = np.log2(np.fft.rfftfreq(len(wave), 1 / SAMPLE_RATE)[1:] / 1000)
    return {n: 10 * np.log10(power[1:][np.abs(octave - n) < 0.25].mean()) for n in range(-2, 3)}


def wobble(wave: np.ndarray) -> float:
    """Relative depth of the 4.5 to 6.5 Hz modulation of the level."""
    envelope = np.abs(wave).reshape(-1, 160).mean(axis=1)
    hertz = np.fft.rfftfreq(len(envelope), 0.01)
    return float(np.abs(np.fft.rfft(envelope))[(hertz > 4.4) & (hertz < 6.6)].max() * 2 / envelope.sum())


@synthesised
def test_an_utterance_sounds_the_same_whatever_was_said_before() -> None:
    first = say()
    say("angry", speaker="S2F")
    np.testing.assert_array_equal(say(), first)


@synthesised
@pytest.mark.parametrize("speaker", voices.SPEAKERS)
def test_every_speaker_can_act_every_style(speaker: str) -> None:
    for voice in STYLES:
        wave = say(voice, speaker=speaker)
        assert wave.dtype == np.float32
        assert 1.5 < len(wave) / SAMPLE_RATE < 6
        assert 0.02 < np.abs(wave).max() < 1


@synthesised
def test_the_synthesiser_says_each_word_once() -> None:
    with speech.synthesiser() as loaded:
        short, long = (loaded.say("no " * n, "gmw/en+m3", rate=170, pitch=50, range=40, word_gap=0) for n in (5, 10))
    assert 1.7 < len(long) / len(short) < 2.2


@synthesised
def test_an_unknown_voice_is_a_sentence() -> None:
    with speech.synthesiser() as loaded, pytest.raises(speech.SpeechError, match="has no voice 'gmw/en-XX'"):
        loaded.say("no", "gmw/en-XX")


@synthesised
def test_a_text_without_sound_is_a_sentence() -> None:
    with speech.synthesiser() as loaded, pytest.raises(speech.SpeechError, match="said nothing for ''"):
        loaded.say("", "gmw/en+m3")


def test_a_missing_synthesiser_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    monkeypatch.setattr(ctypes.util, "find_library", lambda _: None)
    with pytest.raises(speech.SpeechError, match="Run `pip install espeakng-loader`"):
        speech.version()


def test_twelve_speakers_differ_in_voice_and_pitch() -> None:
    assert list(voices.SPEAKERS) == [f"S{session}{gender}" for session in range(1, 7) for gender in "FM"]
    assert len({speaker.variant for speaker in voices.SPEAKERS.values()}) == 12


def test_habits_belong_to_the_speaker_and_the_rest_is_drawn() -> None:
    means = {
        speaker: np.mean([voices.deliver("happy", speaker, generator(n, "test")).pitch for n in range(50)])
        for speaker in voices.SPEAKERS
    }
    again = np.mean([voices.deliver("happy", "S1F", generator(n, "test")).pitch for n in range(50, 100)])
    assert np.std(list(means.values())) > 3 * abs(means["S1F"] - again)


def test_stress_raises_lengthens_and_strengthens_one_clause() -> None:
    plain, stressed, twice = (
        voices.clauses(voices.STYLES["neutral"], 3, which, strength, generator(0, "test"))
        for which, strength in ((-1, 1.0), (1, 1.0), (1, 2.0))
    )
    assert (plain[0], plain[2]) == (stressed[0], stressed[2])
    for name in ("level", "pitch", "range"):
        gain = getattr(stressed[1], name) - getattr(plain[1], name)
        assert gain == pytest.approx(getattr(voices.STRESS, name))
        assert getattr(twice[1], name) - getattr(plain[1], name) == pytest.approx(2 * gain)
    assert stressed[1].rate - plain[1].rate == pytest.approx(np.log(0.86))


def test_settings_stay_within_what_the_synthesiser_takes() -> None:
    extreme = replace(voices.STYLES["angry"], pitch=90, range=140, pause=-2)
    assert voices.settings(voices.SPEAKERS["S4F"], extreme) == {"rate": 208, "pitch": 99, "range": 99, "word_gap": 0}
    low = voices.settings(voices.SPEAKERS["S2M"], replace(extreme, pitch=-90, range=-20))
    assert (low["pitch"], low["range"]) == (0, 0)


@pytest.mark.parametrize("tilt", [-6.0, 6.0])
def test_tilt_turns_the_spectrum_about_1_khz(tilt: float) -> None:
    before, after = octaves(hum()), octaves(acoustics.shape(hum(), lambda octave: tilt / 2 * octave))
    for octave in before:
        assert after[octave] - before[octave] == pytest.approx(tilt / 2 * octave, abs=0.3)


def test_level_is_set_whatever_the_voice_quality() -> None:
    for way in voices.STYLES.values():
        wave = acoustics.voice_quality(hum(), way, generator(0, "test"))
        assert 20 * np.log10(acoustics.rms(wave)) == pytest.approx(acoustics.LEVEL + way.level)


def test_tremor_modulates_the_level_as_deeply_as_told() -> None:
    still, trembling = (acoustics.warp(np.sin(np.arange(64_000)), 0, depth, generator(0, "test")) for depth in (0, 0.2))
    assert wobble(still) < 0.01
    assert wobble(trembling) == pytest.approx(0.2, abs=0.05)


def test_jitter_makes_periods_unequal() -> None:
    tone = np.sin(2 * np.pi * 200 * np.arange(32_000) / SAMPLE_RATE)
    spread = []
    for jitter in (0.0, 0.02, 0.05):
        crossings = np.flatnonzero(np.diff(np.sign(acoustics.warp(tone, jitter, 0, generator(0, "test")))) > 0)
        spread.append(np.std(np.diff(crossings)))
    assert spread == sorted(spread)
    assert spread[2] > 2 * spread[1]


def test_saturation_lowers_the_crest_and_zero_drive_changes_nothing() -> None:
    crest = [np.abs(w).max() / acoustics.rms(w) for w in (acoustics.saturate(hum(), drive) for drive in (0, 0.4, 2.5))]
    assert crest == sorted(crest, reverse=True)
    np.testing.assert_array_equal(acoustics.saturate(hum(), 0), hum())


def test_breath_follows_the_envelope_and_falls_with_frequency() -> None:
    half = hum() * (np.arange(SAMPLE_RATE) < SAMPLE_RATE // 2)
    noise = acoustics.breath(half, generator(0, "test"))
    assert acoustics.rms(noise[:7500]) > 100 * acoustics.rms(noise[8500:])
    levels = octaves(acoustics.breath(hum(), generator(0, "test")))
    assert levels[0] - levels[2] == pytest.approx(12, abs=1.5)


def test_a_room_decays_by_60_db_in_its_reverberation_time() -> None:
    click = np.eye(1, SAMPLE_RATE)[0]
    heard = acoustics.reverberate(click, 0.4, np.random.default_rng(0))[1:]
    levels = [20 * np.log10(acoustics.rms(heard[int(t * SAMPLE_RATE) :][:800])) for t in (0.05, 0.15, 0.25)]
    np.testing.assert_allclose(np.diff(levels), -15, atol=2)


@synthesised
def test_noise_lies_under_the_speech_and_the_knob_raises_it() -> None:
    quiet, loud = say(), say(noise=20.0)
    difference = loud - quiet
    assert -40 < 20 * np.log10(acoustics.rms(difference)) - acoustics.LEVEL < 1
    assert np.corrcoef(difference, quiet)[0, 1] < 0.1


def test_compressed_sound_is_the_same_every_time_and_what_libsndfile_would_write() -> None:
    wave = 0.1 * hum().astype(np.float32)
    plain = io.BytesIO()
    soundfile.write(plain, wave, SAMPLE_RATE, format="OGG", subtype="OPUS", compression_level=archive.COMPRESSION)
    encoded = archive.encode(wave)
    assert encoded == archive.encode(wave)
    assert len(encoded) < plain.tell() - 700
    plain.seek(0)
    np.testing.assert_array_equal(soundfile.read(io.BytesIO(encoded))[0], soundfile.read(plain)[0])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A tiny corpus with irony and focus, made twice, and once with another seed."""
    roots = [tmp_path_factory.mktemp(name) for name in ("first", "second", "other")]
    for root, seed in zip(roots, (7, 7, 8), strict=True):
        generate.generate(PROCESSES["duet-x"], 10, seed, root, jobs=1)
    return [root / "duet-x" for root in roots]


@synthesised
def test_the_same_seed_makes_the_same_files_and_another_one_others(made: list[Path]) -> None:
    names = sorted(path.name for path in made[0].iterdir())
    assert names == ["S1.zip", "S2.zip", "S3.zip", "S4.zip", "S5.zip", "corpus.json", "utterances.csv"]
    for name in names:
        first, second, other = ((folder / name).read_bytes() for folder in made)
        assert first == second != other


@synthesised
def test_what_was_made_can_be_loaded_and_heard(made: list[Path]) -> None:
    corpus = duet.load("duet-x", root=made[0].parent)
    drawn = PROCESSES["duet-x"].draw(10, seed=7).set_index("id")
    pd.testing.assert_frame_equal(corpus.table.join(corpus.truth)[drawn.columns], drawn, check_names=False)
    for name, row in corpus.table.iterrows():
        assert len(corpus.waveform(name)) / SAMPLE_RATE == pytest.approx(row["end"] - row["start"], abs=0.011)
    assert corpus.version != duet.load("duet-x", root=made[2].parent).version


def test_turns_follow_each_other_with_small_gaps_and_some_overlap() -> None:
    table = pd.DataFrame({"dialogue": np.repeat(["a", "b"], 50), "duration": 2.0})
    placed = generate.schedule(table, seed=0)
    gaps = np.concatenate([rows["start"][1:].to_numpy() - rows["end"][:-1] for _, rows in placed.groupby("dialogue")])
    assert placed.groupby("dialogue")["start"].first().eq(0).all()
    assert -0.31 < gaps.min() < 0 < gaps.max() < 0.91
    assert (gaps < 0).mean() == pytest.approx(0.25, abs=0.1)


def test_the_command_says_in_a_sentence_what_is_wrong(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    command = ["generate", "--corpus", "duet-i", "--size", "3", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit, match="3 utterances cannot fill 5 sessions"):
        generate.main()


@synthesised
@pytest.mark.parametrize(("speaker", "lowest", "highest"), [("S1F", 150, 260), ("S1M", 80, 140)])
def test_women_speak_higher_than_men(speaker: str, lowest: int, highest: int) -> None:
    pitch = parselmouth.Sound(say(speaker=speaker).astype(float), SAMPLE_RATE).to_pitch_ac(pitch_floor=60)
    hertz = pitch.selected_array["frequency"]
    assert lowest < np.median(hertz[hertz > 0]) < highest
