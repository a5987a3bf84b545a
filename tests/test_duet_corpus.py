"""The shipped Duet: drawn as planted, audible as stated, sharing nothing unstated, and clear about damage."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import parselmouth
import pytest
from scipy import stats
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from mer_lib import corpora, shipped
from mer_lib.corpora import duet
from mer_lib.corpora.base import EMOTIONS, SAMPLE_RATE, CorpusError
from mer_lib.corpora.duet import generate, speech, words
from mer_lib.corpora.duet.process import DEADPAN, FLIP

SIZES = {"duet-i": 1800, "duet-m": 1800, "duet-x": 3600}
SESSIONS = {"duet-i": 5, "duet-m": 6, "duet-x": 5}
LEVEL, PITCH = slice(0, 3), slice(3, 10)
every = pytest.mark.parametrize("name", SIZES)

# What a listener could measure -----------------------------------------------------------------------------------


@cache
def bands(number: int = 20, length: int = 512) -> np.ndarray:
    """Triangular bands, evenly spaced on the mel scale from 60 to 7,600 Hz, (bands, frequencies)."""
    mel = np.linspace(*(2595 * np.log10(1 + hertz / 700) for hertz in (60, 7600)), number + 2)
    edges = (700 * (10 ** (mel / 2595) - 1))[:, None]
    hertz = np.fft.rfftfreq(length, 1 / SAMPLE_RATE)
    rise, fall = (hertz - edges[:-2]) / np.diff(edges[:-1], axis=0), (edges[2:] - hertz) / np.diff(edges[1:], axis=0)
    return np.clip(np.minimum(rise, fall), 0, None)


def semitones(wave: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Times in seconds and pitch in semitones above 100 Hz of the voiced frames, by Praat."""
    pitch = parselmouth.Sound(wave.astype(float), SAMPLE_RATE).to_pitch_ac(0.02, pitch_floor=65, pitch_ceiling=500)
    hertz = pitch.selected_array["frequency"]
    return pitch.xs()[hertz > 0], 12 * np.log2(hertz[hertz > 0] / 100)


def functionals(wave: np.ndarray) -> np.ndarray:
    """Level (3), pitch (7), voicing, rhythm and spectrum of an utterance as 55 plain statistics."""
    frames = np.lib.stride_tricks.sliding_window_view(wave, 400)[::160] * np.hanning(400)
    power = np.abs(np.fft.rfft(frames, 512)) ** 2
    energy, mel = 10 * np.log10(power.sum(axis=1) + 1e-9), 10 * np.log10(power @ bands().T + 1e-9)
    active = energy > energy.max() - 30
    _, pitch = semitones(wave)
    pitch = pitch if len(pitch) > 3 else np.zeros(4)
    low, middle, high = np.percentile(pitch, [10, 50, 90])
    smooth = np.convolve(energy, np.ones(5) / 5, "same")
    peaks = (smooth[1:-1] > smooth[:-2]) & (smooth[1:-1] > smooth[2:]) & active[1:-1]
    shape = mel[active].mean(axis=0)
    return np.r_[
        10 * np.log10(power.sum(axis=1)[active].mean()), np.percentile(energy[active], [50, 90]),
        low, middle, high, high - low, pitch.std(), np.abs(np.diff(pitch)).clip(0, 2).mean(), len(pitch) / len(frames),
        energy[active].std(), active.mean(), peaks.mean(), np.abs(np.diff(mel, axis=0)).mean(),
        np.abs(np.diff(energy)).mean(), shape - shape.mean(), mel[active].std(axis=0),
    ]  # fmt: skip


def listen(name: str, rows: pd.DataFrame) -> np.ndarray:
    """Functionals of the shipped sound of some rows, (rows, functionals)."""
    corpus = duet.load(name)
    return np.stack([functionals(corpus.waveform(utterance)) for utterance in rows.index])


def per_speaker(values: np.ndarray, speaker: pd.Series) -> np.ndarray:
    """Values relative to each speaker's mean and deviation."""
    groups = pd.DataFrame(values).groupby(speaker.to_numpy())
    return ((values - groups.transform("mean")) / (groups.transform("std") + 1e-9)).to_numpy()


def heard(values: np.ndarray, rows: pd.DataFrame) -> float:
    """Accuracy of a support-vector machine that names the acted style of speakers it never heard."""
    right = np.zeros(len(rows), dtype=bool)
    for session in rows["session"].unique():
        test = (rows["session"] == session).to_numpy()
        machine = make_pipeline(StandardScaler(), SVC(C=3)).fit(values[~test], rows["voice"][~test])
        right[test] = machine.predict(values[test]) == rows["voice"][test]
    return float(right.mean())


