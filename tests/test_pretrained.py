"""Tiny encoders with random weights, saved to and loaded from disk; the network is out of reach here."""

from __future__ import annotations

import json
import os
import re
import shutil
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import make_corpus, pulses
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn

from mer_lib import corpora, experiments, systems
from mer_lib.__main__ import main
from mer_lib.cache import cache_folder
from mer_lib.corpora.base import Corpus, CorpusError
from mer_lib.features import STEP_FEATURES, STEP_SECONDS, EncoderError, Pretrained, prepare, pretrained, stored
from mer_lib.features.fronts import Fronted, LayerSum, TopLayers, fronted, pretrained_parameters
from mer_lib.features.pretrained import SpeechEncoder, TextEncoder, average, groups
from mer_lib.training import FINE_TUNING, TrainingConfig, _learning, predict, train

RATE = 16_000
WIDTH = 8
LAYERS = 3
SPEECH = ("wav2vec2", "hubert", "wavlm")
TEXT = ("bert", "roberta")

Make = Callable[..., str]


def tiny_speech(kind: str, norm: str, **options: object) -> nn.Module:
    import transformers

    names = {"wav2vec2": "Wav2Vec2", "hubert": "Hubert", "wavlm": "WavLM"}
    config = getattr(transformers, f"{names[kind]}Config")(
        hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=2, intermediate_size=16,
        conv_dim=[WIDTH] * 3, conv_kernel=[10, 8, 4], conv_stride=[10, 8, 4], conv_bias=norm == "layer",
        feat_extract_norm=norm, do_stable_layer_norm=norm == "layer", num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2, **options,
    )  # fmt: skip
    return getattr(transformers, f"{names[kind]}Model")(config)


