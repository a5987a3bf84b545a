"""The point of each paper: the fusions and the systems that read one utterance at a time."""

from __future__ import annotations

import pytest
import torch
from test_model import utterances
from test_systems import build, everything, talk
from torch import Tensor, nn
from torch.nn import functional as F

from mer_lib.features.batches import Batch
from mer_lib.losses import central_moment_discrepancy, difference
from mer_lib.model import pool
from mer_lib.systems.early import frames_of_words
from mer_lib.systems.gated import GatedUnit
from mer_lib.systems.lmf import LowRankFusion
from mer_lib.systems.mmin import Cascade
from mer_lib.systems.parts import AttentivePool, squared_error

BOTH = ("audio", "text")
either = pytest.mark.parametrize(("source", "target"), [BOTH, BOTH[::-1]])


def batch() -> Batch:
    return everything(talk())


def noisy(modality: str) -> Batch:
    """The batch with noise where the frames or the words were."""
    noise, found = torch.Generator().manual_seed(7), batch()
    if modality == "audio":
        found.audio = torch.randn(found.audio.shape, generator=noise)
    else:
        found.text = torch.randint(0, 12, found.text.shape, generator=noise)
    return found


def reached(system: nn.Module, loss: Tensor) -> set[str]:
    """Names of the parameters that get a gradient from a loss."""
    named = {name: p for name, p in system.named_parameters() if p.requires_grad}
    found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return {name for name, grad in zip(named, found, strict=True) if grad is not None and grad.any()}


# Parts


def test_weights_of_an_attentive_pool_sum_to_one_over_what_the_mask_shows() -> None:
    sequence, mask = torch.randn(3, 5, 8), torch.arange(5) < torch.tensor([[5], [1], [3]])
    vector, weights = AttentivePool(8)(sequence, mask)
    torch.testing.assert_close(weights.sum(1), torch.ones(3))
    assert not weights[~mask].any()
    torch.testing.assert_close(vector[1], sequence[1, 0])


def test_squared_error_is_the_mean_over_what_the_mask_shows() -> None:
    predicted, target = torch.tensor([[[1.0, 3.0], [9.0, 9.0]]]), torch.zeros(1, 2, 2)
    assert squared_error(predicted, target, torch.tensor([[True, False]])) == 5.0
    assert squared_error(predicted, target, torch.tensor([[False, False]])) == 0.0


@pytest.mark.parametrize(
    ("name", "option", "known"),
    [("recurrent", "cell", "lstm, gru"), ("late", "combine", "average, learned"), ("early", "join", "words, pooled")],
)
def test_a_choice_that_there_is_not_is_named_beside_those_there_are(name: str, option: str, known: str) -> None:
    with pytest.raises(ValueError, match=f"{option} is 'magic'; it can be {known}"):
        build(name, **{option: "magic"})


# Baselines


def test_a_word_gets_the_frames_of_its_span_in_proportion() -> None:
    spans = torch.tensor([[[0.0, 0.5], [0.5, 0.6], [0.6, 1.0]]])
    weights = frames_of_words(spans, torch.tensor([[True, True, True, True, False]]))
    expected = torch.tensor([[[0.5, 0.5, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0.375, 0.625, 0]]])
    torch.testing.assert_close(weights, expected)
    sums = frames_of_words(batch().text_span, batch().audio_mask).sum(-1)[batch().text_mask]
    torch.testing.assert_close(sums, torch.ones_like(sums))


def test_early_fusion_hears_each_word_with_the_frames_of_its_own_span_only() -> None:
    system, data = build("early"), utterances([(4, 2)])
    plain, louder = data.batch([0]), data.batch([0])
    louder.audio[:, 2:] += 1.0  # the second word's half
    first, second = (system._joint(b)[0] for b in (plain, louder))
    assert torch.equal(first[:, 0], second[:, 0])
    assert not torch.isclose(first[:, 1], second[:, 1]).any()


def test_early_fusion_of_pooled_encodings_can_be_asked_for() -> None:
    assert build("early", join="pooled").classify[1].in_features == 2 * build("early").classify[1].in_features