@cache
def whole(name: str) -> pd.DataFrame:
    """Table and truth together."""
    corpus = duet.load(name)
    return corpus.table.join(corpus.truth)


@cache
def sample(name: str) -> tuple[pd.DataFrame, np.ndarray]:
    """A fixed sample of the utterances without focus, and their functionals."""
    rows = whole(name).query("kind != 'focus'").sample(600, random_state=0)
    return rows, listen(name, rows)


def stated(what: str) -> list[float]:
    """Numbers in one row of a table of the datasheet."""
    sheet = (shipped.folder("duet") / "DATASHEET.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| {what} \|(.*)\|$", sheet, flags=re.MULTILINE)
    return [float(cell) for cell in row.split("|")]


def clauses(wave: np.ndarray, texts: list[str]) -> np.ndarray:
    """Level in dB and pitch in semitones of each clause, (clauses, 2), cut where it is quiet nearby."""
    level = 10 * np.log10(np.convolve(wave**2, np.ones(400) / 400, "same")[::80] + 1e-9)
    smooth = np.convolve(level, np.ones(5) / 5, "same")
    length = np.array([len(text) for text in texts])
    cuts = [0]
    for guess in np.cumsum(length)[:-1] / length.sum() * len(level):
        near = np.arange(max(int(guess) - 60, 0), min(int(guess) + 60, len(level)))
        cuts.append(near[np.argmin(smooth[near] + 0.08 * np.abs(near - guess))])
    times, pitch = semitones(wave)
    rows = []
    for start, end in zip(cuts, [*cuts[1:], len(level)], strict=True):
        piece, tones = level[start:end], pitch[(times * 200 >= start) & (times * 200 < end)]
        loud = 10 * np.log10(np.mean(10 ** (piece[piece > piece.max() - 25] / 10)))
        rows.append((loud, np.percentile(tones, 85) if len(tones) else -99))
    return np.array(rows)


def vocabulary(texts: object) -> set[str]:
    """Words that occur anywhere in lists of texts."""
    return set(re.findall(r"[\w'-]+", json.dumps(texts).lower()))


# The table ----------------------------------------------------------------------------------------------------------


def agrees(observed: np.ndarray, expected: np.ndarray, dependence: float = 1.0) -> bool:
    """Chi-square test of counts at p > 0.001, rare cells taken together; `dependence` is the design effect."""
    rare = expected < 5
    counts = [np.r_[x[~rare], [x[rare].sum()] * bool(rare.any())] for x in (observed, expected)]
    return stats.chi2.sf(np.sum((counts[0] - counts[1]) ** 2 / counts[1]) / dependence, len(counts[0]) - 1) > 0.001


@every
def test_a_corpus_has_the_stated_size_sessions_and_speakers(name: str) -> None:
    table = duet.load(name).table
    assert len(table) == SIZES[name]
    assert table["session"].value_counts().eq(SIZES[name] / SESSIONS[name]).all()
    sessions = range(1, SESSIONS[name] + 1)
    assert sorted(table["speaker"].unique()) == [f"S{number}{gender}" for number in sessions for gender in "FM"]
    assert (table["speaker"].str[:2] == table["session"]).all()


def test_the_three_corpora_take_at_most_40_mb() -> None:
    assert sum(path.stat().st_size for path in shipped.folder("duet").rglob("*") if path.is_file()) <= 40_000_000


@every
def test_emotions_come_as_often_as_planted(name: str) -> None:
    table, process = whole(name), duet.process(name)
    counts = table["emotion"].value_counts().reindex(EMOTIONS).to_numpy()
    stays = (1 + process.inertia) / (1 - process.inertia)  # turns of a chain count for less
    assert agrees(counts, len(table) * np.array(process.shares), dependence=stays)


@every
def test_cues_given_the_emotion_come_as_often_as_planted(name: str) -> None:
    table, joint = whole(name), duet.process(name).joint()
    cues = ["kind", "voice", "stressed", "says"]
    for emotion, planted in joint.groupby("emotion"):
        rows = table[table["emotion"] == emotion]
        expected = planted.set_index(cues)["probability"] / planted["probability"].sum() * len(rows)
        observed = rows.groupby(cues).size()
        assert set(observed.index) <= set(expected.index)
        assert agrees(observed.reindex(expected.index, fill_value=0).to_numpy(), expected.to_numpy())