def tiny_text(kind: str) -> tuple[nn.Module, object]:
    import transformers

    corpus = make_corpus()
    letters = sorted({c for text in corpus.table["text"].str.lower() for c in text if c.isalpha()})
    first, last, pad = ("<s>", "</s>", "<pad>") if kind == "roberta" else ("[CLS]", "[SEP]", "[PAD]")
    words = [first, pad, last, "[UNK]", "the", "day", *letters, *(f"##{c}" for c in letters)]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.BertPreTokenizer()
    ends = [(first, vocabulary[first]), (last, vocabulary[last])]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{first} $A {last}", special_tokens=ends)
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, cls_token=first, sep_token=last, pad_token=pad, unk_token="[UNK]"
    )
    config = getattr(transformers, {"bert": "BertConfig", "roberta": "RobertaConfig"}[kind])(
        vocab_size=len(words), hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=66, pad_token_id=vocabulary[pad],
    )  # fmt: skip
    return getattr(transformers, {"bert": "BertModel", "roberta": "RobertaModel"}[kind])(config), fast


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Save a tiny model once, and return its folder."""
    home = tmp_path_factory.mktemp("models")

    def save(kind: str, norm: str = "group") -> str:
        from transformers import Wav2Vec2FeatureExtractor

        folder = home / f"{kind}-{norm}"
        if not folder.exists():
            torch.manual_seed(0)
            if kind in SPEECH:
                model = tiny_speech(kind, norm)
                extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=norm == "layer")
            else:
                model, extractor = tiny_text(kind)
            for parameter in model.parameters():  # far from the small weights at the start, so that a leak shows
                if parameter.dim() > 1:
                    nn.init.normal_(parameter, std=0.4)
            model.save_pretrained(folder)
            extractor.save_pretrained(folder)
        return str(folder)

    return save


def waves() -> list[np.ndarray]:
    return [pulses(120 + 40 * i, seconds) for i, seconds in enumerate((0.31, 0.9, 0.62, 0.9, 0.05, 0.001))]


TEXTS = ["the day", "what a lovely day, the day after", "", "she cried", "...", "i miss him badly"]


# ---- hidden states


@pytest.mark.parametrize("norm", ["group", "layer"])
@pytest.mark.parametrize("kind", SPEECH)
def test_a_batch_of_sounds_gives_each_what_it_gets_alone(saved: Make, kind: str, norm: str) -> None:
    encoder = SpeechEncoder(Pretrained(saved(kind, norm), layer="all"), "cpu")
    inputs = [encoder.prepare(wave, RATE) for wave in waves()]
    with torch.no_grad():
        together = encoder.vectors(inputs)
        alone = [encoder.vectors([x])[0] for x in inputs]
    for found, expected in zip(together, alone, strict=True):
        assert found.shape == expected.shape
        assert found.shape[1:] == (LAYERS + 1, WIDTH)
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", TEXT)
def test_a_batch_of_texts_gives_each_what_it_gets_alone(saved: Make, kind: str) -> None:
    encoder = TextEncoder(Pretrained(saved(kind)), "cpu")
    cut = [encoder.prepare(text) for text in TEXTS]
    with torch.no_grad():
        together = encoder.vectors([ids for ids, _ in cut])
        alone = [encoder.vectors([ids])[0] for ids, _ in cut]
    for found, expected, (_, spans) in zip(together, alone, cut, strict=True):
        assert found.shape == (len(spans), WIDTH)
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


def test_padding_would_change_a_base_model_so_its_sounds_are_batched_by_equal_length(saved: Make) -> None:
    encoder = SpeechEncoder(Pretrained(saved("wav2vec2", "group")), "cpu")
    short, long = (encoder.prepare(pulses(150, seconds), RATE) for seconds in (0.4, 0.9))
    assert encoder.equal
    assert not SpeechEncoder(Pretrained(saved("wav2vec2", "layer")), "cpu").equal
    with torch.no_grad():
        right = encoder.states([short, long])[0]
        encoder.equal = False
        wrong = encoder.states([short, long])[0]
    assert float((right - wrong).abs().max()) > 0.01  # equal batches agree to 2e-5; weights are drawn by this torch


def test_hidden_states_are_those_of_the_library_itself(saved: Make) -> None:
    from transformers import AutoFeatureExtractor, AutoModel

    folder, wave = saved("wavlm"), pulses(150, 0.7)
    ready = AutoFeatureExtractor.from_pretrained(folder)(wave, sampling_rate=RATE, return_tensors="pt")
    with torch.no_grad():
        states = AutoModel.from_pretrained(folder).eval()(**ready, output_hidden_states=True).hidden_states
        for layer in range(LAYERS + 1):
            encoder = SpeechEncoder(Pretrained(folder, layer), "cpu")
            torch.testing.assert_close(encoder.states([encoder.prepare(wave, RATE)])[0], states[layer][0])


def test_a_layer_can_be_counted_from_the_top_and_has_one_name(saved: Make) -> None:
    folder = saved("bert")
    assert Pretrained(folder, -1).key() == Pretrained(folder, LAYERS).key()
    keys = {Pretrained(folder, layer).key() for layer in (0, 1, 2, 3, "all")}
    assert len(keys) == LAYERS + 2


@pytest.mark.parametrize("layer", [LAYERS + 1, -LAYERS - 2, "last", 1.5])
def test_a_layer_that_is_not_there_is_refused(saved: Make, layer: int) -> None:
    with pytest.raises(EncoderError, match=r"has no layer .*; it has 0 to 3, -1 for the last one, and 'all'"):
        Pretrained(saved("bert"), layer).home()


def test_steps_come_at_the_pace_of_the_default_ones(saved: Make) -> None:
    encoder = SpeechEncoder(Pretrained(saved("hubert")), "cpu")  # a state every 20 ms
    (found,) = encoder.vectors([encoder.prepare(pulses(150, 2.0), RATE)])
    assert abs(len(found) - 2.0 / STEP_SECONDS) <= 1
    torch.testing.assert_close(average(torch.arange(5.0)[:, None], 2), torch.tensor([[0.5], [2.5], [4.0]]))


def test_a_sound_at_another_rate_is_brought_to_the_encoders_own(saved: Make) -> None:
    encoder = SpeechEncoder(Pretrained(saved("wav2vec2")), "cpu")
    slow = encoder.prepare(pulses(150, 1.0, sample_rate=8000), 8000)
    assert len(slow) == RATE
    assert abs(float(slow.mean())) < 1e-3
    assert float(slow.std()) == pytest.approx(1, abs=1e-2)


@pytest.mark.parametrize("kind", TEXT)
def test_spans_say_where_each_piece_stands_and_special_pieces_have_none(saved: Make, kind: str) -> None:
    encoder = TextEncoder(Pretrained(saved(kind)), "cpu")
    ids, spans = encoder.prepare("The bad day")
    pieces = [["the", "b", "##a", "##d", "day"], [[0, 3], [4, 5], [5, 6], [6, 7], [8, 11]]]
    assert encoder.prepare.tokenizer.convert_ids_to_tokens(ids[encoder.prepare.kept(ids)].tolist()) == pieces[0]
    assert len(ids) == len(spans) + 2
    np.testing.assert_allclose(spans * 11, pieces[1], atol=1e-5)
    assert encoder.prepare.words().encode("The bad day").tokens == pieces[0]


@pytest.mark.parametrize("text", ["", "   "])
def test_a_text_without_pieces_is_one_vector(saved: Make, text: str) -> None:
    encoder = TextEncoder(Pretrained(saved("roberta")), "cpu")
    ids, spans = encoder.prepare(text)
    assert spans.tolist() == [[0, 1]]
    assert encoder.vectors([ids])[0].shape == (1, WIDTH)


def test_batches_are_of_similar_length_and_no_larger_than_asked() -> None:
    assert groups([5, 1, 9, 1, 4], most=10, equal=False) == [[1, 3], [4, 0], [2]]
    assert groups([5, 1, 9, 1, 5], most=10, equal=True) == [[1, 3], [0, 4], [2]]
    assert groups([50], most=10, equal=False) == [[0]]


# ---- on disk


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "BLOCK", 10)


@pytest.mark.usefixtures("small_blocks")
def test_what_is_on_disk_is_what_the_encoder_says(cache: Path, corpus: Corpus, saved: Make) -> None:
    heard, read = Pretrained(saved("wavlm"), 2), Pretrained(saved("bert"), "all")
    sounds = stored.speech_vectors(corpus, heard, "cpu")
    texts, spans = stored.text_vectors(corpus, read, "cpu")
    assert list(sounds) == list(texts) == list(spans) == corpus.table["id"].tolist()
    speech, text = SpeechEncoder(heard, "cpu"), TextEncoder(read, "cpu")
    with torch.no_grad():
        for name in corpus.table["id"].iloc[[0, 9, 10, 63]]:
            (expected,) = speech.vectors([speech.prepare(corpus.waveform(name), RATE)])
            np.testing.assert_allclose(sounds[name], expected, atol=2e-5)
            ids, where = text.prepare(corpus.table.loc[name, "text"])
            np.testing.assert_allclose(texts[name], text.vectors([ids])[0], atol=2e-5)
            np.testing.assert_array_equal(spans[name], where)
    assert len(list(cache.glob("speech-tiny-*/*.safetensors"))) == 7  # 64 utterances, 10 each


def counting(corpus: Corpus) -> tuple[Corpus, list[str]]:
    reads: list[str] = []

    def read(row):
        reads.append(row["id"])
        return corpus.read(row)

    return replace(corpus, read=read), reads


@pytest.mark.usefixtures("small_blocks")
def test_a_run_that_was_stopped_goes_on_with_the_missing_block(cache: Path, corpus: Corpus, saved: Make) -> None:
    asked, ids = Pretrained(saved("hubert")), corpus.table["id"].tolist()

    def until(row):
        if row["id"] == ids[25]:
            raise KeyboardInterrupt
        return corpus.read(row)

    with pytest.raises(KeyboardInterrupt):
        stored.speech_vectors(replace(corpus, read=until), asked, "cpu")
    kept = {path.name: path.stat().st_mtime_ns for path in cache.glob("speech-*/*.safetensors")}
    assert sorted(kept) == ["00000.safetensors", "00001.safetensors"]
    counted, reads = counting(corpus)
    found = stored.speech_vectors(counted, asked, "cpu")
    assert reads == ids[20:]
    assert len([found[name] for name in ids]) == len(ids)
    assert {name: (found.folder / name).stat().st_mtime_ns for name in kept} == kept


@pytest.mark.usefixtures("small_blocks")
def test_a_half_written_file_is_never_taken_for_a_whole_one(
    cache: Path, corpus: Corpus, saved: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Pretrained(saved("bert"))

    def killed(source: Path, target: Path) -> None:  # while the third file is being written
        if target.name != "00002.safetensors":
            os.rename(source, target)
            return
        source.write_bytes(source.read_bytes()[:-9])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            stored.text_vectors(corpus, asked, "cpu")
    (folder,) = cache.glob("text-*")
    assert sorted(path.name for path in folder.glob("*.safetensors")) == ["00000.safetensors", "00001.safetensors"]
    texts, _ = stored.text_vectors(corpus, asked, "cpu")
    assert texts.folder == folder
    assert len(list(folder.glob("*.safetensors"))) == 7
    assert not list(folder.glob("*.tmp"))
    assert all(np.isfinite(texts[name]).all() for name in texts)


def test_a_second_run_reads_no_sound_and_loads_no_encoder(
    cache: Path, corpus: Corpus, saved: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Pretrained(saved("wavlm"))
    first = dict(stored.speech_vectors(corpus, asked, "cpu"))
    monkeypatch.setattr(stored, "SpeechEncoder", None)
    counted, reads = counting(corpus)
    second = stored.speech_vectors(counted, asked, "cpu")
    assert not reads
    assert all((second[name] == first[name]).all() for name in first)


@pytest.mark.parametrize("damage", [lambda data: data[:-7], lambda data: b"", lambda data: b"x" * len(data)])
def test_a_damaged_file_is_made_again(cache: Path, corpus: Corpus, saved: Make, damage: Callable) -> None:
    asked = Pretrained(saved("bert"))
    texts, _ = stored.text_vectors(corpus, asked, "cpu")
    before, path = dict(texts), stored.shard(texts.folder, 0)
    path.write_bytes(damage(path.read_bytes()))
    after, _ = stored.text_vectors(corpus, asked, "cpu")
    assert all((after[name] == before[name]).all() for name in before)


def test_files_are_named_after_all_that_changes_them(cache: Path, corpus: Corpus, saved: Make, tmp_path: Path) -> None:
    folder = Path(saved("bert"))

    def where(corpus: Corpus, asked: Pretrained) -> Path:
        return stored.text_vectors(corpus, asked, "cpu")[0].folder

    plain = where(corpus, Pretrained(str(folder)))
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert where(corpus, Pretrained(str(copy))) == plain  # the same files under another name are the same encoder
    other = corpus.table.assign(text=corpus.table["text"] + "!")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"layer_norm_eps": 1e-3}))
    changed = {
        where(corpus, Pretrained(str(copy))),
        where(corpus, Pretrained(str(folder), 1)),
        where(corpus, Pretrained(str(folder), "all")),
        where(replace(corpus, table=other), Pretrained(str(folder))),
    }
    assert len(changed | {plain}) == 5


@pytest.mark.usefixtures("small_blocks")
def test_no_more_than_a_block_is_in_memory_at_a_time(cache: Path, saved: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus, asked = make_corpus(sessions=6), Pretrained(saved("hubert"))
    sizes: list[int] = []
    save = stored.save_file

    def watched(arrays: dict[str, np.ndarray], path: Path) -> None:
        sizes.append(len(arrays))
        save(arrays, path)

    monkeypatch.setattr(stored, "save_file", watched)
    found = stored.speech_vectors(corpus, asked, "cpu")
    assert sizes == [10] * 9 + [6]
    for name in found:
        assert found[name] is not None
    assert found._open[0] == 9  # one file is open: the last


def test_reading_takes_memory_for_what_is_asked_for_and_not_for_the_file(cache: Path) -> None:
    names = [f"u{i}" for i in range(8)]
    cache.mkdir()
    arrays = {f"vectors/{name}": np.ones((100, 10_000), dtype=np.float32) for name in names}  # 4 MB each
    stored.save_file(arrays, stored.shard(cache, 0))
    found = stored.Shards(cache, names)
    tracemalloc.start()
    sums = [float(found[name].sum()) for name in names]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sums == [1e6] * 8
    assert peak < 13e6


# ---- what cannot be used


def test_a_model_that_is_not_here_gives_one_sentence(corpus: Corpus) -> None:
    for name in ("nobody/has-such-a-model", "no/such/folder/anywhere"):
        with pytest.raises(EncoderError) as caught:
            stored.text_vectors(corpus, Pretrained(name), "cpu")
        assert str(caught.value) == (
            f"There is no model {name!r} on this machine, and it could not be downloaded. Check its name and the"
            " connection, or give the folder of a saved model."
        )


def test_the_shell_says_the_same_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--corpus", "duet-i", "--audio", "nobody/has-such-a-model"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("mer_lib: There is no model 'nobody/has-such-a-model' on this machine")
    assert said.count("\n") == 1
    assert main(["run", "--corpus", "duet-i", "--text", "x?layer=top"]) == 2
    assert "A layer is a number or 'all', not 'top'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "what"),
    [("config.json", "configuration"), ("model.safetensors", "model"), ("tokenizer.json", "tokenizer")],
)
@pytest.mark.parametrize("damage", [None, "nonsense"])
def test_a_damaged_folder_names_the_part(
    cache: Path, corpus: Corpus, saved: Make, tmp_path: Path, file: str, what: str, damage: str | None
) -> None:
    folder = shutil.copytree(saved("bert"), tmp_path / "model")
    (folder / file).unlink()
    if damage:
        (folder / file).write_text(damage)
    with pytest.raises(EncoderError, match=rf"The {what} of .*model is missing in that folder, or cannot be read"):
        stored.text_vectors(corpus, Pretrained(str(folder)), "cpu")


def test_weights_that_would_stay_random_are_refused(saved: Make, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(saved("bert"), tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    fewer = {name: value for name, value in weights.items() if "layer.1.output" not in name}
    save_file(fewer, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EncoderError, match=r"was saved without 4 of its weights, such as encoder.layer.1.output"):
        TextEncoder(Pretrained(str(folder)), "cpu")


def test_an_encoder_of_the_other_channel_is_refused(saved: Make) -> None:
    with pytest.raises(EncoderError, match=r"does not read waveforms; choose one like microsoft/wavlm-base-plus"):
        SpeechEncoder(Pretrained(saved("bert")), "cpu")
    with pytest.raises(EncoderError, match=r"does not read text; choose one like roberta-base"):
        TextEncoder(Pretrained(saved("wavlm")), "cpu")


def test_a_text_longer_than_the_encoder_can_read_is_cut_and_named(
    cache: Path, corpus: Corpus, saved: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = corpus.table["text"].where(corpus.table["turn"] != 3, "the day " * 60)
    long = replace(corpus, table=corpus.table.assign(text=texts))
    for kind in TEXT:
        found, spans = stored.text_vectors(long, Pretrained(saved(kind)), "cpu")
        assert "reads at most 64 pieces; of the text of S1-03 it reads no more" in capsys.readouterr().out
        assert found["S1-03"].shape == (62, WIDTH)
        assert spans["S1-03"].max() < 0.6


def test_hidden_states_that_are_not_finite_name_the_utterance(cache: Path, corpus: Corpus, saved: Make) -> None:
    broken = replace(corpus, read=lambda row: np.full(4000, np.nan if row["turn"] == 1 else 0.1, np.float32))
    with pytest.raises(CorpusError, match=r"sound of S1-01 .* is empty or not finite"):
        stored.speech_vectors(broken, Pretrained(saved("hubert")), "cpu")
    with pytest.raises(CorpusError, match=r"hidden states of u in tiny are not finite"):
        stored._named(["u"], [torch.tensor([[float("nan")]])], corpus)


def test_the_library_says_nothing_of_its_own(
    cache: Path, corpus: Corpus, saved: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    text, speech = Pretrained(saved("roberta")), Pretrained(saved("wav2vec2"))
    capfd.readouterr()  # what saving them said
    stored.text_vectors(corpus, text, "cpu")
    stored.speech_vectors(corpus, speech, "cpu")
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")


# ---- what learns


def test_the_weighted_sum_begins_as_the_mean_and_follows_its_weights() -> None:
    states = torch.tensor([[[1.0, 0.0], [0.0, 2.0], [4.0, 4.0]]])  # one step, three layers, two numbers
    layers = LayerSum(3)
    torch.testing.assert_close(layers(states), torch.tensor([[5 / 3, 2.0]]))
    with torch.no_grad():
        layers.scores.copy_(torch.tensor([0.5, 0.25, 0.25]).log())
    torch.testing.assert_close(layers(states), torch.tensor([[1.5, 1.5]]))
    assert float(layers.weights.detach().sum()) == pytest.approx(1)


def run_data(corpus: Corpus, **asked: Pretrained):
    data = prepare(corpus, corpus.fold(1), **asked)
    options = {"dim": 8, "heads": 2}
    system = systems.build("method", torch.as_tensor(data.vectors.vectors), data.features, **options)
    return data, fronted(system, data.pretrained)


def test_nothing_stands_in_front_of_a_system_unless_it_learns(corpus: Corpus, saved: Make) -> None:
    data, system = run_data(corpus, audio=Pretrained(saved("wavlm")), text=Pretrained(saved("bert"), 2))
    assert isinstance(system, systems.SYSTEMS["method"].module)
    assert data.features == WIDTH != STEP_FEATURES
    batch = data.train.batch([0, 1, 2])
    assert batch.audio.shape[2:] == (WIDTH,)
    assert batch.text.shape == (*batch.text_mask.shape, WIDTH)
    assert batch.text_span.shape == (*batch.text_mask.shape, 2)
    output = system(batch)
    assert output.attention["text"].shape[2:] == (batch.text.shape[1], batch.audio.shape[1])


def test_the_sound_of_each_speaker_is_normalised_in_every_layer(corpus: Corpus, saved: Make) -> None:
    data, _ = run_data(corpus, audio=Pretrained(saved("wavlm"), "all"))
    steps = dict(zip(data.test.ids, data.test.audio, strict=True))
    for _, ids in corpus.table.loc[data.test.ids].groupby("speaker")["id"]:
        rows = torch.cat([steps[name] for name in ids])
        assert rows.shape[1:] == (LAYERS + 1, WIDTH)
        torch.testing.assert_close(rows.mean(0), torch.zeros(LAYERS + 1, WIDTH), atol=1e-4, rtol=0)


def test_a_learned_sum_gets_gradients_and_leaves_padding_out(corpus: Corpus, saved: Make) -> None:
    data, system = run_data(corpus, audio=Pretrained(saved("wavlm"), "all"), text=Pretrained(saved("bert"), "all"))
    assert isinstance(system, Fronted)
    output = system(data.train.batch(range(8)))
    nn.functional.cross_entropy(output.logits, data.train.labels[:8]).backward()
    for layers in system.sums.values():
        assert layers.scores.grad is not None
        assert layers.scores.grad.abs().sum() > 0
    logits = system.eval()(data.train.batch([0])).logits
    torch.testing.assert_close(system(data.train.batch([0, 1, 2, 3])).logits[:1], logits, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("kind", "norm"), [*((kind, norm) for kind in SPEECH for norm in ("group", "layer"))])
def test_gradients_reach_exactly_the_top_layers_of_a_speech_encoder(
    corpus: Corpus, saved: Make, kind: str, norm: str
) -> None:
    check_gradients(*run_data(corpus, audio=Pretrained(saved(kind, norm), top=2)), "audio")


@pytest.mark.parametrize("kind", TEXT)
def test_gradients_reach_exactly_the_top_layers_of_a_text_encoder(corpus: Corpus, saved: Make, kind: str) -> None:
    check_gradients(*run_data(corpus, text=Pretrained(saved(kind), top=2)), "text")


def check_gradients(data, system: nn.Module, channel: str) -> None:
    top = system.train().tops[channel]
    assert isinstance(top, TopLayers)
    system(data.train.batch(range(4))).logits.square().sum().backward()
    reached = {name for name, p in top.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    learning = {name for name, p in top.named_parameters() if p.requires_grad}
    assert {number for number in range(LAYERS) for name in learning if f".{number}." in name} == {1, 2}
    assert reached <= learning
    assert not [name for name in learning - reached if "k_proj.bias" not in name and "key.bias" not in name]
    assert len(list(pretrained_parameters(system))) == len(learning)
    inside = {name: m.training for name, m in top.encoder.model.named_modules() if isinstance(m, nn.Dropout)}
    layers = [name for name, training in inside.items() if training]
    assert layers
    assert all(".1." in name or ".2." in name for name in layers)
    fresh, tuned = _learning(system, 1e-3)
    assert tuned["lr"] == pytest.approx(FINE_TUNING * 1e-3)
    assert "lr" not in fresh


@pytest.mark.parametrize("layer", [-1, "all"])
def test_an_encoder_in_place_hears_and_reads_what_the_frozen_table_holds(
    corpus: Corpus, saved: Make, layer: int | str
) -> None:
    audio, text = Pretrained(saved("hubert"), layer), Pretrained(saved("roberta"), layer)
    table, _ = run_data(corpus, text=text)
    tuned, system = run_data(corpus, audio=replace(audio, top=1), text=replace(text, top=1))
    sounds = stored.speech_vectors(corpus, audio, "cpu")
    batch = tuned.dev.batch([0, 1, 2])
    with torch.no_grad():
        heard, heard_mask = system.eval().tops["audio"](batch.audio, batch.audio_mask)
        read, read_mask = system.tops["text"](batch.text, batch.text_mask)
    assert torch.equal(read_mask, table.dev.batch([0, 1, 2]).text_mask)
    torch.testing.assert_close(read, table.dev.batch([0, 1, 2]).text, atol=2e-5, rtol=1e-4)
    for row, name in enumerate(tuned.dev.ids[:3]):
        expected = torch.as_tensor(sounds[name])
        assert int(heard_mask[row].sum()) == len(expected)
        torch.testing.assert_close(heard[row, : len(expected)], expected, atol=2e-5, rtol=1e-4)


def test_training_moves_the_top_layer_and_nothing_below_it(corpus: Corpus, saved: Make) -> None:
    data, system = run_data(corpus, text=Pretrained(saved("bert"), layer=2, top=1))
    before = {name: value.clone() for name, value in system.state_dict().items()}
    quick = TrainingConfig(epochs=2, batch=16, rate=0.05, warm_up=1, average=0.1)
    result = train(system, data.train, data.dev, quick)
    after = result.system.state_dict()
    moved = {name for name in before if "tops" in name and not torch.equal(before[name], after[name])}
    assert moved
    assert all("encoder.layer.1." in name for name in moved)
    assert predict(result.system, data.test).shape == (16, 4)


@pytest.mark.parametrize(("layer", "top"), [(-1, LAYERS + 1), (1, 2), (-1, -1)])
def test_more_layers_than_there_are_cannot_learn(saved: Make, layer: int, top: int) -> None:
    with pytest.raises(EncoderError, match=rf"top is {top}; of .* 0 to [13] layers up to the one used can learn"):
        Pretrained(saved("bert"), layer, top).home()


# ---- runs


def test_a_run_with_encoders_has_a_key_and_a_row_of_its_own(saved: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiments, "_corpus", lambda name, root: make_corpus())
    heard, read = Pretrained(saved("wavlm"), "all"), Pretrained(saved("bert"))
    (plain,) = experiments.grid("tiny", ["A+T"], [1])
    (asked,) = experiments.grid("tiny", ["A+T"], [1], audio=heard, text=read)
    others = [replace(asked, text=None), replace(asked, audio=replace(heard, layer=1))]
    assert len({run.key() for run in (plain, asked, *others)}) == 4
    assert plain.variant == asked.variant == "A+T"
    named = experiments.labels(asked.audio, asked.text)
    assert re.fullmatch(r"wavlm-group#\w{6} layer all", named["audio"])
    assert re.fullmatch(r"bert-group#\w{6} layer -1", named["text"])
    (written,) = experiments.grid("tiny", ["A+T"], [1], audio=f"{heard.name}?layer=all", text=read.name)
    assert written == asked, "an encoder may be written as one types it"
    assert experiments.labels(None, "") == {"audio": "", "text": ""}


@pytest.mark.parametrize(
    ("text", "encoder"),
    [
        ("roberta-base", Pretrained("roberta-base")),
        ("a/b?layer=all&top=2", Pretrained("a/b", "all", 2)),
        ("a/b?top=1&layer=-3&revision=v2", Pretrained("a/b", -3, 1, "v2")),
    ],
)
def test_an_encoder_is_written_as_its_name_and_options(text: str, encoder: Pretrained) -> None:
    assert Pretrained.named(text) == encoder


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a/b?size=3", "names no encoder; write it like"),
        ("a/b?layer=", "names no encoder; write it like"),
        ("?layer=3", "names no encoder; write it like"),
        ("a/b?layer=top", "A layer is a number or 'all', not 'top'"),
        ("a/b?top=all", "top is a number of layers, not 'all'"),
    ],
)
def test_an_encoder_that_is_written_wrongly_is_answered_in_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(EncoderError, match=sentence):
        Pretrained.named(text)


def test_two_encoders_in_folders_of_one_name_have_a_row_each(saved: Make, tmp_path: Path) -> None:
    first, second = Pretrained(saved("bert")), Pretrained(str(shutil.copytree(saved("bert"), tmp_path / "bert-group")))
    assert first.label == second.label, "the same encoder, wherever it lies"
    with (Path(second.name) / "config.json").open("a") as file:
        file.write("\n")
    assert first.label != second.label
    assert Pretrained("roberta-base", revision="v2").label == "roberta-base at v2 layer -1"


def test_a_run_with_encoders_trains_and_is_read_back_the_same(
    cache: Path, saved: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiments, "_corpus", lambda name, root: make_corpus())
    experiments.prepared.cache_clear()
    quick = TrainingConfig(epochs=1, batch=16)
    encoders = {"audio": Pretrained(saved("wavlm"), "all"), "text": Pretrained(saved("bert"), top=1)}
    runs = experiments.grid("tiny", ["A+T", "A", "T"], [1], training=quick, **encoders)
    for run in runs:
        row = experiments.execute(run)
        assert len(row["plain"]) == 16
        assert row["variant"] == run.variant
        assert {m: row[m] for m in encoders} == {m: encoder.label for m, encoder in encoders.items()}
        assert row["text"].endswith("layer -1, top 1 tuned")
    first, data = experiments.trained(runs[0])
    again, _ = experiments.trained(runs[0])
    np.testing.assert_array_equal(predict(first.system, data.test), predict(again.system, data.test))
    experiments.prepared.cache_clear()


def test_a_run_without_encoders_keeps_the_key_that_the_record_has() -> None:
    record = experiments.read_results(Path(__file__).parents[1] / "data" / "results" / "duet-i.csv")
    row = record[record["variant"] == "A+T"].iloc[0]
    (run,) = experiments.grid("duet-i", ["A+T"], [int(row["fold"])], [int(row["seed"])])
    assert run.key() == row["key"]


def test_files_of_encoders_lie_in_the_readers_cache(cache: Path, corpus: Corpus, saved: Make) -> None:
    assert cache_folder() in stored.text_vectors(corpus, Pretrained(saved("bert")), "cpu")[0].folder.parents


def test_half_precision_that_overflows_is_done_again_in_full(saved: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = TextEncoder(Pretrained(saved("bert")), "cpu")
    monkeypatch.setattr(TextEncoder, "device", property(lambda self: torch.device("cuda")))
    monkeypatch.setattr(pretrained.torch, "autocast", lambda *a, **k: torch.autograd.profiler.record_function("none"))
    calls: list[int] = []
    layers = TextEncoder._layers

    def overflow(self: TextEncoder, padded: Tensor, mask: Tensor | None) -> Tensor:
        calls.append(1)
        hidden = layers(self, padded, mask)
        return hidden * float("inf") if len(calls) == 1 else hidden

    monkeypatch.setattr(TextEncoder, "_layers", overflow)
    ids = encoder.prepare("the day")[0][None]
    with torch.no_grad():
        assert encoder._forward(ids, None).isfinite().all()
    assert len(calls) == 2


@pytest.mark.parametrize("options", ["", "?layer=all", "?top=1"])
def test_a_lone_sound_and_text_go_through_the_encoders_that_the_system_was_trained_with(
    options: str,
    cache: Path,
    saved: Make,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(corpora, "load", lambda name, root=None: make_corpus())
    monkeypatch.setattr(experiments, "TrainingConfig", lambda: TrainingConfig(epochs=1))
    for kept in (experiments._corpus, experiments.prepared):
        kept.cache_clear()
    soundfile.write(tmp_path / "voice.wav", make_corpus().waveform("S1-03"), RATE)
    asked = ["predict", "--corpus", "tiny", str(tmp_path / "voice.wav"), "--text", "leave me", "--json"]
    asked += ["--audio-encoder", saved("wavlm") + options, "--text-encoder", saved("bert") + options]
    assert main(asked) == 0
    (found,) = json.loads(capsys.readouterr().out)["answers"]
    assert found["variant"].startswith("A+T")
    assert set(found["alone"]) == {"audio", "text"}
    assert found["words"] is None, "pieces of words are read, and none of them is unknown"
    for kept in (experiments._corpus, experiments.prepared):
        kept.cache_clear()
