"""MELD from its released format: three tables, an official split, and clips of every kind."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trees
from hypothesis import given, settings
from trees import damaged_lines

from mer_lib import corpora
from mer_lib.corpora import meld
from mer_lib.corpora.base import SAMPLE_RATE, Corpus, CorpusError

TRAIN = trees.MELD_FOLDERS["train"]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree with every quirk of the release; not to be changed."""
    return trees.meld(tmp_path_factory.mktemp("tree"), each=2)


@pytest.fixture(scope="module")
def released(tree: Path) -> Corpus:
    return corpora.load("meld", tree)


@pytest.fixture
def copy(tree: Path, tmp_path: Path) -> Path:
    """A tree to be damaged, without the films."""
    return shutil.copytree(tree, tmp_path / "copy", ignore=shutil.ignore_patterns("*.mp4"))


def test_the_official_split_is_the_one_fold(released: Corpus) -> None:
    (fold,) = released.folds()
    assert fold.name == "test"
    for part, ids in zip(("train", "dev", "test"), fold[1:], strict=True):
        assert ids == released.table["id"][released.table["session"] == part].tolist()
        assert len(ids) == 8
    assert released.fold(1) == released.fold("test") == fold


def test_the_fold_by_scenario_shares_no_episode(released: Corpus) -> None:
    table = released.table.assign(scenario=["season8episode20", "season8episode21"] * 12)
    (fold,) = replace(released, table=table).folds("scenario")
    assert len(fold.test) == len(fold.dev) == len(fold.train) == 4
    assert not set(table.loc[fold.test, "scenario"]) & set(table.loc[[*fold.train, *fold.dev], "scenario"])


def test_joy_is_happy_and_other_emotions_are_listed(released: Corpus) -> None:
    assert released.table.groupby("label")["emotion"].unique().map(list).to_dict() == {
        "anger": ["angry"],
        "joy": ["happy"],
        "neutral": ["neutral"],
        "sadness": ["sad"],
    }
    surprised = released.skipped[released.skipped["why"] == "is labelled surprise, none of the four classes"]
    assert len(surprised) == 3 * 2


def test_numbers_that_restart_in_each_part_and_have_gaps_make_ids_of_their_own(released: Corpus) -> None:
    assert [f"{part}_dia0_utt0" in released.table.index for part in ("train", "dev", "test")] == [True] * 3
    dialogue = released.table[released.table["dialogue"] == "train_dia0"]
    assert dialogue["turn"].tolist() == [0, 1, 3, 4]


def test_texts_keep_their_apostrophes_and_times_are_seconds_in_the_episode(released: Corpus) -> None:
    assert released.table["text"].str.contains("\u2019").any()
    assert not released.table["text"].str.contains("\r|\ufeff").any()
    row = released.table.loc["train_dia0_utt3"]
    assert row["start"] == pytest.approx(16 * 60 + 3.059)
    assert row["end"] - row["start"] == pytest.approx(1.0)
    assert row["scenario"] == "season8episode21"
    assert (row["speaker"], row["sentiment"]) == ("Ross", "neutral")


def test_a_clip_that_was_cut_again_takes_the_place_of_the_wrong_one(released: Corpus) -> None:
    row = released.table.loc[f"test_{trees.MELD_TWICE}"]
    assert row["audio"].endswith(f"final_videos_test{trees.MELD_TWICE}.wav")
    assert np.corrcoef(released.waveform(row["id"]), next(trees.clips(5, "sad")).wave)[0, 1] > 0.99
    assert trees.why(released)[trees.MELD_TWICE] == "is a clip without a row, or replaced by another"


def test_a_clip_that_was_cut_again_is_never_replaced_by_the_wrong_one_for_lack_of_a_wav(
    tree: Path, tmp_path: Path
) -> None:
    root = shutil.copytree(tree, tmp_path / "copy")
    (root / trees.MELD_FOLDERS["test"] / f"final_videos_test{trees.MELD_TWICE}.wav").unlink()
    corpus = corpora.load("meld", root)
    assert f"test_{trees.MELD_TWICE}" not in corpus.table.index
    assert trees.why(corpus)[f"test_{trees.MELD_TWICE}"].startswith("has a clip but no wav file")


def test_corrupt_absent_wrongly_cut_and_empty_clips_are_listed(released: Corpus) -> None:
    left_out = trees.why(released)
    assert left_out["train_dia125_utt3"] == "has a clip but no wav file: ffmpeg could not read it, or was not run"
    assert left_out["dev_dia110_utt7"] == "has no clip"
    for name in ("train_dia309_utt0", "test_dia38_utt4", "test_dia220_utt0"):
        assert left_out[name] == "is longer than 40 s: wrongly cut"
    assert left_out["train_dia400_utt0"] == "is not longer than 0.1 s"
    assert left_out["dia66_utt9"] == "is a clip without a row, or replaced by another"
    assert len(left_out) == 6 + 6 + 2
    assert not any("._" in name for name in left_out)


def test_six_channels_at_48_khz_become_one_at_16(released: Corpus) -> None:
    wave = released.waveform("dev_dia0_utt0")
    assert wave.shape == (SAMPLE_RATE,)
    expected = next(trees.clips(2, "happy")).wave
    assert np.corrcoef(wave, expected)[0, 1] > 0.99


