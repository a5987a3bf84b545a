"""MSP-IMPROV from its released format: labels by consensus, conditions, transcripts, and what is left out."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import trees
from hypothesis import given, settings
from trees import damaged_lines

from mer_lib import corpora
from mer_lib.corpora import msp_improv, reading
from mer_lib.corpora.base import SAMPLE_RATE, Corpus, CorpusError

FIRST = "MSP-IMPROV-S01H-M01-P-FM01"
RATED = "UTD-IMPROV-S01H-M01-P-FM01.avi"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree with every quirk of the release; not to be changed."""
    return trees.msp_improv(tmp_path_factory.mktemp("tree"), seconds=0.5)


@pytest.fixture(scope="module")
def released(tree: Path) -> Corpus:
    return corpora.load("msp-improv", tree)


def transcript(root: Path, name: str = FIRST) -> Path:
    return next(root.rglob(f"{name}.txt"))


def wav(root: Path, name: str = FIRST) -> Path:
    return next(root.rglob(f"{name}.wav"))


def rerated(root: Path, old: str, new: str) -> None:
    """Change the file of labels."""
    path = root / "Evaluation.txt"
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new))


def test_the_label_is_what_the_raters_agreed_on_and_never_the_letter_in_the_name(released: Corpus) -> None:
    table = released.table
    assert len(table) == 6 * 4 * 4
    assert (table.groupby(["session", "condition", "emotion"]).size() == 1).all()
    letter = table["id"].str.extract(r"S\d\d([AHSN])-")[0]
    assert (table["intended"] == letter.map(msp_improv.CLASSES)).all()
    assert (table["intended"] != table["emotion"]).any()


def test_no_agreement_and_other_emotions_are_listed(released: Corpus) -> None:
    reasons = released.skipped["why"].value_counts().to_dict()
    assert reasons == {"the raters did not agree": 24, "the raters said: another emotion": 24}


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("ratings", ["Evaluation.txt", "Evalution.txt"])
def test_both_spellings_of_the_file_of_labels_and_both_layouts_are_read(
    tree: Path, released: Corpus, tmp_path: Path, ratings: str, nested: bool
) -> None:
    root = shutil.copytree(tree, tmp_path / "copy")
    (root / "Evaluation.txt").rename(root / ratings)
    if not nested:
        for folder in ("Audio", "Human_transcriptions"):
            for path in (root / folder).iterdir():
                path.rename(root / path.name)
    table = corpora.load("msp-improv", root).table
    assert table.drop(columns="audio").equals(released.table.drop(columns="audio"))


def test_a_dominance_that_is_missing_is_nan_and_the_other_means_are_kept(released: Corpus) -> None:
    table = released.table
    assert table["dominance"].isna().mean() == 0.5
    assert (table["dominance"].dropna() == 3).all()
    means = table[["activation", "valence", "naturalness"]].drop_duplicates()
    assert means.to_numpy().tolist() == [[3.0, 3.5, 3.666667]]


def test_a_rater_who_is_listed_twice_counts_once(released: Corpus) -> None:
    assert (released.table["raters"] == 4).all()
    assert sorted(released.table["agreement"].unique()) == [0.75, 1.0]


def test_there_is_one_fold_per_session_and_its_speakers_are_nowhere_else(released: Corpus) -> None:
    folds = released.folds()
    assert [fold.name for fold in folds] == ["S1", "S2", "S3", "S4", "S5", "S6"]
    for fold in folds:
        speakers = [set(released.table.loc[part, "speaker"]) for part in fold[1:]]
        assert speakers[2] == {f"{fold.name}F", f"{fold.name}M"}
        assert not speakers[2] & (speakers[0] | speakers[1])


def test_folds_by_scenario_share_no_sentence(released: Corpus) -> None:
    scenario = released.table["scenario"]
    assert set(scenario) == {"sentence01", "sentence02"}
    for fold in released.folds("scenario"):
        assert not set(scenario[fold.test]) & (set(scenario[fold.train]) | set(scenario[fold.dev]))
        assert fold.test
        assert fold.train