@pytest.mark.parametrize("combine", ["average", "learned"])
def test_logits_of_late_fusion_are_a_function_of_the_unimodal_ones(combine: str) -> None:
    system = build("late", combine=combine)
    output = system(batch())
    assert torch.equal(output.logits, system.combine(output.unimodal))
    p = {m: scores.softmax(-1) for m, scores in output.unimodal.items()}
    rule = (p["audio"] + p["text"]) / 2 if combine == "average" else p["audio"] * p["text"]
    torch.testing.assert_close(output.logits, rule.log())


@pytest.mark.parametrize("combine", ["average", "learned"])
def test_the_task_teaches_late_fusion_at_most_how_to_combine(combine: str) -> None:
    system, data = build("late", combine=combine), batch()
    output = system(data)
    taught = reached(system, F.cross_entropy(output.logits, data.label)) if output.logits.requires_grad else set()
    assert taught == ({"weight", "bias"} if combine == "learned" else set())


@either
def test_each_classifier_of_late_fusion_learns_as_if_it_were_alone(source: str, target: str) -> None:
    output = build("late")(batch())
    (slope,) = torch.autograd.grad(output.losses["unimodal"], output.unimodal[source], retain_graph=True)
    share = output.unimodal[source].softmax(-1) - F.one_hot(batch().label, 4)
    torch.testing.assert_close(slope, share / len(share))


def test_a_gate_lies_between_zero_and_one_and_mixes_the_proposals() -> None:
    unit, x = GatedUnit(BOTH, 6), {m: torch.randn(9, 6) for m in BOTH}
    mixture, gate = unit(x)
    assert ((gate > 0) & (gate < 1)).all()
    audio, text = (unit.propose[m](x[m]).tanh() for m in BOTH)
    torch.testing.assert_close(mixture, gate * audio + (1 - gate) * text)
    for bias, proposal in ((100.0, audio), (-100.0, text)):  # a gate that is open to one side only
        nn.init.constant_(unit.gate.bias, bias)
        torch.testing.assert_close(unit(x)[0], proposal)


def test_low_rank_fusion_is_the_full_tensor_product_with_weights_of_that_rank() -> None:
    fusion, x = LowRankFusion(BOTH, inputs=3, dim=2, rank=4), {m: torch.randn(5, 3) for m in BOTH}
    nn.init.normal_(fusion.bias)
    audio, text = (torch.cat([x[m], torch.ones(5, 1)], 1) for m in BOTH)
    products = torch.stack([torch.outer(a, t) for a, t in zip(audio, text, strict=True)])  # (5, 4, 4)
    factors = zip(fusion.factors["audio"], fusion.factors["text"], strict=True)
    weights = sum(a[:, None] * t[None] for a, t in factors)  # (4, 4, 2), a layer on all products
    by_hand = torch.tensordot(products, weights, 2) + fusion.bias
    torch.testing.assert_close(fusion(x), by_hand)


@pytest.mark.parametrize(("bidirectional", "same"), [(False, True), (True, False)])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_only_a_recurrent_layer_of_both_directions_sees_what_comes_later(
    cell: str, bidirectional: bool, same: bool
) -> None:
    system, plain, later = build("recurrent", cell=cell, bidirectional=bidirectional), batch(), batch()
    later.audio[:, 1:] += 1.0
    first, second = (system(b).encoded["audio"][1] for b in (plain, later))
    assert torch.equal(first[0], second[0]) == same
    assert not torch.equal(first[1], second[1])
    assert first.shape[-1] == 16, "as wide in one direction as in two"
    assert cell in type(system.layers["audio"].layers[0]).__name__.lower()


# MISA


def test_the_losses_of_misa_are_the_formulas() -> None:
    system, data = build("misa", similarity=2.0, difference=0.5, reconstruction=3.0), batch()
    output = system(data)
    shared, private = output.public, output.unique
    h = {m: system.project[m](pool(x, data.mask(m))) for m, x in output.encoded.items()}
    apart = [difference(shared[m], private[m]) for m in BOTH] + [difference(private["audio"], private["text"])]
    rebuilt = [(system.rebuild[m](shared[m] + private[m]) - h[m]).square().mean() for m in BOTH]
    expected = {
        "similarity": 2.0 * central_moment_discrepancy(shared["audio"], shared["text"]),
        "difference": 0.5 * sum(apart),
        "reconstruction": 3.0 * sum(rebuilt) / 2,
    }
    assert set(output.losses) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(output.losses[name], value)


