"""IEMOCAP from its released format: labels, speakers, folds, and what is left out."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import trees
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import damaged_lines

from mer_lib import corpora, experiments
from mer_lib.__main__ import main
from mer_lib.corpora import iemocap, reading
from mer_lib.corpora.base import EMOTIONS, SAMPLE_RATE, Corpus, CorpusError
from mer_lib.features import check_audio, prepare
from mer_lib.features.audio import corpus_frames

DIALOGUES = sum(map(len, trees.IEMOCAP_DIALOGUES.values()))
FIRST = "Ses01F_impro01_F000"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree with every quirk of the release; not to be changed."""
    return trees.iemocap(tmp_path_factory.mktemp("tree") / "IEMOCAP_full_release", each=2)


@pytest.fixture(scope="module")
def released(tree: Path) -> Corpus:
    return corpora.load("iemocap", tree)


def file(root: Path, kind: str, dialogue: str = "Ses01F_impro01") -> Path:
    return root / f"Session{dialogue[4]}/dialog/{kind}/{dialogue}.txt"


def wav(root: Path, name: str = FIRST) -> Path:
    return root / f"Session{name[4]}/sentences/wav/{name.rpartition('_')[0]}/{name}.wav"


# What is read -----------------------------------------------------------------------------------------------------


def test_happy_is_what_was_labelled_happy_or_excited(released: Corpus) -> None:
    labels = released.table.groupby("emotion")["label"].unique().map(set).to_dict()
    assert labels == {"happy": {"hap", "exc"}, "sad": {"sad"}, "neutral": {"neu"}, "angry": {"ang"}}
    assert len(released) == DIALOGUES * 8
    assert (released.table.groupby(["dialogue", "emotion"]).size() == 2).all()


def test_the_speaker_is_the_last_letter_of_the_name_and_not_who_wore_the_markers(released: Corpus) -> None:
    table = released.table
    assert (table["speaker"] == "S" + table["id"].str[4] + table["id"].str.extract(r"_([FM])\d+$")[0]).all()
    assert (table["id"].str[5] != table["speaker"].str[2]).mean() == 0.5
    assert sorted(table["speaker"].unique()) == [f"S{n}{letter}" for n in range(1, 6) for letter in "FM"]


def test_dialogues_with_a_suffix_are_dialogues_of_their_own_in_the_scenario_without_it(released: Corpus) -> None:
    scenario = released.table.groupby("dialogue")["scenario"].first()
    assert scenario["Ses03M_impro05a"] == scenario["Ses03M_impro05b"] == "impro05"
    assert scenario["Ses05M_script01_1b"] == scenario["Ses01F_script01_1"] == "script01_1"
    style = released.table.groupby("scenario")["style"].unique().map(list).to_dict()
    assert style == {
        "impro01": ["improvised"],
        "impro02": ["improvised"],
        "impro05": ["improvised"],
        "script01_1": ["scripted"],
    }


def test_valence_activation_and_dominance_are_kept_in_their_order(released: Corpus) -> None:
    means = released.table[["valence", "activation", "dominance"]].drop_duplicates()
    assert means.to_numpy().tolist() == [[2.5, 3.0, 3.5]]


def test_tags_are_taken_out_of_the_text_and_kept_in_the_transcript(released: Corpus) -> None:
    excited = released.table[released.table["label"] == "exc"]
    assert len(excited)
    assert excited["transcript"].str.match(r"^\[LAUGHTER\] .* \[BREATHING\]$").all()
    assert (excited["transcript"] == "[LAUGHTER] " + excited["text"] + " [BREATHING]").all()


def test_turns_that_overlap_are_counted_in_the_order_in_which_they_begin(released: Corpus) -> None:
    for _, turns in released.table.groupby("dialogue"):
        assert (turns["start"].diff().dropna() > 0).all()
        assert (turns["start"].iloc[1:].to_numpy() < turns["end"].iloc[:-1].to_numpy()).any()
        assert turns["turn"].tolist() == list(range(8))


def test_the_turn_counts_what_was_rated_but_left_out_too(copy: Path) -> None:
    path = file(copy, "EmoEvaluation")
    path.write_text(path.read_text().replace(f"{FIRST}\thap", f"{FIRST}\tfru"))
    table = corpora.load("iemocap", copy).table
    assert table[table["dialogue"] == "Ses01F_impro01"]["turn"].tolist() == list(range(1, 8))


