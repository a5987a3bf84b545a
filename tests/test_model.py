from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mer_lib.features.batches import Batch, Utterances
from mer_lib.losses import central_moment_discrepancy, difference
from mer_lib.model import AlignmentPrior, Attention, Encoder, Method, MethodConfig, Output, Recurrent, frame_spans, pool

FEATURES, VOCABULARY = 6, 12
ENCODERS = ("conv", "lstm", "gru")
PRIORS = ("bias", "words", "none")
MODALITIES = (("audio",), ("text",), ("audio", "text"))
SWITCHES = [
    {"modalities": modalities, "encoder": encoder, **rest}
    for modalities, encoder, rest in [
        *product(MODALITIES[:2], ENCODERS, [{}]),
        *product(
            MODALITIES[2:],
            ENCODERS,
            [
                *({"alignment": alignment} for alignment in PRIORS),
                {"attention": False},
                {"alpha": 0.0},
                {"beta": 0.0},
                {"alpha": 0.0, "beta": 0.0},
                {"attention": False, "alpha": 0.0, "beta": 0.0},
                {"reconstruction": 0.5},
                {"similarity": 0.0},
                {"difference": 0.0},
            ],
        ),
    ]
]


def named(options: dict[str, object]) -> str:
    return " ".join(str(v) if not isinstance(v, tuple) else "+".join(v) for v in options.values())


every_setting = pytest.mark.parametrize("options", SWITCHES, ids=named)


def utterances(lengths: list[tuple[int, int]], seed: int = 0, labels: list[int] | None = None) -> Utterances:
    """Random utterances of the given numbers of frames and words."""
    rng = np.random.default_rng(seed)
    edges = [np.linspace(0, 1, words + 1) for _, words in lengths]
    return Utterances(
        [f"u{i}" for i in range(len(lengths))],
        [rng.normal(size=(frames, FEATURES)) for frames, _ in lengths],
        [rng.integers(0, VOCABULARY, size=words) for _, words in lengths],
        [np.column_stack([e[:-1], e[1:]]) for e in edges],
        labels or [i % 4 for i in range(len(lengths))],
    )


def build(seed: int = 0, **options: object) -> Method:
    """A small method with fresh weights, in evaluation."""
    torch.manual_seed(seed)
    config = MethodConfig(**{"dim": 8, "heads": 2, **options})
    return Method(config, FEATURES, torch.randn(VOCABULARY, 5)).eval()


def with_more_padding(batch: Batch, seed: int = 0) -> Batch:
    """The batch with three more steps of padding, and with rubbish wherever there is padding."""
    rubbish = torch.Generator().manual_seed(seed)

    def fill(values: Tensor, mask: Tensor) -> Tensor:
        values = F.pad(values, [0, 0] * (values.dim() - 2) + [0, 3])
        noise = torch.rand(values.shape, generator=rubbish) * 11
        hidden = ~mask.view(*mask.shape, *[1] * (values.dim() - 2))
        return torch.where(hidden, noise.to(values.dtype), values)

    audio_mask, text_mask = F.pad(batch.audio_mask, (0, 3)), F.pad(batch.text_mask, (0, 3))
    return replace(
        batch,
        audio=fill(batch.audio, audio_mask), audio_mask=audio_mask,
        text=fill(batch.text, text_mask), text_mask=text_mask, text_span=fill(batch.text_span, text_mask),
    )  # fmt: skip


def tensors(output: Output) -> dict[str, Tensor]:
    """Everything in an output that has no time axis, by name."""
    found = {"logits": output.logits, **{f"loss {k}": v for k, v in output.losses.items()}}
    for part in ("unimodal", "public", "unique", "attended"):
        found |= {f"{part} {m}": v for m, v in getattr(output, part).items()}
    return found


LENGTHS = [(5, 3), (9, 1), (1, 6), (1, 1), (7, 4)]