def test_misa_shares_one_map_and_keeps_one_for_each_modality() -> None:
    system = build("misa")
    h = torch.randn(3, 16)
    assert not torch.equal(system.private["audio"](h), system.private["text"](h))
    sides = {m: {n for n in reached(system, system(batch()).public[m].sum()) if n.startswith("shared")} for m in BOTH}
    assert sides["audio"] == sides["text"] == {"shared.0.weight", "shared.0.bias"}


def test_one_modality_alone_in_misa_has_nothing_to_be_similar_to() -> None:
    output = build("misa", modalities=["text"])(batch())
    assert set(output.losses) == {"difference", "reconstruction"}
    torch.testing.assert_close(
        output.losses["difference"], 0.3 * difference(output.public["text"], output.unique["text"])
    )


# Attention between the sequences


@pytest.mark.parametrize("name", ["mer-han", "maji-2023"])
@either
def test_cross_modal_attention_looks_at_the_other_modality_and_never_at_padding(
    name: str, source: str, target: str
) -> None:
    data = batch()
    weights = build(name)(data).attention[source]
    assert weights.shape[2:] == (data.mask(source).shape[1], data.mask(target).shape[1])
    torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))
    hidden = ~data.mask(target)[:, None, None].expand_as(weights)
    assert not weights[hidden].any()


def test_global_attention_of_mer_han_weighs_frames_and_words_together() -> None:
    system, data, seen = build("mer-han"), batch(), []
    system.overall.register_forward_hook(lambda _, inputs, output: seen.append((inputs[1], output[1])))
    system(data)
    ((mask, weights),) = seen
    assert mask.shape[1] == data.audio_mask.shape[1] + data.text_mask.shape[1]
    torch.testing.assert_close(weights.sum(1), torch.ones(len(weights)))
    frames = weights[:, : data.audio_mask.shape[1]].sum(1)
    assert ((frames > 0) & (frames < 1)).all(), "both modalities share the one"
    assert not weights[~mask].any()


def test_local_attention_of_mer_han_stays_within_its_modality() -> None:
    system, seen = build("mer-han"), []
    system.local["text"].register_forward_hook(lambda _, inputs, output: seen.append(output[0]))
    system(batch())
    system(noisy("audio"))
    assert torch.equal(*seen)


def test_self_attention_of_maji_runs_over_the_fused_sequence() -> None:
    system, data, seen = build("maji-2023"), batch(), []
    system.fused.register_forward_hook(lambda _, inputs, output: seen.append(output[1]))
    system(data)
    frames, words = data.audio_mask.shape[1], data.text_mask.shape[1]
    assert seen[0].shape[2:] == (frames + words, frames + words)
    across = seen[0][:, :, :frames, frames:].sum(-1)
    assert (across > 0).all(), "every frame sees words"


def test_maji_convolves_audio_only() -> None:
    assert hasattr(build("maji-2023", modalities=["audio"]), "convs")
    assert not hasattr(build("maji-2023", modalities=["text"]), "convs")


# MCTN


@either
@pytest.mark.parametrize("training", [False, True])
def test_noise_for_the_target_of_mctn_never_changes_a_prediction(source: str, target: str, training: bool) -> None:
    system = build("mctn", modalities=[source], dropout=0.0).train(training)
    plain, noised = system(batch()), system(noisy(target))
    assert torch.equal(plain.logits, noised.logits)
    assert not torch.equal(plain.logits, system(noisy(source)).logits)
    if training:
        assert not torch.isclose(plain.losses["translation"], noised.losses["translation"])


@either
def test_mctn_translates_there_and_back_again(source: str, target: str) -> None:
    system, data = build("mctn", modalities=[source]), batch()
    encoded = system(data).encoded[source]
    made_up = system.translate(source, encoded, target, data)
    assert made_up.shape == system.given(target, data).shape
    returned = system.translate(target, system.encode(target, made_up, data), source, data)
    assert returned.shape == system.given(source, data).shape
    losses = system.train().forward(data).losses
    assert set(losses) == {"translation", "cycle"}
    assert f"write.{target}.weight" in reached(system, losses["cycle"]), "the way back begins at the made-up target"


def test_mctn_teaches_its_encoder_by_translating_and_needs_no_target_at_test() -> None:
    system = build("mctn", modalities=["text"], dropout=0.0)
    assert not system(batch()).losses
    assert "encoder.layers.0.weight_ih_l0" in reached(system, system.train()(batch()).losses["translation"])