@every
def test_scenarios_come_as_often_as_planted_and_prefer_their_emotion(name: str) -> None:
    table, planted = whole(name), duet.process(name).scenarios()
    counts = table.groupby("dialogue")["scenario"].first().value_counts().reindex(planted.index, fill_value=0)
    assert agrees(counts.to_numpy(), planted["probability"].to_numpy() * counts.sum())
    favourite = table["scenario"].str[-2:].astype(int) % 4
    emotion = table["emotion"].map(EMOTIONS.index)
    shares = np.array(duet.process(name).shares)
    expected = np.mean(0.8 * shares[favourite] + 0.2)
    assert (emotion == favourite).mean() == pytest.approx(expected, abs=4 * 0.5 / np.sqrt(len(table)) * 1.6)


@every
def test_a_turn_keeps_the_emotion_before_as_often_as_planted(name: str) -> None:
    table, process = whole(name), duet.process(name)
    before = table.groupby("dialogue")["emotion"].shift()
    later = table[before.notna()]
    given = process.scenarios()
    drawn = [given.at[scene, emotion] for scene, emotion in zip(later["scenario"], before.dropna(), strict=True)]
    expected = np.mean(process.inertia + (1 - process.inertia) * np.array(drawn))
    assert (later["emotion"] == before.dropna()).mean() == pytest.approx(expected, abs=3.3 * 0.5 / np.sqrt(len(later)))


@every
def test_the_planted_columns_fit_each_other(name: str) -> None:
    table = whole(name)
    said, clause = table["says"].str.split("|"), table["clauses"].str.split("|")
    assert (table["text"] == clause.str.join(" ")).all()
    assert (table["stressed"].ge(0) == table["kind"].eq("focus")).all()
    assert (table["voice"].eq(DEADPAN) == table["kind"].eq("irony")).all()
    focus, irony = table[table["kind"] == "focus"], table[table["kind"] == "irony"]
    assert (said[focus.index].str.len() == clause[focus.index].str.len()).all()
    if name == "duet-x":
        meant = [says.split("|")[stressed] for says, stressed in zip(focus["says"], focus["stressed"], strict=True)]
        assert np.mean(focus["emotion"] == meant) == pytest.approx(0.95, abs=0.02)
        assert np.mean(irony["emotion"] == irony["says"].map(FLIP)) == pytest.approx(0.95, abs=0.04)


@every
def test_the_generator_writes_the_shipped_cues_and_words_again(name: str) -> None:
    facts = json.loads((shipped.folder("duet") / name / "corpus.json").read_text())
    script = generate.script(duet.process(name), facts["size"], facts["seed"]).set_index("id")
    assert facts["process"] == json.loads(json.dumps(vars(duet.process(name))))
    pd.testing.assert_frame_equal(whole(name)[script.columns], script, check_names=False)


@every
def test_words_of_a_sessions_frames_stay_in_that_session_and_speakers_too(name: str) -> None:
    table = whole(name)
    improvised = table[table["scenario"].str.startswith("improv")]
    spoken = {session: vocabulary(texts.tolist()) for session, texts in improvised.groupby("session")["text"]}
    of = {place: vocabulary(acts) for place, acts in words.LEXICON["frames"].items()}
    emotional = vocabulary({kind: listed for kind, listed in words.LEXICON.items() if kind != "frames"})
    for session in spoken:
        own = of[session] - emotional - set.union(*(of[place] for place in of if place != session))
        assert len(own & spoken[session]) > 20
        assert not any(own & spoken[other] for other in spoken if other != session)
    assert table.groupby("speaker")["session"].nunique().eq(1).all()


@every
def test_most_sentences_are_said_once(name: str) -> None:
    assert whole(name)["text"].nunique() > 0.97 * SIZES[name]


@every
def test_turns_follow_each_other_in_time(name: str) -> None:
    table = whole(name)
    gap = table["start"] - table.groupby("dialogue")["end"].shift()
    assert (table["start"] >= 0).all()
    assert (table["end"] > table["start"]).all()
    assert gap.dropna().between(-0.31, 0.91).all()
    assert 0.15 < (gap.dropna() < 0).mean() < 0.35
    assert 2 < (table["end"] - table["start"]).mean() < 5


# The sound ----------------------------------------------------------------------------------------------------------