def test_a_text_may_hold_what_ends_the_head_of_its_line(copy: Path) -> None:
    path = file(copy, "transcriptions")
    path.write_text(re.sub(rf"({FIRST} \[.*?\]:).*", r"\1 He said [pause]: wait]: now.", path.read_text()))
    row = corpora.load("iemocap", copy).table.loc[FIRST]
    assert row["transcript"] == "He said [pause]: wait]: now."
    assert row["text"] == "He said : wait]: now."


def test_an_utterance_of_tags_only_stays_and_its_text_is_empty(copy: Path) -> None:
    path = file(copy, "transcriptions")
    path.write_text(re.sub(rf"({FIRST} \[.*?\]:).*", r"\1 [LAUGHTER]", path.read_text()))
    row = corpora.load("iemocap", copy).table.loc[FIRST]
    assert (row["text"], row["transcript"]) == ("", "[LAUGHTER]")


def test_the_sound_is_that_of_the_utterance(released: Corpus, tree: Path) -> None:
    wave = released.waveform(FIRST)
    assert wave.dtype == np.float32
    assert len(wave) == SAMPLE_RATE
    np.testing.assert_array_equal(wave, soundfile.read(wav(tree), dtype="float32")[0])


def test_other_labels_stray_lines_and_turns_without_a_rating_are_listed(released: Corpus) -> None:
    left_out = trees.why(released)
    assert left_out.pop("M: sorry") == "is no line of a transcript"
    assert left_out.pop("Ses01F_impro01_MXX0") == "has no line in EmoEvaluation"
    reasons = {f"is labelled {label}, none of the four classes" for label in ("fru", "xxx")}
    assert set(left_out.values()) == reasons
    assert len(left_out) == 2 * DIALOGUES


def test_files_of_macos_and_votes_of_single_raters_are_no_part_of_the_corpus(released: Corpus, tree: Path) -> None:
    assert list(tree.rglob("._*.txt"))
    assert list(tree.rglob("._*.wav"))
    assert list(tree.rglob("*_e2.txt"))
    told = released.table["audio"].str.cat() + released.skipped["where"].str.cat() + released.skipped["what"].str.cat()
    assert "._" not in told
    assert "_e2" not in told


# Folds and counts -------------------------------------------------------------------------------------------------


def test_folds_leave_out_a_session_and_its_two_speakers(released: Corpus) -> None:
    folds = released.folds()
    assert [fold.name for fold in folds] == ["S1", "S2", "S3", "S4", "S5"]
    assert sorted(name for fold in folds for name in fold.test) == sorted(released.table["id"])
    for fold in folds:
        speakers = [set(released.table.loc[part, "speaker"]) for part in fold[1:]]
        assert speakers[2] == {f"{fold.name}F", f"{fold.name}M"}
        assert not speakers[2] & (speakers[0] | speakers[1])


def test_folds_by_scenario_share_neither_speakers_nor_scenarios_and_no_part_is_empty(released: Corpus) -> None:
    for fold in released.folds("scenario"):
        train, dev, test = (released.table.loc[part] for part in fold[1:])
        assert len(train)
        assert len(dev)
        assert len(test)
        for column in ("speaker", "scenario"):
            assert not set(test[column]) & (set(train[column]) | set(dev[column]))