def test_conditions_are_chosen_and_the_others_are_listed(tree: Path) -> None:
    corpus = corpora.load("msp-improv", tree, conditions="ST")
    assert set(corpus.table["condition"]) == {"S", "T"}
    reasons = corpus.skipped["why"].value_counts()
    assert reasons["condition P was not asked for"] == reasons["condition R was not asked for"] == 36
    assert len(corpus) + len(corpus.skipped) == 144
    assert corpora.load("msp-improv?conditions=ST", tree).table.equals(corpus.table)
    assert corpora.load("msp-improv", tree, conditions=["R"]).table["text"].unique().tolist() == ["I won't do that."]


@pytest.mark.parametrize("conditions", ["", "SX", ["target"]])
def test_an_unknown_condition_is_refused_beside_the_known_ones(tree: Path, conditions: object) -> None:
    with pytest.raises(CorpusError, match=r"has no conditions .*; choose one or more of P \(natural interaction\), R"):
        corpora.load("msp-improv", tree, conditions=conditions)


def test_sound_at_two_rates_is_resampled_and_its_length_is_read_from_the_header(released: Corpus, tree: Path) -> None:
    rates = {soundfile.info(tree / audio).samplerate for audio in released.table["audio"]}
    assert rates == {44_100, 48_000}
    assert np.allclose(released.table["end"] - released.table["start"], 0.5, atol=1e-3)
    for name in released.table.groupby("session")["id"].first():
        assert abs(len(released.waveform(name)) - 0.5 * SAMPLE_RATE) <= 2


def test_missing_and_empty_transcripts_and_missing_sounds_are_listed(copy: Path) -> None:
    names = corpora.load("msp-improv", copy).table["id"].tolist()[:5]
    transcript(copy, names[0]).unlink()
    transcript(copy, names[1]).write_text(" \n")
    transcript(copy, names[2]).write_bytes(b"\x00\x01\x02")
    wav(copy, names[3]).unlink()
    left_out = trees.why(corpora.load("msp-improv", copy))
    assert [left_out.get(name) for name in names] == [
        "has no transcript",
        "is an empty transcript",
        "is no text, neither in UTF-8 nor in Windows-1252",
        "has no sound file",
        None,
    ]


def test_sounds_whose_header_shows_damage_are_listed(copy: Path) -> None:
    names = corpora.load("msp-improv", copy).table["id"].tolist()[:4]
    wav(copy, names[0]).write_bytes(b"")
    trees.write_wav(wav(copy, names[1]), np.zeros(0))
    trees.write_wav(wav(copy, names[2]), np.full(800, 0.1))
    wav(copy, names[3]).write_bytes(wav(copy, names[3]).read_bytes()[:20_000])
    left_out = trees.why(corpora.load("msp-improv", copy))
    assert [left_out[name] for name in names] == [
        "cannot be read as sound",
        "holds no sound",
        "is not longer than 0.1 s",
        "is cut short",
    ]


def test_a_transcript_of_several_lines_in_another_encoding_becomes_one_line(copy: Path) -> None:
    transcript(copy).write_bytes("It\u2019s \r\n  late.\r\n".encode("cp1252"))
    assert corpora.load("msp-improv", copy).table.loc[FIRST, "text"] == "It\u2019s late."