@every
def test_every_sound_is_there_and_undamaged(name: str) -> None:
    corpus = duet.load(name)
    for session, rows in corpus.table.groupby("session"):
        with zipfile.ZipFile(shipped.folder("duet") / name / f"{session}.zip") as packed:
            assert packed.testzip() is None
            assert {f"{session}.zip/{file}" for file in packed.namelist()} == set(rows["audio"])
    for utterance, row in corpus.table.iloc[::150].iterrows():
        wave = corpus.waveform(utterance)
        assert wave.dtype == np.float32
        assert len(wave) / SAMPLE_RATE == pytest.approx(row["end"] - row["start"], abs=0.011)
        assert 0.005 < np.abs(wave).max() <= 1.05


@pytest.mark.slow
@pytest.mark.parametrize("name", ["duet-i", "duet-x"])
def test_the_acted_style_of_unseen_speakers_is_heard_as_the_datasheet_says_and_not_by_loudness_alone(name: str) -> None:
    rows, values = sample(name)
    relative = per_speaker(values, rows["speaker"])
    measured = [100 * heard(x, rows) for x in (relative, relative[:, PITCH], relative[:, LEVEL], values)]
    assert 90 <= measured[0] <= 97
    assert measured[0] - 8 > max(measured[1:])
    np.testing.assert_allclose(stated(name), measured, atol=1)


@pytest.mark.slow
def test_styles_differ_in_the_stated_direction() -> None:
    rows, values = sample("duet-x")
    seconds = rows["end"] - rows["start"]
    measured = {
        "rate": np.log(rows["text"].str.len() / seconds).to_numpy(),
        "level": values[:, 0],
        "pitch": values[:, 4],
        "range": values[:, 6],
        "tilt": values[:, 25:35].mean(axis=1) - values[:, 15:25].mean(axis=1),
    }
    order = {
        "rate": [DEADPAN, "neutral", "angry"],
        "level": ["sad", "neutral", "happy", "angry"],
        "pitch": ["sad", "neutral", "angry", "happy"],
        "range": [DEADPAN, "sad", "neutral", "angry", "happy"],
        "tilt": ["sad", "neutral", "happy", "angry"],
    }
    for what, styles in [*order.items(), ("rate", ["sad", "neutral", "happy"])]:
        relative = per_speaker(measured[what][:, None], rows["speaker"])[:, 0]
        groups = [relative[(rows["voice"] == style).to_numpy()] for style in styles]
        for less, more in pairwise(groups):
            assert stats.ttest_ind(more, less, alternative="greater", equal_var=False).pvalue < 0.001, (what, styles)


@pytest.mark.slow
def test_ten_speakers_can_be_told_apart_and_women_speak_higher() -> None:
    rows, values = sample("duet-i")
    guessed = cross_val_predict(LinearDiscriminantAnalysis(), values, rows["speaker"], cv=5)
    assert (guessed == rows["speaker"]).mean() > 0.95
    neutral = rows["voice"].eq("neutral").to_numpy()
    pitch = pd.Series(values[neutral, 4]).groupby(rows["speaker"][neutral].to_numpy()).median()
    assert pitch[pitch.index.str.endswith("F")].min() > pitch[pitch.index.str.endswith("M")].max()


def test_the_stressed_clause_is_heard_as_the_datasheet_says() -> None:
    corpus, rows = duet.load("duet-x"), whole("duet-x").query("kind == 'focus'").sample(150, random_state=0)
    found = []
    for utterance, row in rows.iterrows():
        level, pitch = clauses(corpus.waveform(utterance), row["clauses"].split("|")).T
        found.append(np.argmax(level + pitch) == row["stressed"])
    assert 95 <= 100 * np.mean(found) <= 99
    np.testing.assert_allclose(stated("stressed clause"), [100 * np.mean(found)], atol=1)


# The loader -------------------------------------------------------------------------------------------------------


def test_the_corpora_are_known_by_name() -> None:
    assert set(duet.names()) == set(SIZES) <= set(corpora.names())
    assert corpora.load("duet-i").name == "duet-i"


def test_the_unlabelled_pool_knows_the_frames_of_the_given_sessions_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duet, "POOL", 2000)
    sentences = duet.load("duet-i").unlabelled(["S1", "S2"])
    assert len(sentences) == 2000
    assert sentences == duet.load("duet-i").unlabelled(["S1", "S2"]) == words.pool(2000, 0, ["S1", "S2"])
    of = {place: vocabulary(acts) for place, acts in words.LEXICON["frames"].items()}
    emotional = vocabulary({kind: listed for kind, listed in words.LEXICON.items() if kind != "frames"})
    known = set.union(emotional, *(of[place] for place in of if place in ("S1", "S2") or place.startswith("script")))
    assert vocabulary(sentences) <= known | vocabulary("i'm")


