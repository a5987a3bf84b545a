"""Tiny pretrained encoders with random weights, for the whole book to run on.

    python tests/checkpoints.py FOLDER        writes FOLDER/speech (wav2vec 2.0) and FOLDER/text (BERT)

They have learned nothing; they show that every table, figure and sentence of the book can be made with encoders.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from mer_lib._torchaudio import torchaudio  # first: transformers imports it, and beside a CPU build it needs help
from mer_lib.corpora import duet

assert torchaudio
WIDTH, LAYERS = 32, 3


def speech(folder: Path) -> Path:
    """Save an encoder of speech with one state every 20 ms."""
    import transformers

    torch.manual_seed(0)
    config = transformers.Wav2Vec2Config(
        hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=2, intermediate_size=2 * WIDTH,
        conv_dim=[16] * 7, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2, initializer_range=0.2,
    )  # fmt: skip
    transformers.Wav2Vec2Model(config).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False).save_pretrained(folder)
    return folder


def text(folder: Path) -> Path:
    """Save an encoder of text whose vocabulary is the letters and frequent words of Duet."""
    import transformers

    torch.manual_seed(0)
    words = duet.load("duet-i").table["text"].str.lower().str.findall(r"[a-z]+").explode()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    known = [*special, *"'.,?!;-", *letters, *(f"##{letter}" for letter in letters)]
    known += [word for word in words.value_counts().index[:500] if word not in known]
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(known)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    config = transformers.BertConfig(
        vocab_size=len(known), hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=2,
        intermediate_size=2 * WIDTH, max_position_embeddings=130, pad_token_id=0, initializer_range=0.2,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(folder)
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)
    return folder


if __name__ == "__main__":
    home = Path(sys.argv[1])
    speech(home / "speech")
    text(home / "text")
