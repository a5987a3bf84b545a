"""Tiny encoders with random weights of many kinds, as `transformers` saves them, for tests of what is supported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import nn

from mer_lib._torchaudio import torchaudio  # first: transformers imports it, and beside a CPU build it needs help

assert torchaudio
WIDTH, LAYERS = 16, 3
SIZE = {"hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": 2, "intermediate_size": 32}
TEXT = {"vocab_size": 64, "max_position_embeddings": 66, "pad_token_id": 0, **SIZE}
SOUND = {"conv_dim": [WIDTH] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2, **SIZE}


def tokenizer() -> transformers.PreTrainedTokenizerFast:
    """Words of the probe and all letters."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{letter}" for letter in letters), ".", ","]
    cutter = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    cutter.normalizer, cutter.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.BertPreTokenizer()
    cutter.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=cutter, **names)


def _text(kind: str, **options: object) -> nn.Module:
    return getattr(transformers, f"{kind}Model")(getattr(transformers, f"{kind}Config")(**{**TEXT, **options}))


TEXTS: dict[str, Callable[[], nn.Module]] = {
    "albert": lambda: _text("Albert", embedding_size=8),
    "bert": lambda: _text("Bert"),
    "camembert": lambda: _text("Camembert"),
    "convbert": lambda: _text("ConvBert", embedding_size=WIDTH, num_attention_heads=4, head_ratio=2),
    "deberta": lambda: _text("Deberta", relative_attention=True, pos_att_type=["c2p", "p2c"]),
    "deberta-v2": lambda: _text("DebertaV2", relative_attention=True, pos_att_type=["c2p", "p2c"]),
    "distilbert": lambda: transformers.DistilBertModel(
        transformers.DistilBertConfig(
            vocab_size=64, dim=WIDTH, n_layers=LAYERS, n_heads=2, hidden_dim=32, max_position_embeddings=66
        )
    ),
    "electra": lambda: _text("Electra", embedding_size=WIDTH),
    "ernie": lambda: _text("Ernie"),
    "fnet": lambda: _text("FNet"),
    "mobilebert": lambda: _text(
        "MobileBert", embedding_size=8, true_hidden_size=8, intra_bottleneck_size=8, intermediate_size=32
    ),
    "modernbert": lambda: _text("ModernBert", global_attn_every_n_layers=2, local_attention=8, cls_token_id=2,
                                sep_token_id=3, bos_token_id=2, eos_token_id=3),
    "mpnet": lambda: _text("MPNet"),
    "rembert": lambda: _text("RemBert", input_embedding_size=8, output_embedding_size=8),
    "roberta": lambda: _text("Roberta"),
    "roberta-prelayernorm": lambda: _text("RobertaPreLayerNorm"),
    "roformer": lambda: _text("RoFormer", embedding_size=WIDTH),
    "squeezebert": lambda: _text("SqueezeBert", embedding_size=WIDTH, q_groups=1, k_groups=1, v_groups=1,
                                 post_attention_groups=1, intermediate_groups=1, output_groups=1),
    "xlm-roberta": lambda: _text("XLMRoberta"),
    "xlm-roberta-xl": lambda: _text("XLMRobertaXL"),
    "xlnet": lambda: transformers.XLNetModel(
        transformers.XLNetConfig(vocab_size=64, d_model=WIDTH, n_layer=LAYERS, n_head=2, d_inner=32)
    ),
    "yoso": lambda: _text("Yoso"),
    "data2vec-text": lambda: _text("Data2VecText"),
    "megatron-bert": lambda: _text("MegatronBert"),
    "big_bird": lambda: _text("BigBird", attention_type="original_full"),
    "longformer": lambda: _text("Longformer", attention_window=[4] * LAYERS, max_position_embeddings=130),
    "nystromformer": lambda: _text("Nystromformer", num_landmarks=4, segment_means_seq_len=64),
    "funnel": lambda: transformers.FunnelModel(
        transformers.FunnelConfig(vocab_size=64, block_sizes=[1, 1, 1], d_model=WIDTH, n_head=2, d_head=8, d_inner=32)
    ),
    "gpt2": lambda: transformers.GPT2Model(
        transformers.GPT2Config(vocab_size=64, n_embd=WIDTH, n_layer=LAYERS, n_head=2, n_positions=66)
    ),
    "canine": lambda: _text("Canine", max_position_embeddings=256),
}  # fmt: skip


def _sound(kind: str, **options: object) -> nn.Module:
    return getattr(transformers, f"{kind}Model")(getattr(transformers, f"{kind}Config")(**{**SOUND, **options}))


def _whisper() -> nn.Module:
    sizes = {"d_model": WIDTH, "encoder_layers": LAYERS, "decoder_layers": 2, "encoder_ffn_dim": 32}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "decoder_ffn_dim": 32, "vocab_size": 100}
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    return transformers.WhisperModel(transformers.WhisperConfig(**sizes, **heads, **ids))


LAYERED = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}

SOUNDS: dict[str, Callable[[], nn.Module]] = {
    "wav2vec2": lambda: _sound("Wav2Vec2"),
    "wav2vec2, layer": lambda: _sound("Wav2Vec2", **LAYERED),
    "hubert": lambda: _sound("Hubert"),
    "hubert, layer": lambda: _sound("Hubert", **LAYERED),
    "wavlm": lambda: _sound("WavLM"),
    "wavlm, layer": lambda: _sound("WavLM", **LAYERED),
    "unispeech": lambda: _sound("UniSpeech"),
    "unispeech-sat": lambda: _sound("UniSpeechSat"),
    "wav2vec2-conformer": lambda: _sound("Wav2Vec2Conformer", position_embeddings_type=None),
    "data2vec-audio": lambda: _sound("Data2VecAudio", num_conv_pos_embeddings=5, conv_pos_kernel_size=3),
    "sew": lambda: _sound("SEW", conv_dim=[WIDTH] * 13, squeeze_factor=2),
    "sew-d": lambda: _sound("SEWD", conv_dim=[WIDTH] * 13, squeeze_factor=2, feature_layer_norm_eps=1e-5),
    "whisper": _whisper,
    "audio-spectrogram-transformer": lambda: transformers.ASTModel(transformers.ASTConfig(**SIZE)),
    "wav2vec2-bert": lambda: transformers.Wav2Vec2BertModel(transformers.Wav2Vec2BertConfig(**SIZE)),
}


def saved(folder: Path, kind: str) -> str:
    """Save an encoder of a kind, its weights far from the small ones at the start, so that a leak shows."""
    torch.manual_seed(0)
    model = (TEXTS | SOUNDS)[kind]().eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    if kind in TEXTS:
        tokenizer().save_pretrained(folder)
    elif kind == "whisper":
        transformers.WhisperFeatureExtractor().save_pretrained(folder)
    elif kind == "audio-spectrogram-transformer":
        transformers.ASTFeatureExtractor().save_pretrained(folder)
    elif kind == "wav2vec2-bert":
        transformers.SeamlessM4TFeatureExtractor().save_pretrained(folder)
    else:
        layered = getattr(model.config, "feat_extract_norm", "group") == "layer"
        transformers.Wav2Vec2FeatureExtractor(return_attention_mask=layered).save_pretrained(folder)
    return str(folder)
