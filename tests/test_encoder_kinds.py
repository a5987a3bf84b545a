"""Which kinds of pretrained encoder are supported, and that all others are refused in a sentence or right as well."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import kinds
import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

import notebooks
from mer_lib.features.checkpoint import extractor_settings
from mer_lib.features.pretrained import (
    EQUAL,
    SPEECH_KINDS,
    TEXT_KINDS,
    EncoderError,
    Pretrained,
    SpeechEncoder,
    TextEncoder,
    TextInputs,
)

WORDS = ["She cried.", "The day was glad, and so was she", "glad", "and then it was all right again, all of it"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory):
    """Save an encoder of a kind once, and return its folder."""
    home, folders = tmp_path_factory.mktemp("kinds"), dict[str, str]()

    def make(kind: str) -> str:
        if kind not in folders:
            folders[kind] = kinds.saved(home / kind.replace(", ", "-"), kind)
        return folders[kind]

    return make


@pytest.mark.parametrize("kind", sorted(TEXT_KINDS))
def test_a_supported_encoder_of_text_gives_each_text_what_it_gets_alone(made, kind: str) -> None:
    encoder = TextEncoder(Pretrained(made(kind), "all"), "cpu")
    assert encoder.equal == (TEXT_KINDS[kind] == EQUAL)
    cut = [encoder.prepare(text) for text in WORDS]
    with torch.no_grad():
        together = encoder.vectors([ids for ids, _ in cut])
        alone = [encoder.vectors([ids])[0] for ids, _ in cut]
    for found, expected, (_, spans) in zip(together, alone, cut, strict=True):
        assert found.shape == (len(spans), kinds.LAYERS + 1, kinds.WIDTH)
        assert found.isfinite().all()
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", [kind for kind in kinds.SOUNDS if kind.partition(",")[0] in SPEECH_KINDS])
def test_a_supported_encoder_of_speech_keeps_the_pace_and_gives_each_sound_what_it_gets_alone(made, kind: str) -> None:
    encoder = SpeechEncoder(Pretrained(made(kind)), "cpu")
    luck = np.random.default_rng(1)
    sounds = [0.1 * luck.standard_normal(round(16_000 * s)).astype("f4") for s in (2.0, 0.7, 0.006, 1.3)]
    ready = [encoder.prepare(sound, 16_000) for sound in sounds]
    with torch.no_grad():
        together, alone = encoder.vectors(ready), [encoder.vectors([sound])[0] for sound in ready]
    assert [len(found) for found in together] == [10, 4, 1, 7]
    for found, expected in zip(together, alone, strict=True):
        assert found.isfinite().all()
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_every_kind_that_is_said_to_be_supported_is_tested_and_stands_in_the_readme() -> None:
    assert set(TEXT_KINDS) <= set(kinds.TEXTS)
    assert set(SPEECH_KINDS) <= {kind.partition(",")[0] for kind in kinds.SOUNDS}
    readme = (notebooks.ROOT / "README.md").read_text()
    for title, known in (("Speech", SPEECH_KINDS), ("Text", TEXT_KINDS)):
        (line,) = [line for line in readme.splitlines() if line.startswith(f"- {title}: ")]
        assert line.removeprefix(f"- {title}: ").rstrip(".").split(", ") == [f"`{kind}`" for kind in sorted(known)]


@pytest.mark.parametrize("kind", ["nystromformer", "funnel", "canine"])
def test_an_encoder_of_text_that_does_not_fit_is_refused_by_name(made, kind: str) -> None:
    with pytest.raises(EncoderError, match=rf"{kind}.*hoose an"):
        TextEncoder(Pretrained(made(kind)), "cpu")


@pytest.mark.parametrize("kind", ["audio-spectrogram-transformer", "wav2vec2-bert"])
def test_an_encoder_that_reads_no_waveforms_is_refused_without_a_word_of_text(made, kind: str) -> None:
    with pytest.raises(EncoderError, match="does not read waveforms") as caught:
        SpeechEncoder(Pretrained(made(kind)), "cpu")
    assert "roberta" not in str(caught.value)


def test_another_kind_that_passes_the_trial_is_used_and_said_to_be_untested(made, capsys) -> None:
    encoder = TextEncoder(Pretrained(made("gpt2")), "cpu")
    assert "is of kind 'gpt2', which this book was not tested with" in capsys.readouterr().out
    assert encoder.vectors([encoder.prepare("she cried")[0]])[0].isfinite().all()


# ---- Whisper


def test_a_sound_longer_than_the_window_of_whisper_is_read_window_by_window(made) -> None:
    encoder = SpeechEncoder(Pretrained(made("whisper")), "cpu")
    luck = np.random.default_rng(2)
    first, second = (0.1 * luck.standard_normal(16_000 * s).astype("f4") for s in (30, 4))
    with torch.no_grad():
        whole = encoder.vectors([encoder.prepare(np.concatenate([first, second]), 16_000)])[0]
        parts = [encoder.vectors([encoder.prepare(part, 16_000)])[0] for part in (first, second)]
    assert len(whole) == 170
    torch.testing.assert_close(whole, torch.cat(parts), atol=1e-4, rtol=1e-4)


def test_the_encoder_of_whisper_can_be_saved_alone(made, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = transformers.WhisperModel.from_pretrained(made("whisper"))
    model.get_encoder().save_pretrained(tmp_path)
    shutil.copy(Path(made("whisper")) / "preprocessor_config.json", tmp_path)
    sound = 0.1 * np.random.default_rng(3).standard_normal(16_000).astype("f4")
    found = []
    for folder in (made("whisper"), str(tmp_path)):
        encoder = SpeechEncoder(Pretrained(folder, "all"), "cpu")
        with torch.no_grad():
            found.append(encoder.vectors([encoder.prepare(sound, 16_000)])[0])
    torch.testing.assert_close(*found)


# ---- what is damaged, or not all there


def damaged(made, tmp_path: Path, kind: str = "bert") -> Path:
    return Path(shutil.copytree(made(kind), tmp_path / "damaged"))


def rewrite(folder: Path, change) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file(change(weights), folder / "model.safetensors", metadata={"format": "pt"})


def first_to_nan(weights: dict) -> dict:
    name = next(name for name in weights if name.endswith("output.dense.weight"))
    return weights | {name: torch.full_like(weights[name], float("nan"))}


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"

HARMS = {
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "The tokenizer of .* is missing"),
    "a pointer for weights": (lambda f: (f / "model.safetensors").write_text(POINTER), "Git LFS pointer.*git lfs pull"),
    "a pointer for words": (lambda f: (f / "tokenizer.json").write_text(POINTER), "Git LFS pointer.*git lfs pull"),
    "a pointer for shapes": (lambda f: (f / "config.json").write_text(POINTER), "Git LFS pointer.*git lfs pull"),
    "half of the weights": (
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:3000]),
        "The model of .* cannot be read",
    ),
    "no byte of weights": (lambda f: (f / "model.safetensors").write_bytes(b""), "The model of .* cannot be read"),
    "weights that are not finite": (lambda f: rewrite(f, first_to_nan), "are not finite"),
    "pickled weights only": (
        lambda f: ((f / "model.safetensors").unlink(), (f / "pytorch_model.bin").write_bytes(b"x")),
        "are pickled, and nothing is unpickled",
    ),
    "an adapter": (lambda f: (f / "adapter_config.json").write_text("{}"), "is an adapter"),
    "code of its own": (
        lambda f: (f / "config.json").write_text(
            json.dumps({"model_type": "own-kind", "auto_map": {"AutoConfig": "code.Own", "AutoModel": "code.Model"}})
        ),
        "needs code of its own, which is not run|cannot be read",
    ),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_folder_that_is_not_whole_is_refused_in_a_sentence_that_names_it(made, tmp_path: Path, harm: str) -> None:
    folder = damaged(made, tmp_path)
    HARMS[harm][0](folder)
    with pytest.raises(EncoderError, match=HARMS[harm][1]) as caught:
        TextEncoder(Pretrained(str(folder)), "cpu")
    assert str(folder) in str(caught.value)


def test_foreign_code_is_never_asked_about(made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = damaged(made, tmp_path)
    HARMS["code of its own"][0](folder)
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked whether to run foreign code"))
    with pytest.raises(EncoderError):
        TextEncoder(Pretrained(str(folder)), "cpu")


def test_tokens_that_were_added_without_a_row_of_the_embedding_are_named(made, tmp_path: Path) -> None:
    folder = damaged(made, tmp_path)
    more = transformers.AutoTokenizer.from_pretrained(folder)
    more.add_tokens(["vaccination"])
    config = json.loads((folder / "config.json").read_text())
    rows = config["vocab_size"]
    more.add_tokens([f"word{i}" for i in range(rows)])
    more.save_pretrained(folder)
    with pytest.raises(EncoderError, match="for which the encoder has no embedding"):
        TextEncoder(Pretrained(str(folder)), "cpu")


def test_a_tokenizer_of_another_language_or_without_its_words_is_refused(made, tmp_path: Path) -> None:
    folder = damaged(made, tmp_path)
    told = json.loads((folder / "tokenizer.json").read_text())
    told["model"]["vocab"] = {w: i for w, i in told["model"]["vocab"].items() if w.startswith("[")}
    (folder / "tokenizer.json").write_text(json.dumps(told))
    with pytest.raises(EncoderError, match="knows 0 of the .* pieces"):
        TextInputs(Pretrained(str(folder)))


def test_a_sentencepiece_model_without_its_package_names_the_cure(
    made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = damaged(made, tmp_path, "albert")
    (folder / "tokenizer.json").unlink()
    (folder / "spiece.model").write_bytes(b"sentencepiece")
    monkeypatch.setattr("mer_lib.features.checkpoint._installed", lambda package: False)
    with pytest.raises(EncoderError, match="pip install sentencepiece protobuf"):
        TextInputs(Pretrained(str(folder)))


def test_missing_weights_of_the_positions_are_the_encoders_fault_and_not_the_corpus(made, tmp_path: Path) -> None:
    folder = damaged(made, tmp_path, "wav2vec2")
    rewrite(folder, lambda weights: {n: w for n, w in weights.items() if "pos_conv_embed" not in n})
    with pytest.raises(EncoderError, match="was saved without .* of its weights, such as encoder.pos_conv_embed"):
        SpeechEncoder(Pretrained(str(folder)), "cpu")


@pytest.mark.parametrize("kind", ["wav2vec2", "whisper"])
def test_without_its_extractor_an_encoder_of_speech_is_refused(made, tmp_path: Path, kind: str) -> None:
    folder = damaged(made, tmp_path, kind)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(EncoderError, match="The feature extractor of .* is missing in that folder"):
        SpeechEncoder(Pretrained(str(folder)), "cpu")


EXTRACTORS = {
    "says nothing": ("wav2vec2", lambda said: {}, "does not tell do_normalize"),
    "is of images": ("wav2vec2", lambda said: {"image_processor_type": "ViTImageProcessor"}, "not tell do_normalize"),
    "says nothing of rate": ("wav2vec2", lambda said: {"do_normalize": False}, "does not tell sampling_rate"),
    "has a rate of 0": ("wav2vec2", lambda said: said | {"sampling_rate": 0}, "tells a sampling_rate of 0"),
    "has no rate": ("wav2vec2", lambda said: said | {"sampling_rate": None}, "tells a sampling_rate of None"),
    "says nothing of bands": ("whisper", lambda said: {"sampling_rate": 16_000}, "does not tell feature_size"),
    "moves by nothing": ("whisper", lambda said: said | {"hop_length": 0}, "kernel or stride below 1|cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("harm", EXTRACTORS)
def test_no_setting_of_an_extractor_is_filled_in_in_silence(made, tmp_path: Path, harm: str) -> None:
    kind, change, sentence = EXTRACTORS[harm]
    folder = damaged(made, tmp_path, kind)
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(EncoderError, match=sentence) as caught:
        SpeechEncoder(Pretrained(str(folder)), "cpu")
    assert str(folder) in str(caught.value)


def test_settings_of_an_extractor_may_stand_in_the_file_of_a_processor(made, tmp_path: Path) -> None:
    folder = damaged(made, tmp_path, "whisper")
    path = folder / "preprocessor_config.json"
    whole = {"feature_extractor": json.loads(path.read_text()), "processor_class": "WhisperProcessor"}
    (folder / "processor_config.json").write_text(json.dumps(whole))
    path.unlink()
    found = extractor_settings(Pretrained(str(folder)).home())
    assert (found["sampling_rate"], found["feature_size"]) == (16_000, 80)


def test_a_stride_of_nothing_is_refused(made, tmp_path: Path) -> None:
    folder = damaged(made, tmp_path, "wav2vec2")
    path = folder / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"conv_stride": [0, *config["conv_stride"][1:]]}))
    with pytest.raises(EncoderError, match="damaged has a kernel or stride below 1"):
        SpeechEncoder(Pretrained(str(folder)), "cpu")


@pytest.mark.parametrize("name", ["../elsewhere/model.safetensors", "/etc/model.safetensors", 3, ""])
def test_an_index_names_files_beside_it_and_nothing_else(made, tmp_path: Path, name: object) -> None:
    folder = damaged(made, tmp_path)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": {"a": name}}))
    with pytest.raises(EncoderError, match="model.safetensors.index.json of .*damaged cannot be read"):
        TextEncoder(Pretrained(str(folder)), "cpu")


def test_another_tokenizer_makes_another_key(made, tmp_path: Path) -> None:
    folder = damaged(made, tmp_path)
    before = Pretrained(str(folder)).key()
    cutter = Tokenizer.from_file(str(folder / "tokenizer.json"))
    cutter.add_tokens(["glad"])
    cutter.save(str(folder / "tokenizer.json"))
    assert Pretrained(str(folder)).key() != before


COMMIT = "a" * 40


@pytest.fixture
def hub(made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put an encoder of a kind on a hub as `org/tiny`; its configuration is on this machine already."""
    from huggingface_hub.utils import EntryNotFoundError

    def put(kind: str) -> tuple[Path, list[str]]:
        there, asked = Path(made(kind)), list[str]()
        here = tmp_path / "models--org--tiny" / "snapshots" / COMMIT
        here.mkdir(parents=True)
        shutil.copy(there / "config.json", here)

        def download(name: str, file: str, revision: str) -> str:
            asked.append(file)
            if not (there / file).exists():
                raise EntryNotFoundError("404")
            return str(shutil.copy(there / file, here / file))

        monkeypatch.setattr("transformers.utils.cached_file", lambda *_, **__: str(here / "config.json"))
        monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
        return here, asked

    return put


def test_of_a_model_on_the_hub_all_small_files_are_downloaded_before_anything_is_built(hub) -> None:
    """What a first use of `roberta-base` does: the configuration is here, the tokenizer is not yet."""
    _, asked = hub("roberta")
    encoder = TextEncoder(Pretrained("org/tiny"), "cpu")
    assert {"tokenizer.json", "model.safetensors"} <= set(asked)
    assert len(encoder.prepare.tokenizer) == len(kinds.tokenizer())
    assert COMMIT in Pretrained("org/tiny").key()


def test_what_an_earlier_use_left_out_is_downloaded_when_it_is_needed(hub) -> None:
    """Whisper, of which somebody fetched the tokenizer only: what prepares its sound is still to come."""
    here, asked = hub("whisper")
    (here / "tokenizer.json").write_text("{}")
    SpeechEncoder(Pretrained("org/tiny"), "cpu")
    assert "preprocessor_config.json" in asked
