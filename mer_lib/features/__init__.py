"""From a corpus to numbers: frames of sound, ids of words, and batches of both.

Names are looked up when they are asked for, since some of the modules need torch, which takes seconds to load, and
others, such as `check`, do not.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mer_lib.features.audio import FEATURES, FRAME_SECONDS, STEP_SECONDS, frames, normalise
    from mer_lib.features.batches import STEP_FEATURES, Batch, Utterances, prepare
    from mer_lib.features.check import check_audio
    from mer_lib.features.pretrained import EncoderError, Pretrained
    from mer_lib.features.text import WordVectors, word_vectors

_HOMES = {
    "audio": ("FEATURES", "FRAME_SECONDS", "STEP_SECONDS", "frames", "normalise"),
    "batches": ("STEP_FEATURES", "Batch", "Utterances", "prepare"),
    "check": ("check_audio",),
    "pretrained": ("EncoderError", "Pretrained"),
    "text": ("WordVectors", "word_vectors"),
}

__all__ = [
    "FEATURES", "FRAME_SECONDS", "STEP_FEATURES", "STEP_SECONDS", "Batch", "EncoderError", "Pretrained", "Utterances",
    "WordVectors", "check_audio", "frames", "normalise", "prepare", "word_vectors",
]  # fmt: skip


def __getattr__(name: str) -> object:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
