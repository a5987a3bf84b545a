"""What reads Whisper's weights as CTranslate2 saves them, on a file written here."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

import real_encoders
from mer_lib._torchaudio import torchaudio  # first: transformers imports it, and beside a CPU build it needs help

assert torchaudio
KINDS = {"float32": 0, "int8": 1, "float16": 4}


def write(path: Path, variables: dict[str, np.ndarray], version: int = 6) -> Path:
    """A model in CTranslate2's format, with a word, as its strings, that ends in a zero."""

    def text(line: str) -> bytes:
        return struct.pack("<H", len(line) + 1) + line.encode() + b"\0"

    content = struct.pack("<I", version) + text("WhisperSpec") + struct.pack("<II", 3, len(variables))
    for name, value in variables.items():
        content += text(name) + struct.pack("<B", value.ndim) + struct.pack(f"<{value.ndim}I", *value.shape)
        content += struct.pack("<BI", KINDS[value.dtype.name], value.nbytes) + value.tobytes()
    path.write_bytes(content)
    return path


def test_every_variable_is_read_with_its_name_shape_and_numbers(tmp_path: Path) -> None:
    luck = np.random.default_rng(0)
    variables = {
        "encoder/layer_norm/gamma": luck.normal(size=3).astype(np.float32),
        "decoder/embeddings/weight": luck.integers(-9, 9, (2, 3)).astype(np.int8),
        "encoder/conv1/weight": luck.normal(size=(2, 3, 4)).astype(np.float16),
    }
    found = dict(real_encoders.ctranslate2(write(tmp_path / "model.bin", variables)))
    assert list(found) == list(variables)
    for name, value in variables.items():
        assert found[name].dtype == value.dtype
        np.testing.assert_array_equal(found[name], value)


def test_another_version_of_the_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="version 5"):
        dict(real_encoders.ctranslate2(write(tmp_path / "model.bin", {}, version=5)))


def test_an_encoder_survives_the_other_format(tmp_path: Path) -> None:
    """Every weight of a random encoder, renamed and stacked as CTranslate2 does, comes back in its place."""
    import transformers

    torch.manual_seed(0)
    config = transformers.WhisperConfig(
        d_model=8, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=16, num_mel_bins=80
    )
    encoder = transformers.models.whisper.modeling_whisper.WhisperEncoder(config)
    weights = {name: torch.randn_like(value).numpy() for name, value in encoder.state_dict().items()}
    saved = {"decoder/layer_norm/gamma": np.ones(8, np.float32)}

    def map_(there: str, here: str, ends: tuple[str, str] = ("weight", "bias")) -> None:
        for end, name in zip(ends, ("weight", "bias"), strict=True):
            saved[f"encoder/{there}/{end}"] = weights[f"{here}.{name}"]

    norm = ("gamma", "beta")
    saved["encoder/position_encodings/encodings"] = weights["embed_positions.weight"]
    map_("layer_norm", "layer_norm", norm)
    for name in ("conv1", "conv2"):
        map_(name, name)
    for i in range(2):
        there, here = f"layer_{i}", f"layers.{i}"
        map_(f"{there}/self_attention/layer_norm", f"{here}.self_attn_layer_norm", norm)
        map_(f"{there}/self_attention/linear_1", f"{here}.self_attn.out_proj")
        map_(f"{there}/ffn/layer_norm", f"{here}.final_layer_norm", norm)
        map_(f"{there}/ffn/linear_0", f"{here}.fc1")
        map_(f"{there}/ffn/linear_1", f"{here}.fc2")
        three = [f"{here}.self_attn.{part}_proj" for part in "qkv"]
        stacked = [weights[f"{part}.weight"] for part in three]
        biases = [weights.get(f"{part}.bias", np.zeros(8, np.float32)) for part in three]
        saved[f"encoder/{there}/self_attention/linear_0/weight"] = np.concatenate(stacked)
        saved[f"encoder/{there}/self_attention/linear_0/bias"] = np.concatenate(biases)

    found = real_encoders.whisper_encoder(dict(real_encoders.ctranslate2(write(tmp_path / "model.bin", saved))))
    assert found.keys() == weights.keys()
    for name, value in weights.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
