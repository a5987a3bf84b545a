from __future__ import annotations

import subprocess
import sys

import torch

from mer_lib._torchaudio import torchaudio


def test_torchaudio_computes_features_beside_any_torch() -> None:
    time = torch.arange(16_000) / 16_000
    wave = torch.sin(2 * torch.pi * 220 * time)[None]
    mel = torchaudio.transforms.MelSpectrogram(16_000, n_fft=400, hop_length=160, n_mels=40)(wave)
    assert mel.shape == (1, 40, 101)
    assert torchaudio.transforms.FrequencyMasking(8)(mel).shape == mel.shape
    assert torchaudio.transforms.MFCC(16_000, 13, melkwargs={"n_mels": 40, "n_fft": 400})(wave).shape[1] == 13
    assert torchaudio.functional.resample(wave, 16_000, 8_000).shape == (1, 8_000)
    assert abs(torchaudio.functional.detect_pitch_frequency(wave, 16_000).median() - 220) < 5
    halved = torchaudio.functional.lfilter(wave, torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.0]))
    torch.testing.assert_close(halved, wave / 2)


def test_who_imports_torchaudio_later_gets_the_same_one() -> None:
    code = "from mer_lib._torchaudio import torchaudio as ours; import torchaudio; assert torchaudio is ours"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_extension_that_cannot_be_loaded_is_done_without() -> None:
    """Also where torch has CUDA and the extension would load."""
    code = """
import torch
load = torch.ops.load_library
def refuse(path):
    raise OSError("libc10_cuda.so: cannot open shared object file")
torch.ops.load_library = refuse
from mer_lib._torchaudio import torchaudio
assert not torchaudio._extension._IS_TORCHAUDIO_EXT_AVAILABLE
assert torchaudio.functional.resample(torch.zeros(1, 160), 16_000, 8_000).shape == (1, 80)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
