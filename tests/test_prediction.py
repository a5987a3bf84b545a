"""How a lone sound is normalised, on utterances of duet-i that were held out."""

from __future__ import annotations

import pytest

from mer_lib import experiments
from mer_lib.features.batches import prepare
from mer_lib.metrics import scores
from mer_lib.training import predict


@pytest.mark.slow
def test_a_lone_sound_wants_a_system_that_was_trained_on_lone_sounds() -> None:
    (run,) = experiments.grid("duet-i", ["A"], [1], [0])
    corpus = experiments._corpus("duet-i", None)
    lone = prepare(corpus, corpus.fold(1), normalise_by="id").test

    def ua(by: str) -> float:
        result, _ = experiments.trained(run, by)
        return scores(predict(result.system, lone), lone.labels.numpy(), result.prior, lone.emotions)["ua"]

    assert ua("speaker") < 35  # next to chance
    assert ua("id") > ua("speaker") + 10