def test_sounds_without_a_rating_second_ratings_and_unknown_labels_are_listed(copy: Path) -> None:
    extra = wav(copy).with_name("MSP-IMPROV-S01H-M01-P-FM77.wav")
    shutil.copy(wav(copy), extra)
    rerated(copy, "UTD-IMPROV-S01H-M01-P-MF01.avi; S;", "UTD-IMPROV-S01H-M01-P-MF01.avi; Q;")
    path = copy / "Evaluation.txt"
    path.write_text(f"{path.read_text()}\n{RATED}; A; A:3.0; V:3.5; D:3.0 ; N:3.6;\nPR1; Sad; ; A:1; V:1; D:1; N:1;\n")
    corpus = corpora.load("msp-improv", copy)
    left_out = trees.why(corpus)
    assert left_out[extra.stem] == "has no line in Evaluation.txt"
    assert left_out["MSP-IMPROV-S01H-M01-P-MF01"] == "has the unknown label 'Q'"
    assert left_out[FIRST] == "is listed for the second time"
    assert left_out["PR1; Sad; ; A:1; V:1; D:1; N:1;"] == "is a rating of no utterance"
    assert corpus.table.loc[FIRST, ["label", "raters"]].tolist() == ["H", 4]


def test_ratings_below_a_damaged_name_are_not_counted_for_the_utterance_above(copy: Path) -> None:
    rerated(copy, "UTD-IMPROV-S01H-M01-P-MF01.avi; S;", "UTD-IMPROV-S01H-M01-P-MF01.avi S;")
    corpus = corpora.load("msp-improv", copy)
    assert corpus.table.loc[FIRST, "raters"] == 4
    assert (corpus.skipped["why"] == "is a rating of no utterance").sum() == 5


@pytest.mark.parametrize(
    ("lost", "sentence"),
    [
        ("Evaluation.txt", r"There is no Evaluation.txt \(nor Evalution.txt\) in .*copy. Give the folder"),
        ("Human_transcriptions", "There is no folder All_human_transcriptions in .*copy. Unpack the transcripts"),
        ("Audio", "has no utterance to use in .*copy. Looked for Evaluation.txt, .*has no sound file: 96"),
    ],
)
def test_half_an_archive_is_an_error_that_says_what_is_missing(copy: Path, lost: str, sentence: str) -> None:
    (copy / lost).rename(copy.parent / lost)
    with pytest.raises(CorpusError, match=sentence):
        corpora.load("msp-improv", copy)


def test_without_a_root_it_is_said_where_one_asks_for_the_corpus() -> None:
    with pytest.raises(CorpusError, match="msp-improv does not ship .* Ask the MSP lab"):
        corpora.load("msp-improv")


def test_the_expected_counts_add_up_to_what_the_field_uses() -> None:
    classes = msp_improv.EXPECTED.drop(columns="all").sum()
    assert classes.to_dict() == {"happy": 2644, "sad": 885, "neutral": 3477, "angry": 792}
    assert classes.sum() == 7798
    assert msp_improv.EXPECTED["all"].sum() == 8438


GOOD = [
    f"{RATED}; N; A:3.000000; V:3.500000; D:3.000000 ; N:3.666667;",
    "UTD-IMPROV-S20N-M06-T-MF12.avi; X; A:3.000000; V:3.500000; D:NaN; N:NaN;",
    "PR16; Angry; Angry,Other: a; b; A:3.000000; V:4.000000; D:NaN; N:4.000000;",
    "",
]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(damaged_lines(GOOD))
def test_every_line_of_the_file_of_labels_is_read_or_listed(content: str) -> None:
    turns, skipped = msp_improv.parse_evaluation(content, "x.txt")
    lines = [line for _, line in reading.lines(content)]
    listed = {int(skip.where.rpartition(" ")[2]) for skip in skipped}
    assert len(listed) == len(skipped)
    raters = [line for line in lines if re.fullmatch(r"[^;]+;\s*\w+\s*;.*;\s*A:.*;\s*V:.*;\s*D:.*;\s*N:.*", line)]
    assert len(lines) - len(raters) <= len(turns) + len(skipped) <= len(lines)
    for name, turn in turns.items():
        assert re.fullmatch(r"MSP-IMPROV-S\d\d[AHSN]-[FM]\d\d-[PRST]-[FM][FM]\d+", name)
        assert turn["condition"] in msp_improv.CONDITIONS
