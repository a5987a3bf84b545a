"""What loaders share: text, tables, sound and folders as they really come, repaired and counted or refused."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
import trees

from mer_lib import corpora
from mer_lib.corpora import reading
from mer_lib.corpora.base import SAMPLE_RATE, CorpusError
from mer_lib.corpora.reading import Skip, UnusableError

CONTROL = "control characters for those of Windows-1252"
BYTES = "bytes of Windows-1252"
TWICE = "characters encoded twice"


# Text -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "expected", "kinds"),
    [
        ("don\x92t \x93go\x94 \x85 \x97 \x80", "don\u2019t \u201cgo\u201d \u2026 \u2014 \u20ac", {CONTROL: 6}),
        (b"don\x92t \x93go\x94 caf\xe9", "don\u2019t \u201cgo\u201d caf\u00e9", {BYTES: 4}),
        (b"caf\xc3\xa9 \x92 \xe2\x80\x99 and on", "caf\u00e9 \u2019 \u2019 and on", {BYTES: 1}),
        ("don\u00e2\u20ac\u2122t \u00e2\u20ac\u0153go\u00e2\u20ac\x9d", "don\u2019t \u201cgo\u201d", {TWICE: 3}),
        ("don\u00e2\x80\x99t, caf\u00c3\u00a9, \u00c2\u00a3", "don\u2019t, caf\u00e9, \u00a3", {TWICE: 3}),
        ("\u00f0\u0178\u02dc\u20ac", "\U0001f600", {TWICE: 1}),
        ("a caf\u00e9\u2026\u201d \u201cMEN\u00dc\u201d \u00c5ngstr\u00f6m \u00a3 fianc\u00e9\u201d\u2026", None, {}),
        ("<script>x</script> \u202eabc\u202c \u2028 \x0b \x0c", None, {}),
        (b"\xef\xbb\xbfmarked", "marked", {}),
        ("\ufeffmarked \u2019".encode("utf-16-le"), "marked \u2019", {}),
        ("\ufeffmarked \u2019".encode("utf-16-be"), "marked \u2019", {}),
    ],
)
def test_text_is_repaired_and_every_repair_is_counted(
    tmp_path: Path, content: str | bytes, expected: str | None, kinds: dict[str, int]
) -> None:
    path = trees.write(tmp_path / "x.txt", content)
    repaired: list[reading.Repair] = []
    assert reading.text(path, repaired) == (content if expected is None else expected)
    assert {repair.how: repair.times for repair in repaired} == kinds
    assert reading.text(path) == (content if expected is None else expected)


def test_an_odd_byte_garbles_neither_its_line_nor_the_rest_of_the_file(tmp_path: Path) -> None:
    good = "caf\u00e9 \u2019".encode()
    path = trees.write(tmp_path / "x.txt", b"\n".join([good, b"\xff " + good, good]))
    assert reading.text(path).split("\n") == ["caf\u00e9 \u2019", "\u00ff caf\u00e9 \u2019", "caf\u00e9 \u2019"]


@pytest.mark.parametrize("mark", ["\u0085", "\u2028", "\u2029", "\x0b", "\x0c", "\x1c"])
def test_only_a_line_end_ends_a_line(mark: str) -> None:
    content = f"Ses01F_impro01_F000 [1-2]: one{mark}two\nnext"
    assert [line for _, line in reading.lines(content)] == [content.split("\n")[0], "next"]
    rows, skipped = reading.table(f"id,emotion\nx,a{mark}b\n", "x.csv", ("id", "emotion"))
    assert (rows, skipped) == ([("x.csv, line 2", {"id": "x", "emotion": f"a{mark}b"})], [])


def test_a_stray_carriage_return_ends_no_line_where_the_others_end_otherwise() -> None:
    assert [line for _, line in reading.lines("one\rtwo\nthree\nfour\n")] == ["one\rtwo", "three", "four"]
    assert [line for _, line in reading.lines("one\rtwo\rthree\r")] == ["one", "two", "three"]
    assert [line for _, line in reading.lines("one\r\ntwo\r\n")] == ["one", "two"]


def test_a_quoted_field_of_several_lines_is_a_field() -> None:
    content = 'id,emotion\r\na,"one\r\ntwo\r\n\r\nthree"\r\nb,"say ""so"",\nyou"\r\nc,d\r\n'
    rows, skipped = reading.table(content, "x.csv", ("id",))
    assert [row["emotion"] for _, row in rows] == ["one two three", 'say "so", you', "d"]
    assert [here for here, _ in rows] == ["x.csv, line 5", "x.csv, line 7", "x.csv, line 8"]
    assert not skipped


@pytest.mark.parametrize("after", [["b,2,3"], ['b,"2",3', 'c,"5",6'], ["b,2,3"] * 200, ["b,2,3", 'x,closed",3']])
def test_a_quotation_mark_that_is_not_closed_costs_its_own_row_and_no_other(after: list[str]) -> None:
    rows, skipped = reading.table("\n".join(["id,x,y", 'a,"open,1', *after]), "x.csv", ("id",))
    assert len(rows) == len(after)
    assert skipped == [Skip('a,"open,1', "x.csv, line 2", "swallows lines: a quotation mark is not closed")]


# What the loaders make of it --------------------------------------------------------------------------------------

LOADERS = {"iemocap": trees.iemocap, "msp-improv": trees.msp_improv, "meld": trees.meld}


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small tree of each corpus; not to be changed."""
    return {
        name: make(tmp_path_factory.mktemp(name) / "tree", seconds=0.2, each=2 if name == "meld" else 1)
        for name, make in LOADERS.items()
    }