def test_the_expected_counts_add_up_to_what_the_field_uses() -> None:
    assert iemocap.EXPECTED.sum().to_dict() == {"happy": 1636, "sad": 1084, "neutral": 1708, "angry": 1103}
    assert iemocap.EXPECTED.sum(axis=1).tolist() == [1085, 1023, 1151, 1031, 1241]
    assert sum(iemocap.EXPECTED_CONVERSATIONAL.values()) == 5584
    assert set(iemocap.EXPECTED_CONVERSATIONAL) == set(EMOTIONS)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of the size and with the counts of the whole release; its sound files are empty."""
    root = tmp_path_factory.mktemp("full")
    codes = {"happy": ["hap", "exc"], "sad": ["sad"], "neutral": ["neu"], "angry": ["ang"]}
    rest = [iemocap.RELEASED // 5 + (n < iemocap.RELEASED % 5) for n in range(5)]
    for session, (row, total) in enumerate(zip(iemocap.EXPECTED.to_dict("records"), rest, strict=True), start=1):
        labels = [codes[e][i % len(codes[e])] for e, number in row.items() for i in range(number)]
        labels += [iemocap.OTHERS[i % 6] for i in range(total - len(labels))]
        turns = []
        for i, label in enumerate(labels):
            name = f"Ses{session:02d}{'FM'[i % 2]}_impro{i % 30:02d}_{'FM'[i // 30 % 2]}{i // 30:03d}"
            turns.append(trees.Turn(name, label, "Well.", float(i), i + 1.5))
        trees.iemocap_dialogues(root, turns)
    return root


def test_the_tables_of_the_whole_release_are_read_without_opening_a_sound(
    full: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise AssertionError(f"a sound file was opened: {args}")

    for name in ("SoundFile", "read", "info", "blocks"):
        monkeypatch.setattr(soundfile, name, refuse)
    corpus = corpora.load("iemocap", full)
    assert len(list(full.rglob("*.wav"))) == iemocap.RELEASED == 10_039
    assert len(corpus) == 5531
    assert len(corpus.skipped) == 10_039 - 5531
    pd.testing.assert_frame_equal(trees.counts(corpus.table, "session"), iemocap.EXPECTED, check_names=False)


# Another label table ----------------------------------------------------------------------------------------------


def test_a_label_table_takes_the_place_of_the_labels(tree: Path, released: Corpus, tmp_path: Path) -> None:
    other = next(name for name in trees.why(released) if name.startswith("Ses02F_impro01"))
    kept = released.table["id"].iloc[:6].tolist()
    rows = [f"{name},{label}" for name, label in zip(kept, ["hap", "exc", "sad", "neu", "ang", "fru"], strict=True)]
    path = trees.write(tmp_path / "labels.csv", "\n".join(["id,emotion", *rows, f"{other},happy", "Ses09_x,sad", ""]))
    corpus = corpora.load("iemocap", tree, labels=path)
    assert corpus.table["emotion"].to_dict() == dict(
        zip([*kept[:5], other], ["happy", "happy", "sad", "neutral", "angry", "happy"], strict=True)
    )
    left_out = trees.why(corpus)
    assert left_out[kept[5]] == "is labelled fru, none of the four classes"
    assert left_out["Ses09_x"] == "is not in the release"
    assert left_out[released.table["id"].iloc[6]] == "is not in the label table"
    assert corpora.load(f"iemocap?labels={path}", tree).fingerprint() == corpus.fingerprint()
    path.write_text(path.read_text().replace(f"{kept[0]},hap", f"{kept[0]},sad"))
    assert corpora.load("iemocap", tree, labels=path).fingerprint() != corpus.fingerprint()


def test_a_label_table_may_lie_in_the_release_and_be_named_with_the_corpus(copy: Path) -> None:
    trees.write(copy / "mine.csv", f"id,emotion\n{FIRST},sad\n")
    assert corpora.load("iemocap?labels=mine.csv", copy).table["emotion"].to_dict() == {FIRST: "sad"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("utterance,label\na,b\n", "lacks the columns id, emotion; its first line must name them"),
        ("", "lacks the columns id, emotion"),
        (f"id,emotion\n{FIRST},sad\n{FIRST},hap\n", f"line 3 has the id '{FIRST}' a second time"),
        (f"id,emotion\n{FIRST},bored\n", "has no utterance to use .*has the unknown label 'bored': 1"),
    ],
)
def test_a_label_table_that_cannot_be_used_is_refused(tree: Path, tmp_path: Path, content: str, sentence: str) -> None:
    path = trees.write(tmp_path / "labels.csv", content)
    with pytest.raises(CorpusError, match=sentence):
        corpora.load("iemocap", tree, labels=path)


# Bad input --------------------------------------------------------------------------------------------------------


def test_without_a_root_it_is_said_where_one_asks_for_the_corpus() -> None:
    with pytest.raises(CorpusError, match="iemocap does not ship .* as root. Ask the University of Southern"):
        corpora.load("iemocap")


def test_a_wrong_folder_is_named_beside_the_right_one(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="There is no folder .*nowhere. Give the folder that holds Session1"):
        corpora.load("iemocap", tmp_path / "nowhere")
    with pytest.raises(CorpusError, match="holds none of the folders Session1 to Session5. Give the folder IEMOCAP"):
        corpora.load("iemocap", tmp_path)
    with pytest.raises(CorpusError, match="It seems to be .*IEMOCAP_full_release"):
        corpora.load("iemocap", tree.parent)


def test_an_empty_release_is_an_error_that_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "Session1").mkdir()
    with pytest.raises(
        CorpusError,
        match=r"no utterance to use in .* Looked for Session\*/dialog/EmoEvaluation/\*.txt.*half an archive",
    ):
        corpora.load("iemocap", tmp_path)


def lose(kind: str) -> Callable[[Path], None]:
    return lambda root: shutil.rmtree(root / "Session2" / kind)


HALVES = {
    "session": (lambda root: shutil.rmtree(root / "Session2"), {"Session2": "is missing: half an archive"}),
    "content": (
        lambda root: [shutil.rmtree(path) for path in (root / "Session2").iterdir()],
        {"Session2": "is missing: half an archive"},
    ),
    "ratings": (lose("dialog/EmoEvaluation"), {"EmoEvaluation": "holds no text files: half an archive"}),
    "transcripts": (lose("dialog/transcriptions"), {"Ses02F_impro01_F000": "has no transcript"}),
    "sounds": (lose("sentences"), {"Ses02F_impro01_F000": "has no sound file"}),
}


@pytest.mark.parametrize("half", HALVES)
def test_of_half_an_archive_the_rest_is_read_and_what_is_missing_is_listed(copy: Path, half: str) -> None:
    harm, expected = HALVES[half]
    harm(copy)
    corpus = corpora.load("iemocap", copy)
    assert set(corpus.table["session"]) == {"S1", "S3", "S4", "S5"}
    assert expected.items() <= trees.why(corpus).items()


def test_an_utterance_without_transcript_or_sound_or_with_an_unknown_label_is_listed(copy: Path) -> None:
    path = file(copy, "transcriptions")
    path.write_text(re.sub(rf"{FIRST} .*\n", "", path.read_text()))
    wav(copy, "Ses01F_impro01_M000").unlink()
    path = file(copy, "EmoEvaluation")
    path.write_text(path.read_text().replace("Ses01F_impro01_F001\tneu", "Ses01F_impro01_F001\tbored"))
    left_out = trees.why(corpora.load("iemocap", copy))
    assert left_out[FIRST] == "has no transcript"
    assert left_out["Ses01F_impro01_M000"] == "has no sound file"
    assert left_out["Ses01F_impro01_F001"] == "has the unknown label 'bored'"


def test_what_is_listed_for_the_second_time_is_left_out_and_listed(copy: Path) -> None:
    for kind in ("EmoEvaluation", "transcriptions"):
        path = file(copy, kind)
        path.write_text(path.read_text() + path.read_text().replace("\thap\t", "\tsad\t"))
    shutil.copy(wav(copy), wav(copy, "Ses01M_impro02_F000").with_name(f"{FIRST}.wav"))
    corpus = corpora.load("iemocap", copy)
    reasons = corpus.skipped[corpus.skipped["what"] == FIRST]["why"].tolist()
    assert reasons == ["is listed for the second time"] * 2 + ["is a second file of that name"]
    assert corpus.table.loc[FIRST, "label"] == "hap"
    prepared = prepare(corpus, corpus.fold(1))
    assert FIRST in prepared.test.ids, "what is kept once is used"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_a_transcript_is_read_in_other_encodings(copy: Path, encoding: str) -> None:
    path = file(copy, "transcriptions")
    said = re.sub(rf"({FIRST} \[.*?\]:).*", "\\1 It\u2019s a caf\u00e9.", path.read_text())
    path.write_bytes(said.replace("\n", "\r\n").encode(encoding))
    assert corpora.load("iemocap", copy).table.loc[FIRST, "text"] == "It\u2019s a caf\u00e9."


def test_a_table_that_is_no_text_is_named(copy: Path) -> None:
    file(copy, "EmoEvaluation").write_bytes(bytes(range(256)))
    with pytest.raises(CorpusError, match=r"Ses01F_impro01.txt is no text, neither in UTF-8 nor in Windows-1252"):
        corpora.load("iemocap", copy)


def test_what_was_left_out_is_counted_on_stdout_once(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reading._say.cache_clear()
    corpora.load("iemocap", tree)
    corpora.load("iemocap", tree)
    sentence = capsys.readouterr().out
    assert sentence.startswith(f"iemocap: {8 * DIALOGUES} utterances. Left out: {2 * DIALOGUES + 2} (is labelled fru")
    assert sentence.count("\n") == 1


# Sound ------------------------------------------------------------------------------------------------------------


def tone(seconds: float = 1.0, level: float = 0.3) -> np.ndarray:
    return level * np.sin(2 * np.pi * 220 * np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


BAD = {
    "text": (lambda path: path.write_text("hiss" * 100), "cannot be read as sound"),
    "no byte": (lambda path: path.write_bytes(b""), "cannot be read as sound"),
    "half a header": (lambda path: path.write_bytes(path.read_bytes()[:30]), "cannot be read as sound"),
    "folder": (lambda path: (path.unlink(), path.mkdir()), "is missing"),
    "gone": (lambda path: path.unlink(), "is missing"),
    "cut": (cut, "is cut short"),
    "no sample": (lambda path: trees.write_wav(path, np.zeros(0)), "holds no sound"),
    "silent": (lambda path: trees.write_wav(path, np.zeros(SAMPLE_RATE)), "is silent"),
    "constant": (lambda path: trees.write_wav(path, np.full(SAMPLE_RATE, 0.25), subtype="PCM_U8"), "is silent"),
    "short": (lambda path: trees.write_wav(path, tone(0.05)), "is not longer than 0.1 s"),
    "not finite": (
        lambda path: soundfile.write(path, np.full(SAMPLE_RATE, np.nan), SAMPLE_RATE, subtype="FLOAT"),
        "holds numbers that are not finite",
    ),
    "odd rate": (lambda path: soundfile.write(path, tone(), 12_345), "is sampled at 12345 Hz, which no recorder does"),
}


@pytest.mark.parametrize("harm", BAD)
def test_a_sound_that_cannot_be_used_is_named_with_the_reason(tmp_path: Path, harm: str) -> None:
    path = trees.write_wav(tmp_path / "x.wav", tone())
    BAD[harm][0](path)
    with pytest.raises(reading.UnusableError) as caught:
        reading.sound(path)
    assert str(caught.value).startswith(f"{path} {BAD[harm][1]}")
    assert caught.value.why.startswith(BAD[harm][1])


@pytest.mark.parametrize(
    ("rate", "channels", "subtype", "close"),
    [
        (16_000, 1, "PCM_16", 1e-3),
        (16_000, 2, "PCM_16", 1e-3),
        (16_000, 1, "PCM_U8", 0.01),
        (16_000, 1, "PCM_24", 1e-3),
        (16_000, 1, "FLOAT", 1e-3),
        (48_000, 6, "PCM_16", 1e-2),
        (44_100, 1, "PCM_16", 1e-2),
        (8_000, 1, "ULAW", 3e-2),
    ],
)
def test_other_formats_sound_the_same(tmp_path: Path, rate: int, channels: int, subtype: str, close: float) -> None:
    wave = np.stack([tone()] * channels, axis=1)
    read = reading.sound(trees.write_wav(tmp_path / "x.wav", wave, rate, subtype))
    assert read.dtype == np.float32
    assert read.shape == (SAMPLE_RATE,)
    np.testing.assert_allclose(read[1000:-1000], 0.9 * tone()[1000:-1000], atol=close)


def test_a_header_that_was_written_before_the_length_was_known_is_no_damage(tmp_path: Path) -> None:
    path = trees.write_wav(tmp_path / "x.wav", tone())
    content = path.read_bytes()
    path.write_bytes(content[:4] + b"\xff" * 4 + content[8:40] + b"\xff" * 4 + content[44:])
    assert len(reading.sound(path)) == SAMPLE_RATE


@pytest.fixture
def damaged(copy: Path) -> dict[str, str]:
    """Ids of utterances whose sound was damaged, one in each way, and why they cannot be used."""
    names = sorted(path.stem for path in copy.rglob("Ses0[34]*_F00[0-2].wav") if not path.name.startswith("."))
    usable = set(corpora.load("iemocap", copy).table["id"])
    chosen = [name for name in names if name in usable][: len(BAD)]
    assert len(chosen) == len(BAD)
    for name, harm in zip(chosen, BAD, strict=True):
        if harm not in ("gone", "folder"):
            BAD[harm][0](wav(copy, name))
    return {name: BAD[harm][1] for name, harm in zip(chosen, BAD, strict=True) if harm not in ("gone", "folder")}


def test_sounds_that_cannot_be_used_are_left_out_listed_and_counted_before_features_are_made(
    copy: Path, damaged: dict[str, str], cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = corpora.load("iemocap", copy)
    assert set(damaged) <= set(corpus.table["id"])
    checked = check_audio(corpus)
    left_out = trees.why(checked)
    assert {name: left_out[name].startswith(reason) for name, reason in damaged.items()} == dict.fromkeys(damaged, True)
    assert set(corpus.table["id"]) - set(checked.table["id"]) == set(damaged)
    said = f"iemocap, sounds read: {len(checked)} utterances. Left out: {len(damaged)} (cannot be read as sound: 3; "
    assert said in capsys.readouterr().out
    assert not any(set(part) & set(damaged) for fold in checked.folds() for part in fold[1:])


def test_sounds_are_read_once_and_again_only_when_a_file_has_changed(
    copy: Path, damaged: dict[str, str], cache: Path
) -> None:
    corpus, reads = corpora.load("iemocap", copy), []
    read = corpus.read
    corpus.read = lambda row: (reads.append(row["id"]), read(row))[1]
    checked = check_audio(corpus)
    assert sorted(reads) == sorted(corpus.table["id"])
    assert check_audio(corpus).table["id"].tolist() == checked.table["id"].tolist()
    assert check_audio(checked) is checked
    assert len(reads) == len(corpus)
    repaired = next(iter(damaged))
    trees.write_wav(wav(copy, repaired), tone())
    again = check_audio(corpora.load("iemocap", copy))
    assert repaired in again.table.index
    assert len(again) == len(checked) + 1


def test_features_and_folds_do_without_the_sounds_that_cannot_be_used(
    copy: Path, damaged: dict[str, str], cache: Path
) -> None:
    corpus = corpora.load("iemocap", copy)
    corpus = replace(corpus, table=corpus.table[corpus.table["session"].isin(["S3", "S4", "S5"])])
    fold = corpus.fold("S3")
    assert not set(corpus_frames(corpus)) & set(damaged)
    data = prepare(corpus, fold)
    kept = [*data.train.ids, *data.dev.ids, *data.test.ids]
    assert sorted(kept) == sorted(set(corpus.table["id"]) - set(damaged))
    assert data.fold.test == data.test.ids


def test_a_corpus_without_one_usable_sound_is_refused(full: Path, cache: Path) -> None:
    corpus = corpora.load("iemocap", full)
    few = replace(corpus, table=corpus.table.iloc[:20])
    with pytest.raises(CorpusError, match="None of the 20 sounds of iemocap can be used: .* cannot be read as sound"):
        check_audio(few)


def test_experiments_leave_out_the_same_sounds_everywhere(copy: Path, damaged: dict[str, str], cache: Path) -> None:
    experiments._corpus.cache_clear()
    corpus = experiments._corpus("iemocap", str(copy))
    assert set(damaged) <= set(corpus.skipped["what"])
    assert not set(damaged) & set(corpus.fold("S3").test)
    experiments._corpus.cache_clear()


def test_what_loaders_print_stays_out_of_the_commands_answer(
    tree: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reading._say.cache_clear()
    monkeypatch.setattr(experiments, "execute", lambda run: {"corpus": run.corpus, "fold": run.fold})
    monkeypatch.setattr(experiments, "check_audio", lambda corpus: corpus)
    assert main(["run", "--corpus", "iemocap", "--root", str(tree), "--fold", "S2", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == [{"corpus": "iemocap", "fold": 2}]
    assert "Left out:" in err
    experiments._corpus.cache_clear()


# Malformed lines --------------------------------------------------------------------------------------------------

quick = settings(max_examples=150, deadline=None, derandomize=True)

GOOD = [
    "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]",
    "[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]",
    "[5.0 - 9.25]\tSes05M_script01_1b_M012\txxx\t[2.5000, 2.5000, 2.5000]",
    "C-E2:\tNeutral; Sadness;\t()",
    "A-E3:\tval 3; act 2; dom  3;\t()",
    "Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.",
    "Ses01F_impro01_MXX0 [006.2901-008.2357]: Mm.",
    "M: sorry",
]


def answer(ask: Callable[..., object], *given: object) -> object:
    """What a function returns, or the sentence with which it refuses."""
    try:
        return ask(*given)
    except CorpusError as error:
        return str(error)


@quick
@given(damaged_lines(GOOD))
def test_every_line_of_an_evaluation_is_read_or_listed(content: str) -> None:
    turns, skipped = iemocap.parse_evaluation(content, "x.txt")
    known = [line for _, line in reading.lines(content) if line.startswith("%") or re.match(r"[AC]-\w+:", line)]
    assert len(turns) + len(skipped) + len(known) == len(list(reading.lines(content)))
    assert all(skip.where.startswith("x.txt, line ") and skip.why for skip in skipped)
    for name, turn, _ in turns:
        assert turn["session"] in {"S1", "S2", "S3", "S4", "S5"}
        assert name.startswith(turn["dialogue"])
        assert 0 <= turn["start"] < turn["end"] < np.inf


@quick
@given(damaged_lines(GOOD))
def test_every_line_of_a_transcript_is_read_or_listed(content: str) -> None:
    spoken, skipped = iemocap.parse_transcript(content, "x.txt")
    assert len(spoken) + len(skipped) == len(list(reading.lines(content)))


@quick
@given(damaged_lines(["id,emotion", "Ses01F_impro01_F000,hap", "Ses01F_impro01_F001,sad", '"a,b']))
def test_a_label_table_is_read_or_refused_in_a_sentence(content: str) -> None:
    found = answer(iemocap.parse_labels, f"id,emotion\n{content}", "x.csv")
    if isinstance(found, str):
        assert re.match(r"x.csv, line \d+ has the id .* a second time. Give each utterance one label.$", found)
    else:
        labels, skipped = found
        assert all(skip.why for skip in skipped)
        assert all(label == label.lower() for label in labels.values())


@pytest.fixture(scope="module")
def anything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that may hold anything."""
    return tmp_path_factory.mktemp("anything") / "file"