@every_setting
def test_padding_never_changes_any_output(options: dict[str, object]) -> None:
    system = build(**options)
    batch = utterances(LENGTHS).batch(range(len(LENGTHS)))
    short, long = system(batch), system(with_more_padding(batch))
    expected = tensors(short)
    assert tensors(long).keys() == expected.keys()
    for name, value in tensors(long).items():
        torch.testing.assert_close(value, expected[name], atol=1e-5, rtol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
    for m, encoded in long.encoded.items():
        torch.testing.assert_close(encoded[:, :-3], short.encoded[m], atol=1e-5, rtol=1e-5)
        assert not encoded[:, -3:].any()


@every_setting
def test_an_utterance_gets_the_same_logits_alone_and_in_company(options: dict[str, object]) -> None:
    system, data = build(**options), utterances(LENGTHS)
    together = system(data.batch(range(len(data)))).logits
    alone = torch.cat([system(data.batch([row])).logits for row in range(len(data))])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


@every_setting
def test_every_output_is_finite_and_shaped_as_stated(options: dict[str, object]) -> None:
    batch = utterances(LENGTHS).batch(range(len(LENGTHS)))
    output = build(**options)(batch)
    assert output.logits.shape == (5, 4)
    assert all(torch.isfinite(value).all() for value in tensors(output).values())
    assert all(loss.shape == () for loss in output.losses.values())
    assert tuple(output.encoded) == options["modalities"]
    for m, encoded in output.encoded.items():
        assert encoded.shape == (*batch.mask(m).shape, 8)
    for part in (output.public, output.unique, output.attended):
        assert all(vectors.shape == (5, 8) for vectors in part.values())


@every_setting
def test_gradients_reach_every_parameter(options: dict[str, object]) -> None:
    # In double precision, so that a gradient that is 0 in theory cannot hide behind rounding.
    system = build(**options).double()
    batch = utterances([(5, 3), (9, 2), (4, 6), (8, 5), (7, 4)]).batch(range(5))
    batch = replace(batch, audio=batch.audio.double(), text_span=batch.text_span.double())
    output = system(batch)
    (F.cross_entropy(output.logits, batch.label) + sum(output.losses.values())).backward()
    learned = {n: p for n, p in system.named_parameters() if p.requires_grad}
    lost = [n for n, p in learned.items() if p.grad is None or p.grad.abs().max() < 1e-12]
    assert lost == []
    assert all(p.shape == (VOCABULARY, 5) for n, p in system.named_parameters() if n not in learned)  # the word vectors


@every_setting
@pytest.mark.parametrize("lengths", [(1, 1), (1, 5), (6, 1)])
def test_one_utterance_of_one_frame_or_one_word_can_be_trained_on(
    options: dict[str, object], lengths: tuple[int, int]
) -> None:
    system = build(**options).train()
    batch = utterances([lengths]).batch([0])
    output = system(batch)
    (F.cross_entropy(output.logits, batch.label) + sum(output.losses.values())).backward()
    assert all(torch.isfinite(p.grad).all() for p in system.parameters() if p.requires_grad)


@pytest.mark.parametrize("alignment", PRIORS)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_attention_sums_to_one_and_never_looks_at_padding(alignment: str, encoder: str) -> None:
    batch = with_more_padding(utterances(LENGTHS).batch(range(len(LENGTHS))))
    output = build(alignment=alignment, encoder=encoder)(batch)
    for asks, looked_at in (("text", "audio"), ("audio", "text")):
        weights = output.attention[asks]
        hidden = ~batch.mask(looked_at)[:, None, None, :].expand_as(weights)
        assert weights.shape == (5, 2, batch.mask(asks).shape[1], batch.mask(looked_at).shape[1])
        assert (weights[hidden] == 0).all()
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))


def test_attention_is_that_of_pytorch_when_it_has_the_same_weights() -> None:
    torch.manual_seed(0)
    ours = Attention(8, 2, 0.0).eval()
    theirs = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    linear = [ours.query, ours.key, ours.value]
    biases = [layer.bias if layer.bias is not None else torch.zeros(8) for layer in linear]
    theirs.load_state_dict({
        "in_proj_weight": torch.cat([layer.weight for layer in linear]), "in_proj_bias": torch.cat(biases),
        "out_proj.weight": ours.out.weight, "out_proj.bias": ours.out.bias,
    })  # fmt: skip
    x, other, bias = torch.randn(3, 4, 8), torch.randn(3, 6, 8), torch.randn(3, 2, 4, 6)
    mask = torch.arange(6) < torch.tensor([6, 2, 1])[:, None]
    found, weights = ours(x, other, mask, bias)
    seen = ours.norm_key(other)
    scores = torch.where(mask[:, None, None, :], bias, float("-inf")).flatten(0, 1)
    expected, expected_weights = theirs(ours.norm_query(x), seen, seen, attn_mask=scores, average_attn_weights=False)
    torch.testing.assert_close(found, x + expected)
    torch.testing.assert_close(weights, expected_weights)