def test_the_losses_of_mctn_are_weighted_errors_relative_to_the_target() -> None:
    system, data = build("mctn", modalities=["text"], translation=0.5, dropout=0.0).train(), batch()
    output = system(data)
    made_up = system.translate("text", output.encoded["text"], "audio", data)
    shown = data.audio[data.audio_mask]
    error = (made_up[data.audio_mask] - shown).square().mean() / shown.square().mean()
    torch.testing.assert_close(output.losses["translation"], 0.5 * error)


@either
def test_a_translation_that_writes_zeros_costs_one_however_small_the_target(source: str, target: str) -> None:
    system, data = build("mctn", modalities=[source], translation=1.0, dropout=0.0).train(), batch()
    with torch.no_grad():
        system.embed["text"][0].weight.mul_(1e-2)
        for layer in system.write.values():
            layer.weight.zero_()
            layer.bias.zero_()
    assert system(data).losses["translation"].item() == pytest.approx(1.0)


# MMIN


@either
def test_mmin_runs_with_either_modality_missing_and_imagines_its_vector(source: str, target: str) -> None:
    system, data = build("mmin", modalities=[source]), batch()
    output = system(data)
    if target == "audio":
        data.audio = torch.full_like(data.audio, float("nan"))
    else:
        data.text = noisy("text").text
    assert torch.equal(system(data).logits, output.logits), "what is missing is not read"
    vectors = torch.stack([pool(output.encoded[m], batch().mask(m)) for m in BOTH], 1)
    imagined, codes = system.imagine(system.ahead, vectors, system.there(len(vectors)))
    assert imagined.shape == vectors.shape == (8, 2, 16)
    assert codes.shape == (8, 3 * 8)
    assert imagined[:, BOTH.index(target)].any()


def test_one_mmin_serves_every_condition() -> None:
    torch.manual_seed(0)
    states = [build("mmin", modalities=m).state_dict() for m in (["audio"], ["text"], BOTH)]
    assert all(torch.equal(a, b) for a, b in zip(states[0].values(), states[2].values(), strict=True))
    assert states[0].keys() == states[1].keys() == states[2].keys()


def test_mmin_drops_each_modality_in_a_third_of_the_training_and_never_both() -> None:
    system = build("mmin").train()
    torch.manual_seed(0)
    there = system.there(3000)
    assert there.any(1).all()
    torch.testing.assert_close(there.float().mean(0), torch.full((2,), 2 / 3), atol=0.03, rtol=0)
    assert system.eval().there(5).all()


def test_mmin_learns_from_what_is_missing_and_from_what_comes_back() -> None:
    system = build("mmin")
    vectors, there = torch.randn(3, 2, 16), torch.tensor([[True, False], [False, True], [True, True]])
    imagined, _ = system.imagine(system.ahead, vectors, there)
    losses = system._losses(vectors, imagined, there)
    missing = torch.stack([imagined[0, 1] - vectors[0, 1], imagined[1, 0] - vectors[1, 0]])
    torch.testing.assert_close(losses["imagine"], missing.square().mean())
    blank = torch.zeros(16)
    returned, _ = system.back(
        torch.stack([torch.cat([blank, imagined[0, 1]]), torch.cat([imagined[1, 0], blank])])
    )  # it sees the imagined alone
    came_back = torch.stack([returned[0, :16] - vectors[0, 0], returned[1, 16:] - vectors[1, 1]])
    torch.testing.assert_close(losses["cycle"], came_back.square().mean())


def test_what_mmin_should_imagine_is_never_moved_towards_what_it_imagines() -> None:
    system = build("mmin", modalities=["text"], dropout=0.0)  # in evaluation the audio is always missing
    names = reached(system, system(batch()).losses["imagine"])
    assert not any(n.startswith(("channels.embed.audio", "channels.encoders.audio")) for n in names)
    assert any(n.startswith("channels.encoders.text") for n in names)


def test_a_cascade_adds_what_each_autoencoder_makes_of_all_before() -> None:
    cascade, x = Cascade(8, 2), torch.randn(3, 8)
    first = cascade.encoders[0](x)
    between = x + cascade.decoders[0](first)
    second = cascade.encoders[1](between)
    imagined, codes = cascade(x)
    torch.testing.assert_close(imagined, between + cascade.decoders[1](second))
    torch.testing.assert_close(codes, torch.cat([first, second], 1))
