"""From a corpus to numbers: frames of sound, ids of words, and batches of both."""

from mer_lib.features.audio import FEATURES, FRAME_SECONDS, STEP_SECONDS, frames, normalise
from mer_lib.features.batches import STEP_FEATURES, Batch, Utterances, prepare
from mer_lib.features.check import check_audio
from mer_lib.features.pretrained import EncoderError, Pretrained
from mer_lib.features.text import WordVectors, word_vectors

__all__ = [
    "FEATURES", "FRAME_SECONDS", "STEP_FEATURES", "STEP_SECONDS", "Batch", "EncoderError", "Pretrained", "Utterances",
    "WordVectors", "check_audio", "frames", "normalise", "prepare", "word_vectors",
]  # fmt: skip