@pytest.fixture(params=LOADERS)
def given(request: pytest.FixtureRequest, released: dict[str, Path], tmp_path: Path) -> tuple[str, Path]:
    """The name of a corpus, and a copy of its tree to be damaged."""
    return request.param, shutil.copytree(released[request.param], tmp_path / "copy")


def test_nothing_is_repaired_in_clean_trees_and_nothing_said_of_it(
    released: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    reading._say.cache_clear()
    for name, root in released.items():
        assert corpora.load(name, root).repaired.empty
    assert "epaired" not in capsys.readouterr().out


@pytest.mark.parametrize("folder", ["__MACOSX", ".Trash-1000", ".git"])
def test_what_systems_put_among_the_files_is_never_taken_for_the_corpus(given: tuple[str, Path], folder: str) -> None:
    name, root = given
    clean = corpora.load(name, root)
    shutil.copytree(root, root.parent / "more")
    for path in sorted((root.parent / "more").rglob("*")):
        if path.is_file():
            path.write_bytes(trees.APPLE_DOUBLE)
    shutil.move(root.parent / "more", root / folder)
    for place in [place for place in root.rglob("*") if place.is_dir() and folder not in place.parts]:
        (place / folder).mkdir()
        trees.write(place / folder / "Ses01F_impro01_F000.wav", b"")
    corpus = corpora.load(name, root)
    assert corpus.table.equals(clean.table)
    assert corpus.skipped.equals(clean.skipped)


@contextmanager
def closed(path: Path) -> Iterator[None]:
    """Let nobody read a file or a folder; the tests may run as someone whom permissions do not stop."""
    path.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        if user == 0:
            os.seteuid(0)
        path.chmod(0o755)


@pytest.fixture
def opened(given: tuple[str, Path]) -> tuple[str, Path]:
    """A copy of a tree that everybody can reach."""
    for place in given[1].parents if os.geteuid() == 0 else ():
        if place.name.startswith(("pytest-", "test_")):
            place.chmod(0o755)
    return given


CLOSED = {
    "iemocap": ("Session2/dialog/EmoEvaluation", "Session2"),
    "msp-improv": ("Audio/session2",),
    "meld": (trees.MELD_FOLDERS["train"], "train"),
}


def test_a_folder_that_may_not_be_read_is_said_to_be_so(opened: tuple[str, Path]) -> None:
    name, root = opened
    denied = r"cannot be read \(Permission denied\)"
    with closed(root), pytest.raises(CorpusError, match=rf"{root} {denied}"):
        corpora.load(name, root)
    for place in CLOSED[name]:
        with closed(root / place):
            if name == "meld":  # whose one fold needs all three parts
                with pytest.raises(CorpusError, match=rf"{root / place} {denied}"):
                    corpora.load(name, root)
                continue
            corpus = corpora.load(name, root)
        rows = corpus.skipped[corpus.skipped["where"].str.startswith(str(root / place))]
        assert "cannot be read (Permission denied)" in set(rows["why"])
        assert not rows["why"].str.contains("half an archive").any()
        assert "S2" not in set(corpus.table["session"])


def test_names_that_are_not_utf8_pipes_and_links_to_nowhere_are_listed_in_print(given: tuple[str, Path]) -> None:
    name, root = given
    clean = corpora.load(name, root)
    folder = (root / clean.table["audio"].iloc[0]).parent
    Path(os.fsdecode(os.fsencode(folder / "caf") + b"\xe9.wav")).write_bytes(b"")
    os.mkfifo(folder / "pipe.wav")
    (folder / "nowhere.wav").symlink_to("nothing")
    (folder / "circle").symlink_to(folder)
    (folder / "itself.wav").symlink_to("itself.wav")
    (folder / "folder.wav").mkdir()
    corpus = corpora.load(name, root)
    assert corpus.table.equals(clean.table)
    new = corpus.skipped[~corpus.skipped["what"].isin(clean.skipped["what"])]
    odd = "is no file, or a link to nothing"
    assert dict(zip(new["what"], new["why"], strict=True)) == {
        "caf\\udce9": "has a name that is not UTF-8",
        **dict.fromkeys(["itself", "nowhere", "pipe"], odd),
    }
    assert corpus.skipped.to_csv().encode()


def test_a_root_whose_name_is_not_utf8_is_read_and_named_in_print(given: tuple[str, Path]) -> None:
    name, root = given
    odd = Path(os.fsdecode(os.fsencode(root.parent) + b"/\xe9"))
    root.rename(odd)
    corpus = corpora.load(name, odd)
    assert corpus.fingerprint()
    assert corpus.skipped.to_csv().encode()
    assert len(corpus.waveform(corpus.table["id"].iloc[0]))
    with pytest.raises(CorpusError) as caught:
        corpora.load(name, odd / "nowhere")
    assert str(caught.value).encode()


@pytest.mark.parametrize("session", [1, 4])
def test_a_session_that_is_missing_is_listed_and_said(
    released: dict[str, Path], tmp_path: Path, session: int, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, place in {"iemocap": f"Session{session}", "msp-improv": f"Audio/session{session}"}.items():
        root = shutil.copytree(released[name], tmp_path / name)
        shutil.rmtree(root / place)
        reading._say.cache_clear()
        corpus = corpora.load(name, root)
        assert trees.why(corpus)[Path(place).name] == "is missing: half an archive"
        assert "half an archive: 1" in capsys.readouterr().out
        assert f"S{session}" not in set(corpus.table["session"])


# Sound ------------------------------------------------------------------------------------------------------------

NOISE = 0.1 * np.random.default_rng(0).standard_normal(2 * SAMPLE_RATE)
UNKNOWABLE = {"IRCAM", "MAT5", "PAF", "PVF", "SD2", "XI"}
"""Formats that state no length."""

WRITTEN = [
    (kind, subtype)
    for kind in soundfile.available_formats()
    for subtype in soundfile.available_subtypes(kind)
    if kind not in ("RAW", "SD2", "XI") and soundfile.check_format(kind, subtype)
]


@pytest.mark.parametrize("kind", sorted({kind for kind, _ in WRITTEN}))
def test_every_format_is_read_whole_or_refused_and_what_is_cut_is_never_read_as_whole(
    tmp_path: Path, kind: str
) -> None:
    for subtype in [subtype for other, subtype in WRITTEN if other == kind]:
        path = tmp_path / f"{subtype}.wav"
        try:
            soundfile.write(path, NOISE, SAMPLE_RATE, format=kind, subtype=subtype)
        except soundfile.SoundFileError:
            continue  # a codec of other rates
        if (kind, subtype) == ("VOC", "PCM_U8") or subtype.startswith("DWVW"):
            continue  # which rounds the rate; which libsndfile cannot seek in, and says it can
        expected = 2 * NOISE.size if kind == "WVE" else NOISE.size  # always of 8,000 Hz
        assert expected <= len(reading.sound(path)) <= 1.02 * expected, f"{kind} {subtype} is read whole"
        content = path.read_bytes()
        for share in (0.9, 0.5, 0.3):
            path.write_bytes(content[: round(share * len(content))])
            if kind not in UNKNOWABLE:
                with pytest.raises(
                    UnusableError, match="is cut short|or cut short|cannot be read as sound|holds no sound"
                ):
                    reading.sound(path)


def test_mp3_that_does_not_state_its_length_is_refused_since_nobody_knows_whether_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, NOISE, SAMPLE_RATE, format="MP3", subtype="MPEG_LAYER_III")
    content = path.read_bytes()
    path.write_bytes(content[content.index(b"\xff\xf3", 4) :])
    with pytest.raises(UnusableError, match="is MP3 that does not state its length: make it a wav"):
        reading.sound(path)
    path.write_bytes(b"ID3\x04\x00\x00\x00\x00\x00\x05Title" + content)
    assert len(reading.sound(path)) == NOISE.size
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(UnusableError, match="is cut short"):
        reading.sound(path)


@pytest.mark.parametrize("subtype", ["GSM610", "G721_32", "NMS_ADPCM_16", "NMS_ADPCM_32"])
def test_a_codec_that_cannot_seek_is_read(tmp_path: Path, subtype: str) -> None:
    tone = 0.3 * np.sin(2 * np.pi * 220 * np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE)
    path = tmp_path / "x.wav"
    soundfile.write(path, tone, SAMPLE_RATE, format="WAV", subtype=subtype)
    read = reading.sound(path)
    assert np.corrcoef(read[1000 : tone.size - 1000], tone[1000:-1000])[0, 1] > 0.9
    assert reading.seconds(path) == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize("rate", [1, 7999, 2**31 - 1])
def test_a_rate_that_no_recorder_has_is_refused(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "x.wav", NOISE, rate)
    with pytest.raises(UnusableError, match=f"is sampled at {rate} Hz|cannot be read as sound"):
        reading.sound(tmp_path / "x.wav")


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ('file,text\na.wav,"I see.\nYes, sure."\nb.wav,No.\n', [("a.wav", "I see. Yes, sure."), ("b.wav", "No.")]),
        ('file,text\na.wav,"One,\ntwo, three,\nfour, five"\n', [("a.wav", "One, two, three, four, five")]),
    ],
)
def test_a_field_of_several_lines_may_hold_as_many_commas_as_it_likes(content: str, rows: list) -> None:
    found, skipped = reading.table(content, "x.csv", ("file", "text"))
    assert [(row["file"], row["text"]) for _, row in found] == rows
    assert skipped == []