@pytest.mark.parametrize(("cell", "theirs"), [("lstm", nn.LSTM), ("gru", nn.GRU)])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_recurrent_layer_is_that_of_pytorch_on_packed_sequences(
    cell: str, theirs: type[nn.RNNBase], bidirectional: bool
) -> None:
    torch.manual_seed(0)
    lengths = torch.tensor([2, 7, 1, 4])
    x, mask = torch.randn(4, 7, 6), torch.arange(7) < lengths[:, None]
    torch.manual_seed(1)
    ours = Recurrent(6, 8, cell, bidirectional)
    torch.manual_seed(1)
    layer = theirs(6, 4 if bidirectional else 8, batch_first=True, bidirectional=bidirectional)
    packed = nn.utils.rnn.pack_padded_sequence(ours.norm(x), lengths, batch_first=True, enforce_sorted=False)
    expected = nn.utils.rnn.pad_packed_sequence(layer(packed)[0], batch_first=True)[0]
    torch.testing.assert_close(ours(x, mask), expected)


def test_both_modalities_ask_each_other() -> None:
    batch = utterances(LENGTHS).batch(range(len(LENGTHS)))
    system = build()
    for asks, changed in (("text", "audio"), ("audio", "text")):
        other = replace(batch, **{changed: batch.audio + 1 if changed == "audio" else (batch.text + 1) % VOCABULARY})
        before, after = system(batch), system(other)
        assert not torch.allclose(before.attended[asks], after.attended[asks], atol=1e-4)
        torch.testing.assert_close(before.unique[asks], after.unique[asks])


def test_without_attention_a_modality_knows_nothing_of_the_other_until_the_fusion() -> None:
    batch = utterances(LENGTHS).batch(range(len(LENGTHS)))
    system = build(attention=False)
    before, after = system(batch), system(replace(batch, audio=batch.audio + 1))
    torch.testing.assert_close(before.attended["text"], after.attended["text"])
    assert not torch.allclose(before.logits, after.logits)


@pytest.mark.parametrize(("modality", "other"), [("audio", "text"), ("text", "audio")])
def test_one_modality_alone_ignores_the_other(modality: str, other: str) -> None:
    batch = utterances(LENGTHS).batch(range(len(LENGTHS)))
    changed = replace(batch, **{other: torch.zeros_like(getattr(batch, other))})
    system = build(modalities=(modality,))
    assert torch.equal(system(batch).logits, system(changed).logits)
    assert not any(
        part in name for name, _ in system.named_parameters() for part in (other, "cross", "public", "unique")
    )


def parts(**options: object) -> set[str]:
    return {name.split(".")[0] for name, _ in build(**options).named_parameters()}


def losses(**options: object) -> set[str]:
    return set(build(**options)(utterances(LENGTHS).batch(range(5))).losses)


@pytest.mark.parametrize(
    ("on", "off", "part", "terms"),
    [
        ({}, {"attention": False}, {"cross", "prior"}, set()),
        ({}, {"alignment": "none"}, {"prior"}, set()),
        ({}, {"alignment": "words"}, {"prior"}, set()),
        ({}, {"beta": 0.0}, {"heads"}, {"unimodal"}),
        ({}, {"alpha": 0.0}, set(), {"similarity", "difference"}),
        ({"reconstruction": 0.1}, {}, {"rebuild"}, {"reconstruction"}),
    ],
    ids=str,
)
def test_a_switch_removes_its_parameters_and_its_losses_and_nothing_else(
    on: dict[str, object], off: dict[str, object], part: set[str], terms: set[str]
) -> None:
    assert parts(**on) - parts(**off) == part
    assert losses(**on) - losses(**off) == terms
    assert parts(**off) <= parts(**on)
    assert losses(**off) <= losses(**on)


def test_one_modality_alone_has_no_loss_but_the_tasks() -> None:
    assert losses(modalities=("audio",)) == losses(modalities=("text",)) == set()


