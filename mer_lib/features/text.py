"""From a text to ids: a word tokenizer, and word vectors learned from unlabelled sentences.

The vectors are positive pointwise mutual information, shrunk by a singular value decomposition (Levy &
Goldberg 2014): words that keep the same company lie close together. Shown in chapter 05.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix
from sklearn.decomposition import TruncatedSVD
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from mer_lib.cache import cached, digest

UNKNOWN = "[UNK]"
_WORD = Regex(r"[\w']+")  # "couldn't" is one word, so that a negation stays visible


@dataclass
class WordVectors:
    """A vocabulary and one vector per word.

    Attributes:
        tokenizer: Lower-cases, splits at spaces and punctuation, and looks words up.
        vectors: float32, (vocabulary, dimensions); the first row belongs to unknown words.
    """

    tokenizer: Tokenizer
    vectors: np.ndarray

    @property
    def words(self) -> list[str]:
        """The word of each row of `vectors`."""
        return [str(self.tokenizer.id_to_token(row)) for row in range(len(self.vectors))]

    def encode(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the ids of a text's words, (time,), and where each begins and ends, (time, 2), from 0 to 1.

        A text without any word becomes one unknown word, so that no sequence is empty.
        """
        encoding = self.tokenizer.encode(text)
        if not encoding.ids:
            return np.zeros(1, dtype=np.int64), np.array([[0.0, 1.0]], dtype=np.float32)
        return np.array(encoding.ids), np.array(encoding.offsets, dtype=np.float32) / len(text)

    def nearest(self, word: str, count: int = 5) -> list[str]:
        """Return the words whose vectors point most nearly the same way.

        Raises:
            ValueError: If the word is not in the vocabulary.
        """
        index = self.tokenizer.token_to_id(word)
        if index is None:
            raise ValueError(
                f"The vocabulary has no word {word!r}; its words are lower case and were seen in training."
            )
        unit = self.vectors / np.maximum(np.linalg.norm(self.vectors, axis=1, keepdims=True), 1e-9)
        order = np.argsort(-(unit @ unit[index]), kind="stable")
        return [str(self.tokenizer.id_to_token(int(i))) for i in order if i != index][:count]


def word_vectors(sentences: Sequence[str], dimensions: int = 64, window: int = 5, min_count: int = 5) -> WordVectors:
    """Learn a vocabulary and word vectors from unlabelled sentences; cached.

    Args:
        sentences: One string each.
        dimensions: Length of a vector.
        window: How many words to the left and right count as company.
        min_count: Rarer words become unknown.

    Returns:
        The same vectors for the same sentences, always.

    Raises:
        ValueError: If no word occurs often enough.
    """
    tokenizer = _tokenizer(sentences, min_count)
    if tokenizer.get_vocab_size() < 3:
        raise ValueError(
            f"No word occurs {min_count} times in {len(sentences)} sentences; give more, or lower min_count."
        )
    key = f"{digest(*sentences)} {dimensions} {window} {min_count} {json.dumps(tokenizer.get_vocab(), sort_keys=True)}"
    stored = cached("word-vectors", key, lambda: {"vectors": _vectors(tokenizer, sentences, dimensions, window)})
    return WordVectors(tokenizer, stored["vectors"])


def _tokenizer(sentences: Sequence[str], min_count: int) -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    straight = normalizers.Replace("\u2019", "'")  # MELD writes couldn't with either sign
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), straight, normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(_WORD, "removed", invert=True)
    trainer = trainers.WordLevelTrainer(min_frequency=min_count, special_tokens=[UNKNOWN], show_progress=False)
    tokenizer.train_from_iterator(sentences, trainer)
    return tokenizer


def _vectors(tokenizer: Tokenizer, sentences: Sequence[str], dimensions: int, window: int) -> np.ndarray:
    counts = _company([encoding.ids for encoding in tokenizer.encode_batch(list(sentences))], window, tokenizer)
    shifted = ppmi(counts)
    size = min(dimensions, min(shifted.shape) - 1)
    # Not by ARPACK, whose restarts are random whatever the seed.
    vectors = TruncatedSVD(size, n_iter=10, random_state=0).fit_transform(shifted)
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1).mean(), 1e-9)
    vectors[0] = 0.0  # an unknown word keeps no company
    padded = np.zeros((len(vectors), dimensions), dtype=np.float32)
    padded[:, :size] = vectors
    return padded


def _company(sentences: list[list[int]], window: int, tokenizer: Tokenizer) -> csr_matrix:
    """Count how often two words stand within `window` words of each other, (vocabulary, vocabulary)."""
    stream = np.concatenate([np.array([*ids, *[-1] * window]) for ids in sentences])
    size = tokenizer.get_vocab_size()
    counts = csr_matrix((size, size))
    for apart in range(1, window + 1):
        left, right = stream[:-apart], stream[apart:]
        inside = (left > 0) & (right > 0)
        pairs = coo_matrix((np.ones(inside.sum()), (left[inside], right[inside])), shape=(size, size)).tocsr()
        counts = counts + pairs + pairs.T
    return counts


def ppmi(counts: csr_matrix) -> csr_matrix:
    """Positive pointwise mutual information of a table of counts: max(0, log p(i, j) / p(i) p(j)).

    Source: Church & Hanks (1990); context probabilities to the power 0.75 as in Levy et al. (2015).
    """
    table = counts.tocoo()
    rows = np.asarray(counts.sum(axis=1)).ravel()
    context = np.asarray(counts.sum(axis=0)).ravel() ** 0.75
    context = context / context.sum()
    values = np.log(table.data / (rows[table.row] * context[table.col]))
    kept = values > 0
    return csr_matrix((values[kept], (table.row[kept], table.col[kept])), shape=counts.shape)
