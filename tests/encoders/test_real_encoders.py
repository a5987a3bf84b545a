"""Two real encoders, downloaded from the Python package index: `make test-encoders`, no part of `make test`."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

import real_encoders
from mer_lib import corpora, experiments
from mer_lib.features import stored
from mer_lib.features.pretrained import ALL, Pretrained, SpeechEncoder, TextEncoder
from mer_lib.training import TrainingConfig

NAMES = sorted(real_encoders.WHEELS)


@pytest.fixture(scope="session")
def folders() -> dict[str, Path]:
    """Where both encoders lie; fetched once."""
    place = Path(os.environ.get("REAL_ENCODERS") or real_encoders.STATES.parents[1] / "_build" / "encoders")
    return real_encoders.fetch(place)


def mean(encoder: TextEncoder, line: str) -> torch.Tensor:
    with torch.no_grad():
        return encoder.vectors([encoder.prepare(line)[0]])[0].mean(0)


def test_a_trained_encoder_of_text_finds_the_paraphrase_without_a_word_in_common(folders) -> None:
    encoder = TextEncoder(Pretrained(str(folders["minilm"])), "cpu")
    first, same, other = (
        mean(encoder, line)
        for line in ("I am furious with my landlord.", "The man who rents us the flat makes me so angry!",
                     "The bus leaves at seven from the station.")
    )  # fmt: skip
    alike = torch.nn.functional.cosine_similarity
    assert alike(first, same, dim=0) > alike(first, other, dim=0) + 0.2


def test_both_encoders_give_each_input_what_it_gets_alone(folders) -> None:
    corpus = corpora.load("duet-i")
    ids = corpus.table["id"].tolist()[:4]
    speech = SpeechEncoder(Pretrained(str(folders["whisper-tiny-en"])), "cpu")
    text = TextEncoder(Pretrained(str(folders["minilm"])), "cpu")
    for encoder, inputs in (
        (speech, [speech.prepare(corpus.waveform(name), corpus.sample_rate) for name in ids]),
        (text, [text.prepare(line)[0] for line in corpus.table.loc[ids, "text"]]),
    ):
        with torch.no_grad():
            together, alone = encoder.vectors(inputs), [encoder.vectors([x])[0] for x in inputs]
        for found, expected in zip(together, alone, strict=True):
            assert found.isfinite().all()
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_the_states_that_ship_are_those_of_the_encoder(folders, name: str) -> None:
    corpus, (ids, held) = corpora.load("duet-i"), stored.shipped_states(name)
    some = list(range(0, len(ids), len(ids) // 8))
    made = real_encoders.states(corpus, [ids[i] for i in some], Pretrained(str(folders[name]), ALL))
    step = np.spacing(np.abs(held["trained"][some]))  # of half precision, since other processors round otherwise
    assert (np.abs(made - held["trained"][some].astype(np.float32)) <= step.astype(np.float32)).all()


def test_a_training_on_a_real_encoder_beats_guessing_by_far(folders, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MER_LIB_CACHE", str(tmp_path))
    quick = TrainingConfig(epochs=4)
    (run,) = experiments.grid("duet-i", ["T"], [1], training=quick, text=str(folders["minilm"]))
    row = experiments.execute(run)
    assert row["text"].startswith("minilm#")
    assert row["ua"] > 55