def test_the_losses_are_the_formulas_times_their_weights() -> None:
    batch = utterances(LENGTHS).batch(range(len(LENGTHS)))
    output = build(alpha=0.7, similarity=2.0, difference=0.4, beta=0.6)(batch)
    apart = [difference(output.public[m], output.unique[m]) for m in ("audio", "text")]
    apart.append(difference(output.unique["audio"], output.unique["text"]))
    own = [F.cross_entropy(output.unimodal[m], batch.label) for m in ("audio", "text")]
    expected = {
        "similarity": 0.7 * 2.0 * central_moment_discrepancy(output.public["audio"], output.public["text"]),
        "difference": 0.7 * 0.4 * sum(apart),
        "unimodal": 0.6 * sum(own) / 2,
    }
    torch.testing.assert_close(output.losses, expected)


def test_the_public_map_is_shared_and_the_unique_ones_are_not() -> None:
    system = build()
    same = torch.randn(1, 3, 8)
    assert sum(p.numel() for p in system.public.parameters()) == 8 * 8 + 8
    assert not torch.allclose(system.unique["audio"](same), system.unique["text"](same))


def test_public_values_lie_in_the_interval_that_the_discrepancy_presumes() -> None:
    output = build()(with_more_padding(utterances(LENGTHS).batch(range(len(LENGTHS)))))
    assert all(((v >= 0) & (v <= 1)).all() for v in output.public.values())


def test_pooling_is_the_mean_over_what_the_mask_shows() -> None:
    sequence = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [99.0, 99.0]], [[5.0, 6.0], [99.0, 99.0], [99.0, 99.0]]])
    mask = torch.tensor([[True, True, False], [True, False, False]])
    assert pool(sequence, mask).tolist() == [[2, 3], [5, 6]]


def test_frame_spans_divide_the_utterance_evenly_whatever_the_padding() -> None:
    mask = torch.tensor([[True, True, True, True], [True, True, False, False]])
    spans = frame_spans(mask)
    torch.testing.assert_close(spans[0], torch.tensor([[0, 0.25], [0.25, 0.5], [0.5, 0.75], [0.75, 1]]))
    torch.testing.assert_close(spans[1, :2], torch.tensor([[0, 0.5], [0.5, 1]]))
    assert ((spans >= 0) & (spans <= 1)).all()


WORD = torch.tensor([[[0.0, 0.25], [0.25, 0.5], [0.5, 1.0]]])
FRAMES = frame_spans(torch.ones(1, 8, dtype=torch.bool))


def test_the_bias_prefers_the_same_relative_place_and_falls_off_with_distance() -> None:
    bias = AlignmentPrior("bias", 2)(WORD, FRAMES)
    assert bias.shape == (1, 2, 3, 8)
    centres, places = WORD.mean(-1)[0], FRAMES.mean(-1)[0]
    for word in range(3):
        nearest = (places - centres[word]).abs()
        for head in range(2):
            order = bias[0, head, word][nearest.argsort(stable=True)]
            assert (order.diff() <= 1e-6).all()
            assert order[0] > order[-1]


def test_the_bias_is_a_gaussian_of_the_heads_width() -> None:
    prior = AlignmentPrior("bias", 2)
    with torch.no_grad():
        prior.log_width.copy_(torch.tensor([0.1, 0.5]).log())
    point = torch.tensor([[[0.3, 0.5]]])
    away = torch.tensor([[[0.4, 0.6], [0.2, 0.4]]])
    expected = torch.tensor([[[[-0.5, -0.5]], [[-0.02, -0.02]]]])
    torch.testing.assert_close(prior(point, away), expected)


def test_the_word_prior_hides_every_frame_that_does_not_touch_the_word() -> None:
    bias = AlignmentPrior("words", 2)(WORD, FRAMES)
    seen = (bias[0, 0] == 0).tolist()
    assert seen == [[True] * 2 + [False] * 6, [False] * 2 + [True] * 2 + [False] * 4, [False] * 4 + [True] * 4]
    weights = Attention(8, 2, 0.0)(
        torch.randn(1, 3, 8), torch.randn(1, 8, 8), torch.ones(1, 8, dtype=torch.bool), bias
    )[1]
    assert (weights[0, :, ~torch.tensor(seen)] == 0).all()