@quick
@given(content=st.binary(max_size=200))
def test_any_bytes_are_text_or_refused_in_a_sentence(anything: Path, content: bytes) -> None:
    anything.write_bytes(content)
    found = answer(reading.text, anything)
    assert "\0" not in found
    if found.startswith(str(anything)):
        assert found.endswith("is no text, neither in UTF-8 nor in Windows-1252. Restore it.")


@quick
@given(content=st.binary(max_size=200), kept=st.integers(0, 100))
def test_any_bytes_are_sound_or_refused_in_a_sentence(anything: Path, content: bytes, kept: int) -> None:
    good = trees.write_wav(anything.with_suffix(".wav"), tone(0.2)).read_bytes()
    anything.write_bytes(good[:kept] + content + good[kept + len(content) :])
    found = answer(reading.sound, anything)
    if isinstance(found, str):
        assert re.fullmatch(rf"{anything} .*\. Restore it\.", found)
    else:
        assert found.dtype == np.float32
        assert found.ndim == 1


@pytest.fixture(scope="module")
def spare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree whose first tables may hold anything."""
    return trees.iemocap(tmp_path_factory.mktemp("spare"))


@settings(quick, max_examples=20)
@given(ratings=damaged_lines(GOOD), transcripts=damaged_lines(GOOD))
def test_a_release_with_damaged_tables_keeps_or_lists_every_utterance(
    spare: Path, ratings: str, transcripts: str
) -> None:
    for kind, content in (("EmoEvaluation", ratings), ("transcriptions", transcripts)):
        file(spare, kind).write_bytes(content.encode("utf-8", "replace"))
    found = answer(corpora.load, "iemocap", spare)
    if isinstance(found, str):
        assert found.endswith("Restore it.")
    else:
        sounds = {path.stem for path in spare.rglob("*.wav") if not path.name.startswith(".")}
        assert sounds <= set(found.table["id"]) | set(found.skipped["what"])