def test_wavs_instead_of_the_clips_give_the_same_table(copy: Path, released: Corpus) -> None:
    corpus = corpora.load("meld", copy)
    assert corpus.table.equals(released.table)
    assert trees.why(corpus)["train_dia125_utt3"] == "has no clip"


def test_tables_and_folders_may_lie_together_or_one_level_deeper(copy: Path, released: Corpus) -> None:
    for part, place in trees.MELD_FOLDERS.items():
        (copy / place).rename(copy / Path(place).name)
        (copy / f"{part}_sent_emo.csv").rename(copy / part / f"{part}_sent_emo.csv")
    table = corpora.load("meld", copy).table
    assert table.drop(columns="audio").equals(released.table.drop(columns="audio"))


def test_without_wavs_it_is_said_how_to_make_them(copy: Path) -> None:
    for path in (copy / TRAIN).glob("*.wav"):
        path.unlink()
    command = r"ffmpeg -n -i \"\$f\" -vn -ac 1 -ar 16000 \"\$\{f%.mp4\}.wav\"; done"
    with pytest.raises(CorpusError, match=rf"There are no wav files in .*{TRAIN}. Make them with ffmpeg: .*{command}"):
        corpora.load("meld", copy)


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (lambda root: (root / "dev_sent_emo.csv").unlink(), "There is no dev_sent_emo.csv in .*affective-meld"),
        (lambda root: shutil.rmtree(root / TRAIN), "There is no folder train_splits in .* Unpack the clips there"),
        (lambda root: (root / "test_sent_emo.csv").write_text(""), "test_sent_emo.csv lacks the columns Utterance"),
        (lambda root: (root / "test_sent_emo.csv").write_bytes(b"\0PNG"), "test_sent_emo.csv is no text"),
        (
            lambda root: [
                path.write_text(path.read_text().replace("neutral,neutral", "bored,neutral"))
                for path in root.glob("*.csv")
            ],
            None,
        ),
    ],
    ids=["table", "folder", "empty", "binary", "labels"],
)
def test_what_is_missing_or_unreadable_is_named(
    copy: Path, harm: Callable[[Path], object], sentence: str | None
) -> None:
    harm(copy)
    if sentence is None:
        assert "has the unknown label 'bored'" in set(corpora.load("meld", copy).skipped["why"])
    else:
        with pytest.raises(CorpusError, match=sentence):
            corpora.load("meld", copy)


def test_nothing_to_use_is_an_error_that_says_what_was_looked_for(copy: Path) -> None:
    for path in copy.glob("*.csv"):
        path.write_text(trees.MELD_HEADER)
    with pytest.raises(CorpusError, match="meld has no utterance to use in .* Looked for wav files named dia0"):
        corpora.load("meld", copy)


def test_without_a_root_it_is_said_where_one_gets_the_corpus() -> None:
    with pytest.raises(CorpusError, match="meld does not ship .* Ask its authors, https://affective-meld.github.io"):
        corpora.load("meld")


def test_rows_that_cannot_be_read_or_repeat_an_utterance_are_listed() -> None:
    row = trees._meld_row("Well.", "joy", 0, 0)
    rows = [
        row,
        row,
        row.replace(",0,0,8", ",x,0,8"),
        "1,2,3\r\n",
        '1,"Well.\r\n' + trees._meld_row("No.", "joy", 0, 1),
    ]
    turns, skipped = meld.parse_table(trees.MELD_HEADER + "".join(rows), "dev", "x.csv")
    assert [turn["id"] for turn in turns] == ["dev_dia0_utt0", "dev_dia0_utt1"]
    assert sorted((skip.where, skip.why) for skip in skipped) == [
        ("x.csv, line 3", "is listed for the second time"),
        ("x.csv, line 4", "has no number of a dialogue and an utterance"),
        ("x.csv, line 5", "has not as many fields as the header"),
        ("x.csv, line 6", "swallows lines: a quotation mark is not closed"),
    ]


def test_the_expected_counts_are_those_of_the_released_tables() -> None:
    assert meld.EXPECTED["all"].to_dict() == {"train": 9989, "dev": 1109, "test": 2610}
    assert meld.EXPECTED.drop(columns="all").sum(axis=1).tolist() == [8245, 897, 2211]


GOOD = [
    trees._meld_row("Isn't it, Joey?", emotion, 3, number).strip() for number, emotion in enumerate(["joy", "fear"])
]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(damaged_lines([*GOOD, '1,"open,Ross']))
def test_every_row_of_a_table_is_read_or_listed(content: str) -> None:
    content = trees.MELD_HEADER + content
    turns, skipped = meld.parse_table(content, "train", "x.csv")
    lines = [line for line in re.split("\r\n|\r|\n", content) if line.replace(",", "").strip()]
    swallowed = sum(skip.why.startswith("swallows") for skip in skipped)
    assert len(turns) + len(skipped) <= len(lines) - 1
    if not swallowed and content.count('"') == 8 * len(turns):
        assert len(turns) + len(skipped) == len(lines) - 1
    assert len({turn["id"] for turn in turns}) == len(turns)
    assert all(skip.why and skip.where.startswith("x.csv, line ") for skip in skipped)
    assert all(turn["start"] >= 0 for turn in turns)