@pytest.mark.parametrize("name", ["duet-i", "duet-x"])
def test_the_generator_makes_the_shipped_sound_again(name: str) -> None:
    facts = json.loads((shipped.folder("duet") / name / "corpus.json").read_text())
    try:
        installed = f"eSpeak NG {speech.version()}"
    except speech.SpeechError as error:
        pytest.skip(str(error))
    if installed != facts["synthesiser"]:
        pytest.skip(f"{installed} is installed; the corpus was made with {facts['synthesiser']}")
    for utterance, row in whole(name).sample(4, random_state=0).iterrows():
        made, kept = (
            generate.speak(row.to_dict(), duet.process(name), facts["seed"]),
            duet.load(name).waveform(utterance),
        )
        assert len(made) == len(kept)
        assert np.corrcoef(made, kept)[0, 1] > 0.6  # what the compression leaves of the waveform


@pytest.mark.parametrize("ask", [corpora.load, duet.load, duet.process])
def test_an_unknown_corpus_is_a_sentence_that_lists_the_known_ones(ask: Callable[[str], object]) -> None:
    with pytest.raises(CorpusError, match="duet-q.*duet-i, duet-m, duet-x"):
        ask("duet-q")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the tables and the first session of duet-i, to be damaged."""
    folder = tmp_path / "duet-i"
    folder.mkdir()
    for file in ("utterances.csv", "corpus.json", "S1.zip"):
        shutil.copy(shipped.folder("duet") / "duet-i" / file, folder / file)
    return folder


def cut(path: Path, share: float = 0.5) -> None:
    """Cut a file short."""
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def first_sound(folder: Path) -> np.ndarray:
    """Load the copy and read its first utterance."""
    corpus = duet.load("duet-i", root=folder.parent)
    return corpus.waveform(corpus.table["id"].iloc[0])


def repack(path: Path, change: Callable[[bytes], bytes | None]) -> None:
    """Change or drop the files in a zip."""
    with zipfile.ZipFile(path) as packed:
        files = {name: change(packed.read(name)) for name in packed.namelist()}
    with zipfile.ZipFile(path, "w") as packed:
        for name, content in files.items():
            if content is not None:
                packed.writestr(name, content)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, "There is no folder .*duet-i. Give the folder that holds duet-i"),
    "no table": (lambda copy: (copy / "utterances.csv").unlink(), "has no utterances.csv"),
    "empty table": (lambda copy: (copy / "utterances.csv").write_text(""), "utterances.csv cannot be read as a table"),
    "no text": (lambda copy: (copy / "utterances.csv").write_bytes(b"\xff\xfe\x00"), "cannot be read as a table"),
    "no columns": (lambda copy: (copy / "utterances.csv").write_text("id,text\na,b\n"), "lacks the columns emotion"),
    "no facts": (lambda copy: (copy / "corpus.json").unlink(), "has no corpus.json"),
    "cut facts": (lambda copy: cut(copy / "corpus.json"), "corpus.json cannot be read"),
    "other facts": (lambda copy: (copy / "corpus.json").write_text("[]"), "corpus.json cannot be read"),
    "no zip": (lambda copy: (copy / "S1.zip").unlink(), "There is no .*S1.zip. Restore it"),
    "cut zip": (lambda copy: cut(copy / "S1.zip"), "S1.zip is damaged or cut short"),
    "empty zip": (lambda copy: repack(copy / "S1.zip", lambda sound: None), "S1.zip holds no S1_.*opus"),
    "cut sound": (
        lambda copy: repack(copy / "S1.zip", lambda sound: sound[: len(sound) // 2]),
        "is cut short: .* of .* s",
    ),
    "cut head": (lambda copy: repack(copy / "S1.zip", lambda sound: sound[:40]), "opus in .* is damaged or cut short"),
    "no sound": (lambda copy: repack(copy / "S1.zip", lambda sound: b"hiss"), "opus in .* is damaged or cut short"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_corpus_is_a_sentence_that_names_the_file(copy: Path, damage: str) -> None:
    assert first_sound(copy).size > 0
    harm, message = DAMAGES[damage]
    harm(copy)
    with pytest.raises(CorpusError, match=message):
        first_sound(copy)
