"""The one property that is the point of each system that reads the dialogue."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_model import utterances
from test_systems import FEATURES, PLACES, VOCABULARY, build, everything, talk
from torch import nn
from torch.nn import functional as F

from mer_lib import experiments, systems
from mer_lib.corpora.base import EMOTIONS
from mer_lib.features import STEP_FEATURES, word_vectors
from mer_lib.features.batches import Batch
from mer_lib.model import Attention
from mer_lib.systems import consk_gcn
from mer_lib.systems.catf_lstm import CatLstm
from mer_lib.systems.dann import reverse
from mer_lib.systems.dialogue import AttentionFusion, ContextEncoder, UtteranceEncoder, dialogues, speakers
from mer_lib.systems.lian_2019 import Lian2019
from mer_lib.systems.wu_2021 import MultiHeadPool, around, word_of_step

AUDIO_AND_TEXT = ("audio", "text")


def one_dialogue(turns: int = 6, who: tuple[int, ...] = (4, 7)) -> Batch:
    """A batch of one dialogue, in which people take turns."""
    data = utterances([(4, 3)] * turns)
    data.places = torch.tensor([(0, turn, who[turn % len(who)]) for turn in range(turns)])
    return everything(data)


def changed(name: str, turn: int, what: str, **options: object) -> list[int]:
    """Which turns of a dialogue get other logits when the audio or the text of one turn changes."""
    system, batch = build(name, **options), one_dialogue()
    before = system(batch).logits
    values = getattr(batch, what)
    values[turn] = (values[turn] + 5) % VOCABULARY if what == "text" else values[turn] + 1
    return (~torch.isclose(system(batch).logits, before, atol=1e-6).all(1)).nonzero().flatten().tolist()


def weights_of(module: torch.nn.Module) -> list[torch.Tensor]:
    """The weights that an attention returns at each of its calls, filled while its system runs."""
    seen: list[torch.Tensor] = []
    module.register_forward_hook(lambda _module, _inputs, output: seen.append(output[1]))
    return seen


# What they share.


def test_speakers_are_numbered_by_who_speaks_first() -> None:
    place = torch.tensor([(3, t, who) for t, who in enumerate((7, 2, 7, 5, 2))] + [(9, 0, 0), (9, 1, 7), (9, 2, 0)])
    assert speakers(place).tolist() == [0, 1, 0, 2, 1, 0, 1, 0]


def test_fusion_is_a_weighted_mean_of_the_modalities() -> None:
    fuse, vectors = AttentionFusion(AUDIO_AND_TEXT, 8), {m: torch.randn(5, 8) for m in AUDIO_AND_TEXT}
    fused, weights = fuse(vectors)
    torch.testing.assert_close(weights.sum(1), torch.ones(5))
    torch.testing.assert_close(fused, weights[:, :1] * vectors["audio"] + weights[:, 1:] * vectors["text"])


def test_fusion_of_one_modality_is_that_modality() -> None:
    fuse, x = AttentionFusion(("text",), 8), torch.randn(5, 8)
    assert not list(fuse.parameters())
    torch.testing.assert_close(fuse({"text": x})[0], x)


def test_an_utterance_is_encoded_without_its_dialogue() -> None:
    torch.manual_seed(0)
    encode = UtteranceEncoder(AUDIO_AND_TEXT, FEATURES, torch.randn(VOCABULARY, 5), 8, 0.1).eval()
    data = talk()
    together, alone = encode(everything(data)), encode(data.batch([4]))
    for modality in AUDIO_AND_TEXT:
        torch.testing.assert_close(together[modality][4:5], alone[modality], atol=1e-5, rtol=1e-5)


def test_the_context_encoder_sees_every_turn_and_no_padding() -> None:
    torch.manual_seed(0)
    read, table, mask = ContextEncoder(4, 8, 0.0), torch.randn(2, 5, 4), torch.arange(5) < torch.tensor([[5], [3]])
    seen = weights_of(read.attention)
    read(table, mask)
    torch.testing.assert_close(seen[0].sum(-1), torch.ones(2, 1, 5))
    assert (seen[0][1, 0, :, 3:] == 0).all()
    assert (seen[0][0] > 0).all()


# bc-LSTM


@pytest.mark.parametrize("what", AUDIO_AND_TEXT)
def test_bc_lstm_reads_the_dialogue_in_both_directions(what: str) -> None:
    assert changed("bc-lstm", 3, what) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("what", AUDIO_AND_TEXT)
def test_bc_lstm_with_one_direction_does_not_see_later_turns(what: str) -> None:
    assert changed("bc-lstm", 3, what, bidirectional=False) == [3, 4, 5]


def test_the_first_level_of_bc_lstm_keeps_the_modalities_apart() -> None:
    system, batch = build("bc-lstm"), one_dialogue()
    before = system(batch).unimodal
    batch.audio = batch.audio + 1
    after = system(batch).unimodal
    torch.testing.assert_close(after["text"], before["text"])
    assert not torch.allclose(after["audio"], before["audio"])


# CATF-LSTM


def test_the_attention_of_cat_lstm_sums_to_one_over_the_turns_that_there_are() -> None:
    torch.manual_seed(0)
    mask = torch.arange(4) < torch.tensor([[4], [2]])
    _, weights = CatLstm(8)(torch.randn(2, 4, 8), mask)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4))
    assert (weights[1, :, 2:] == 0).all()


def test_without_its_attention_cat_lstm_reads_only_the_past() -> None:
    torch.manual_seed(0)
    network, table, mask = CatLstm(8), torch.randn(1, 5, 8), torch.ones(1, 5, dtype=torch.bool)
    other = table.clone()
    other[0, 3] = torch.randn(8)
    attentive = (network(table, mask)[0] != network(other, mask)[0]).any(-1)
    network.mean.weight.data.zero_()
    plain = (network(table, mask)[0] != network(other, mask)[0]).any(-1)
    assert attentive.tolist() == [[True] * 5]
    assert plain.tolist() == [[False, False, False, True, True]]


def test_catf_lstm_weighs_the_modalities_of_each_utterance() -> None:
    system, batch = build("catf-lstm"), everything(talk())
    seen = weights_of(system.fuse.pool)
    system(batch)
    assert seen[0].shape == (len(batch.label), 2)
    torch.testing.assert_close(seen[0].sum(1), torch.ones(len(batch.label)))
    assert seen[0][:, 0].std() > 0


# Lian 2019


def test_lian_2019_tells_speakers_apart() -> None:
    system, batch = build("lian-2019"), one_dialogue(who=(4, 7))
    before = system(batch).logits
    batch.place[3, 2] = 4  # the first speaker says what the second one said
    assert not torch.isclose(system(batch).logits, before, atol=1e-6).all(1).any()


def test_lian_2019_knows_roles_and_no_names() -> None:
    system = build("lian-2019")
    first, second = (system(one_dialogue(who=who)).logits for who in [(4, 7), (300, 0)])
    torch.testing.assert_close(first, second, atol=0, rtol=0)


def test_lian_2019_takes_dialogues_of_more_people_than_it_has_embeddings() -> None:
    system = build("lian-2019", speakers=2)
    assert isinstance(system, Lian2019)
    assert system(one_dialogue(who=(9, 8, 7, 6, 5))).logits.isfinite().all()


def test_who_speaks_does_not_drown_what_is_said_in_lian_2019() -> None:
    by_speaker = by_words = 0.0
    for seed in range(5):
        torch.manual_seed(seed)
        system = systems.build("lian-2019", 0.1 * torch.randn(VOCABULARY, 5), FEATURES).eval()
        batch = one_dialogue()
        place = batch.place.clone()
        place[:, 2] = torch.tensor([4, 4, 7, 7, 4, 4])
        with torch.no_grad():
            plain = system(batch).logits
            by_speaker += float((system(replace(batch, place=place)).logits - plain).norm())
            by_words += float((system(replace(batch, text=(batch.text + 5) % VOCABULARY)).logits - plain).norm())
    assert by_speaker < 2 * by_words


# DANN


def test_gradient_reversal_flips_the_sign_and_nothing_else() -> None:
    x = torch.randn(3, 4, requires_grad=True)
    y = reverse(x, 0.3)
    torch.testing.assert_close(y, x, atol=0, rtol=0)
    (2 * y).sum().backward()
    torch.testing.assert_close(x.grad, torch.full((3, 4), -0.6))


def test_the_encoder_of_dann_climbs_what_its_speaker_head_descends() -> None:
    def gradients(strength: float) -> dict[str, torch.Tensor]:
        system = build("dann", reversal=strength)
        system(everything(talk())).losses["speaker"].backward()
        return {name: p.grad for name, p in system.named_parameters() if p.grad is not None}

    plain, turned = gradients(-1.0), gradients(0.5)
    assert set(plain) == set(turned)
    for name in plain:
        factor = 1.0 if name.startswith("speaker.") else -0.5
        torch.testing.assert_close(turned[name], factor * plain[name])
    assert any(name.startswith("read.") and gradient.any() for name, gradient in plain.items())


def test_dann_trains_on_hundreds_of_speakers_and_answers_the_same_to_strangers() -> None:
    system = build("dann")
    first, second = (system(one_dialogue(who=who)) for who in [(4, 7), (260, 1000)])
    assert second.losses["speaker"].isfinite()
    torch.testing.assert_close(first.logits, second.logits, atol=0, rtol=0)


def test_the_speaker_head_of_dann_is_asked_who_speaks() -> None:
    system, batch, answers = build("dann"), everything(talk()), []
    system.speaker.register_forward_hook(lambda _module, _inputs, output: answers.append(output))
    loss = system(batch).losses["speaker"]
    torch.testing.assert_close(loss, F.cross_entropy(answers[0], batch.place[:, 2]))


# CONSK-GCN


def test_the_graph_passes_messages_within_its_window_only() -> None:
    torch.manual_seed(0)
    graph, nodes, mask = consk_gcn.RelationalGraph(8), torch.randn(1, 6, 8), torch.ones(1, 6, dtype=torch.bool)
    weights = consk_gcn.window(mask, 1).float()
    kinds = torch.zeros(1, 6, 6, dtype=torch.long)
    before = graph(nodes, weights, kinds)
    nodes[0, 3] += 1
    assert (graph(nodes, weights, kinds) != before).any(-1)[0].tolist() == [False, False, True, True, True, False]


def test_the_weights_of_edges_sum_to_one_over_the_window() -> None:
    system, batch = build("consk-gcn", window=1), everything(talk())
    _, mask = dialogues(batch.place)
    weights = system.weights(torch.randn(*mask.shape, 16), batch)
    torch.testing.assert_close(weights.sum(-1), torch.ones(mask.shape))
    apart = (torch.arange(4)[:, None] - torch.arange(4)).abs()
    assert (weights[:, apart > 1] == 0).all()
    assert (weights[2][apart <= 1] > 0).all()
    assert (weights[0, :3, 3] == 0).all()


def test_edges_know_whether_the_other_turn_is_of_another_speaker_and_later() -> None:
    kinds = consk_gcn.kinds(torch.tensor(PLACES[:3]))
    assert kinds.tolist() == [[[0, 3, 1], [2, 0, 3], [0, 2, 0]]]


def test_the_kind_of_an_edge_changes_the_message() -> None:
    torch.manual_seed(0)
    graph, nodes, weights = consk_gcn.RelationalGraph(8), torch.randn(1, 2, 8), torch.full((1, 2, 2), 0.5)
    found = [graph(nodes, weights, torch.full((1, 2, 2), kind)) for kind in range(consk_gcn.KINDS)]
    assert not any(torch.allclose(found[0], other) for other in found[1:])


def test_affect_is_strong_in_angry_words_weak_in_plain_ones_and_none_elsewhere() -> None:
    furious, sad, plain, table = consk_gcn.affect(["furious", "sad", "ordinary", "table"]).tolist()
    assert 1 >= furious > sad > plain > table == 0


def test_turns_with_emotional_words_in_common_are_tied_by_knowledge() -> None:
    words = ["[UNK]", "furious", "happy", "table"]
    vectors = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0.3, 0.3, 1]])
    torch.manual_seed(0)
    system = systems.build("consk-gcn", vectors, FEATURES, words, dim=16, knowledge=1.0).eval()
    data = utterances([(2, 2)] * 3)
    data.text = [torch.tensor(ids) for ids in ([1, 3], [2, 3], [1, 1])]
    data.places = torch.tensor([(0, turn, 0) for turn in range(3)])
    weights = system.weights(torch.randn(1, 3, 16), everything(data))[0]
    assert weights[0, 2] > 2 * weights[0, 1]
    assert torch.isclose(weights[0, 2], weights[0, 0])  # words without affect say nothing


def test_a_run_tells_the_system_which_words_its_vectors_belong_to() -> None:
    run = experiments.Run("duet-i", 1, 0, system="consk-gcn")
    learned = word_vectors(["I am so happy today", "I am so angry today", "she is happy"] * 3, dimensions=4)
    assert [learned.tokenizer.token_to_id(word) for word in learned.words] == list(range(len(learned.vectors)))
    system = experiments.build(
        run, SimpleNamespace(vectors=learned, features=STEP_FEATURES, emotions=EMOTIONS, pretrained={})
    )
    known = {word for word, vector in zip(learned.words, system.knowledge.weight, strict=True) if vector.any()}
    assert known == {"happy"}  # "angry" is too rare for the vocabulary


def test_without_words_knowledge_ties_all_turns_alike() -> None:
    system, batch = build("consk-gcn", knowledge=1.0), one_dialogue()
    torch.testing.assert_close(system.weights(torch.randn(1, 6, 16), batch), torch.full((1, 6, 6), 1 / 6))


def test_turns_that_mean_alike_are_tied_more_closely() -> None:
    system, nodes = build("consk-gcn", knowledge=0.0), torch.zeros(1, 3, 16)
    nn.init.eye_(system.similar.weight)
    nodes[0, :2, 0], nodes[0, 2, 1] = 1.0, 1.0
    weights = system.weights(nodes, one_dialogue(3))[0]
    assert weights[0, 1] > weights[0, 2]
    assert weights.max() / weights.min() < np.e, "a softmax of numbers from 0 to 1"


# Wu 2021


@pytest.mark.parametrize("turn", [0, 3])
def test_wu_2021_hears_one_turn_and_reads_those_around_it(turn: int) -> None:
    assert changed("wu-2021", turn, "audio", neighbours=2) == [turn]
    assert changed("wu-2021", turn, "text", neighbours=2) == [t for t in range(6) if abs(t - turn) <= 2]


def test_wu_2021_without_text_has_no_context() -> None:
    assert build("wu-2021").context
    assert not build("wu-2021", modalities=["audio"]).context


def test_each_step_of_sound_is_beside_the_word_spoken_then() -> None:
    batch = utterances([(4, 2), (6, 3)]).batch([0, 1])
    batch.text_span[0, :2] = torch.tensor([[0.0, 0.7], [0.74, 1.0]])
    assert word_of_step(batch)[0, :4].tolist() == [0, 0, 0, 1]
    assert word_of_step(batch)[1].tolist() == [0, 0, 1, 1, 2, 2]


def test_the_neighbours_of_an_utterance_stay_in_its_dialogue() -> None:
    where, mask = dialogues(torch.tensor(PLACES))
    turns, there = around(where, mask, 1)
    assert there.tolist()[:4] == [[False, True, True], [True, True, True], [True, True, False], [False, True, False]]
    assert turns[1].tolist() == [0, 1, 2]


def test_each_head_of_the_pool_is_a_weighted_mean_of_its_own() -> None:
    torch.manual_seed(0)
    mask = torch.arange(5) < torch.tensor([[5], [2]])
    _, weights = MultiHeadPool(8, 3)(torch.randn(2, 5, 8), mask)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3))
    assert (weights[1, :, 2:] == 0).all()
    assert not torch.allclose(weights[0, 0], weights[0, 1])


def test_wu_2021_puts_beside_each_step_of_sound_the_word_of_that_moment() -> None:
    system, batch, seen = build("wu-2021"), everything(talk()), []
    system.join.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    system(batch)
    words = system.embed["text"](batch.text)
    torch.testing.assert_close(seen[0][..., 16:], words[torch.arange(len(words))[:, None], word_of_step(batch)])


def test_wu_2021_knows_which_sentences_are_near_and_not_in_which_order() -> None:
    system, batch = build("wu-2021", neighbours=2), one_dialogue(5)
    before, text = system(batch).logits[2], batch.text.clone()
    batch.text[[0, 1, 3, 4]] = text[[4, 3, 1, 0]]
    torch.testing.assert_close(system(batch).logits[2], before, atol=1e-5, rtol=1e-5)


# Dutta & Ganapathy 2022


def test_the_transformer_lets_each_turn_of_a_modality_look_at_all_turns_of_both() -> None:
    system, batch = build("dutta-2022"), everything(talk())
    assert isinstance(system.attention, Attention)
    seen = weights_of(system.attention)
    system(batch)
    (weights,) = seen
    assert weights.shape == (3, 4, 8, 8)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 4, 8))
    there = np.array([1, 1, 1, 0] * 2, dtype=bool)  # the first dialogue has three turns
    assert (weights[0, ..., there] > 0).all()
    assert (weights[0, ..., ~there] == 0).all()


def test_the_transformer_brings_the_results_of_a_turn_back_together() -> None:
    system, mask = build("dutta-2022", dropout=0.0), torch.ones(1, 3, dtype=torch.bool)
    read = {m: torch.randn(1, 3, 16) for m in AUDIO_AND_TEXT}
    system.attention.out.weight.data.zero_()  # no looking round: each turn keeps what it brings
    system.attention.out.bias.data.zero_()
    found = system.transform(read, mask)
    for part, m in zip(found.split(16, -1), AUDIO_AND_TEXT, strict=True):
        torch.testing.assert_close(part, system.feed_forward(system.enter[m](read[m])))


def test_each_modality_of_dutta_2022_is_also_trained_alone() -> None:
    batch = everything(talk())
    output = build("dutta-2022")(batch)
    expected = torch.stack([F.cross_entropy(output.unimodal[m], batch.label) for m in AUDIO_AND_TEXT]).mean()
    torch.testing.assert_close(output.losses["unimodal"], expected)