def test_a_frame_that_touches_no_word_still_gets_finite_attention() -> None:
    gap = torch.tensor([[[0.0, 0.2], [0.6, 1.0]]])  # a pause from 20% to 60%
    bias = AlignmentPrior("words", 2)(FRAMES, gap)
    _, weights = Attention(8, 2, 0.0)(
        torch.randn(1, 8, 8), torch.randn(1, 2, 8), torch.ones(1, 2, dtype=torch.bool), bias
    )
    torch.testing.assert_close(weights.sum(-1), torch.ones(1, 2, 8))


def test_no_prior_adds_nothing() -> None:
    prior = AlignmentPrior("none", 2)
    assert prior(WORD, FRAMES) is None
    assert list(prior.parameters()) == []


def test_the_prior_makes_a_fresh_method_listen_where_it_reads() -> None:
    batch = utterances([(20, 10)]).batch([0])
    place = frame_spans(batch.audio_mask).mean(-1)[0]
    asked = batch.text_span.mean(-1)[0]

    def distance(alignment: str) -> float:
        weights = build(alignment=alignment)(batch).attention["text"][0].detach()
        return float((weights * (place[None, None, :] - asked[None, :, None]).abs()).sum(-1).mean())

    assert distance("words") < distance("bias") < distance("none")


@pytest.mark.parametrize("kind", ENCODERS)
def test_an_encoder_hears_its_neighbourhood(kind: str) -> None:
    torch.manual_seed(0)
    encoder = Encoder(MethodConfig(dim=8, heads=2, encoder=kind)).eval()
    x, mask = torch.randn(1, 6, 8), torch.ones(1, 6, dtype=torch.bool)
    changed = x.clone()
    changed[0, 3] = torch.randn(8)
    apart = (encoder(x, mask) - encoder(changed, mask)).abs().sum(-1)[0]
    assert (apart[[2, 3, 4]] > 1e-3).all()


def test_training_leaves_the_pretrained_word_vectors_alone() -> None:
    vectors = torch.randn(VOCABULARY, 5)
    before = vectors.clone()
    system = Method(MethodConfig(dim=8, heads=2), FEATURES, vectors)
    words = next(p for p in system.embed["text"].parameters() if p.shape == vectors.shape)
    batch = utterances(LENGTHS).batch(range(5))
    optimiser = torch.optim.AdamW(system.parameters(), lr=0.1, weight_decay=0.1)
    F.cross_entropy(system(batch).logits, batch.label).backward()
    optimiser.step()
    assert torch.equal(words, before)
    assert torch.equal(vectors, before)


def test_dropout_acts_in_training_only() -> None:
    system, batch = build(dropout=0.5), utterances(LENGTHS).batch(range(5))
    assert torch.equal(system(batch).logits, system(batch).logits)
    system.train()
    assert not torch.equal(system(batch).logits, system(batch).logits)


def overfit(modalities: tuple[str, ...], encoder: str) -> float:
    data = utterances([(3 + i % 5, 2 + i % 4) for i in range(16)], seed=1)
    system = build(modalities=modalities, encoder=encoder, dim=16, dropout=0.0).train()
    optimiser = torch.optim.Adam(system.parameters(), lr=0.02)
    batch = data.batch(range(16))
    for _ in range(40):
        output = system(batch)
        loss = F.cross_entropy(output.logits, batch.label) + sum(output.losses.values())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return float((system.eval()(batch).logits.argmax(1) == batch.label).double().mean())


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("modalities", MODALITIES, ids="+".join)
def test_sixteen_random_utterances_are_learned_by_heart(modalities: tuple[str, ...], encoder: str) -> None:
    assert overfit(modalities, encoder) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": "transformer"}, "encoder is 'transformer'; it can be conv, lstm, gru"),
        ({"alignment": "exact"}, "alignment is 'exact'; it can be bias, words, none"),
        ({"modalities": ()}, r"modalities are \(\); they can be audio, text or both"),
        ({"modalities": ("video",)}, "modalities are .*video.*; they can be audio, text or both"),
    ],
)
def test_a_value_that_a_switch_cannot_have_is_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MethodConfig(**options)
