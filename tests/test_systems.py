"""What must hold for every system, whatever it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_model import utterances, with_more_padding
from torch import nn
from torch.nn import functional as F

from mer_lib import systems
from mer_lib.features.batches import Batch, Utterances
from mer_lib.model import MethodConfig

FEATURES, VOCABULARY = 6, 12
LENGTHS = [(5, 3), (9, 1), (1, 6), (1, 1), (7, 4), (3, 3), (4, 2), (2, 5)]
PLACES = np.array([(0, 0, 0), (0, 1, 1), (0, 2, 0), (1, 0, 1), (2, 0, 2), (2, 1, 3), (2, 2, 2), (2, 3, 3)])
"""Three dialogues, of three, one and four turns."""

DEAF = {"majority"}
"""Systems that answer the same to everything."""

every_system = pytest.mark.parametrize("name", systems.names())
every_listener = pytest.mark.parametrize("name", [name for name in systems.names() if name not in DEAF])


def build(name: str, seed: int = 0, **options: object) -> nn.Module:
    """A small system with fresh weights, in evaluation."""
    torch.manual_seed(seed)
    return systems.build(name, torch.randn(VOCABULARY, 5), FEATURES, **{"dim": 16, **options}).eval()


def talk(seed: int = 0) -> Utterances:
    """Random utterances in three dialogues."""
    plain = utterances(LENGTHS, seed, labels=[0, 1, 2, 3, 0, 0, 1, 2])
    return Utterances(plain.ids, plain.audio, plain.text, plain.spans, plain.labels.tolist(), PLACES)


def everything(data: Utterances) -> Batch:
    return data.batch(range(len(data)))


def total(system: nn.Module, batch: Batch) -> torch.Tensor:
    """The loss that is trained on."""
    output = system(batch)
    return F.cross_entropy(output.logits, batch.label) + sum(output.losses.values())


@every_system
def test_a_system_gives_four_finite_logits_and_scalar_losses(name: str) -> None:
    output = build(name).train()(everything(talk()))
    assert output.logits.shape == (len(LENGTHS), 4)
    assert output.logits.isfinite().all()
    for loss in output.losses.values():
        assert loss.shape == ()
        assert loss.isfinite()
    assert systems.require(name).about


@every_system
def test_padding_never_changes_a_prediction(name: str) -> None:
    system, batch = build(name), everything(talk())
    torch.testing.assert_close(system(with_more_padding(batch)).logits, system(batch).logits, atol=1e-5, rtol=1e-5)


@every_system
def test_a_dialogue_gets_the_same_logits_alone_and_in_company(name: str) -> None:
    system, data = build(name), talk()
    apart = torch.cat([system(data.batch(np.flatnonzero(PLACES[:, 0] == d).tolist())).logits for d in range(3)])
    torch.testing.assert_close(apart, system(everything(data)).logits, atol=1e-5, rtol=1e-5)


def words_against_sound(name: str) -> float:
    """How far fresh logits move with other words, over how far they move with other sound, where vectors are small."""
    one, other, found = everything(talk(0)), everything(talk(1)), []
    for seed in range(5):
        torch.manual_seed(seed)
        system = systems.build(name, 0.1 * torch.randn(VOCABULARY, 5), FEATURES, dim=16).eval()
        with torch.no_grad():
            words = system(replace(one, text=other.text)).logits - system(one).logits
            sound = system(replace(one, audio=other.audio)).logits - system(one).logits
        found.append(float(words.norm() / sound.norm()))
    return float(np.mean(found))


@every_listener
def test_small_word_vectors_are_heard_beside_the_sound_as_they_are_in_the_method(name: str) -> None:
    assert words_against_sound(name) > 0.7 * words_against_sound("method")


@every_listener
def test_only_systems_with_context_see_the_turns_around(name: str) -> None:
    system, data = build(name), talk()
    together = system(everything(data)).logits
    alone = torch.cat([system(data.batch([row])).logits for row in range(len(data))])
    same = torch.isclose(alone, together, atol=1e-5).all(1)
    assert same[3], "a dialogue of one turn has no context"
    assert bool(same.all()) != getattr(system, "context", False)


@every_system
def test_gradients_reach_every_parameter(name: str) -> None:
    system, reached = build(name, dropout=0.0).train(), set()
    for seed in range(3):  # a unit may be silent for one batch
        system.zero_grad()
        total(system, everything(talk(seed))).backward()
        reached |= {n for n, p in system.named_parameters() if p.grad is not None and p.grad.any()}
    assert {n for n, p in system.named_parameters() if p.requires_grad} == reached


@every_listener
def test_sixteen_utterances_are_learned_by_heart(name: str) -> None:
    lengths = [(3 + i % 4, 2 + i % 3) for i in range(16)]
    plain = utterances(lengths, seed=1)
    places = np.array([(i // 4, i % 4, i % 2) for i in range(16)])
    data = Utterances(plain.ids, plain.audio, plain.text, plain.spans, plain.labels.tolist(), places)
    system, batch = build(name, dim=32, dropout=0.0).train(), everything(data)
    optimiser = torch.optim.AdamW(system.parameters(), lr=0.01)
    for _ in range(300):
        optimiser.zero_grad()
        total(system, batch).backward()
        nn.utils.clip_grad_norm_(system.parameters(), 1.0)
        optimiser.step()
        if (system(batch).logits.argmax(1) == batch.label).all():
            break
    assert (system.eval()(batch).logits.argmax(1) == batch.label).all()


@every_listener
@pytest.mark.parametrize(("modality", "other"), [("audio", "text"), ("text", "audio")])
def test_one_modality_alone_ignores_the_other(name: str, modality: str, other: str) -> None:
    system, batch = build(name, modalities=[modality]), everything(talk())
    before = system(batch).logits
    setattr(batch, other, torch.zeros_like(getattr(batch, other)))
    torch.testing.assert_close(system(batch).logits, before, atol=0, rtol=0)


@every_system
def test_one_utterance_of_one_frame_and_one_word_can_be_trained_on(name: str) -> None:
    system = build(name).train()
    loss = total(system, utterances([(1, 1)]).batch([0]))
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in system.parameters() if p.grad is not None)


@every_listener
def test_vectors_of_a_pretrained_encoder_take_the_place_of_word_ids(name: str) -> None:
    data = talk()
    words = [torch.randn(len(ids), 5) for ids in data.text]
    told = Utterances(data.ids, data.audio, words, data.spans, data.labels.tolist(), PLACES)
    system = build(name)
    logits = system(everything(told)).logits
    assert logits.isfinite().all()
    told.text[0] = told.text[0] + 1
    assert not torch.equal(system(everything(told)).logits, logits)


@every_system
def test_the_same_seed_gives_the_same_system(name: str) -> None:
    first, second = (build(name, seed=3)(everything(talk())).logits for _ in range(2))
    torch.testing.assert_close(first, second, atol=0, rtol=0)


def test_a_system_is_built_by_name_with_its_options() -> None:
    system = systems.build("method", torch.randn(VOCABULARY, 5), FEATURES, dim=8, heads=2, modalities=["text"])
    assert system.config == MethodConfig(dim=8, heads=2, modalities=("text",))


def test_an_unknown_system_or_option_is_named_beside_those_there_are() -> None:
    vectors = torch.randn(VOCABULARY, 5)
    with pytest.raises(ValueError, match=r"no system 'oracle'; there are: .*method"):
        systems.build("oracle", vectors)
    with pytest.raises(ValueError, match=r"'method' has no option 'gamma'; it has: .*alpha, beta"):
        systems.build("method", vectors, gamma=1)
