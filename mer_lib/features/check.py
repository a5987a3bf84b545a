"""Which sounds of a corpus can be used: all are read once, before hours are spent on features."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from mer_lib.cache import cached
from mer_lib.corpora.base import Corpus, CorpusError
from mer_lib.corpora.reading import LOUDEST, SHORTEST, SILENCE, Skip, say_left_out
from mer_lib.progress import progress


def check_audio(corpus: Corpus, jobs: int | None = None) -> Corpus:
    """Leave out the utterances whose sound cannot be used, and print how many and why.

    Every sound is read once; the answer is kept in the cache until a sound file changes.

    Args:
        corpus: Any corpus; one that is not `fallible` is returned as it is, unread.
        jobs: Threads to use; by default one per core.

    Returns:
        The corpus without them, no longer `fallible`; `skipped` says which and why.

    Raises:
        CorpusError: If no sound can be used.
    """
    if not corpus.fallible:
        return corpus
    unusable = _unusable(corpus, jobs)
    if len(unusable) == len(corpus):
        raise CorpusError(
            f"None of the {len(corpus)} sounds of {corpus.name} can be used: {unusable[0][0]} {unusable[0][2]}."
            " Restore the sound files."
        )
    found = pd.DataFrame(unusable, columns=list(Skip._fields))
    say_left_out(f"{corpus.name}, sounds read", len(corpus) - len(found), found)
    table = corpus.table.drop(index=found["what"])
    return replace(corpus, table=table, skipped=pd.concat([corpus.skipped, found], ignore_index=True), fallible=False)


def _unusable(corpus: Corpus, jobs: int | None) -> list[Skip]:
    def read_all() -> dict[str, np.ndarray]:
        # Threads, since reading and resampling leave the interpreter free, and nothing needs to be sent.
        reasons = Parallel(jobs or -1, prefer="threads", return_as="generator")(
            delayed(_why_unusable)(corpus, utterance) for utterance in corpus.table["id"]
        )
        told = progress(reasons, f"looking at the sounds of {corpus.name}", len(corpus))
        rows = zip(corpus.table["id"], corpus.table["audio"], told, strict=True)
        found = json.dumps([row for row in rows if row[2]]).encode()
        return {"found": np.frombuffer(found, dtype=np.uint8).copy()}

    limits = f"{SHORTEST} {SILENCE} {LOUDEST}"
    stored = cached(f"sounds-{corpus.name}", f"{corpus.fingerprint()} {limits}", read_all)["found"]
    return [Skip(*row) for row in json.loads(stored.tobytes())]


def _why_unusable(corpus: Corpus, utterance: str) -> str:
    """Why a sound cannot be used, or nothing."""
    try:
        corpus.waveform(utterance)
    except CorpusError as error:
        return getattr(error, "why", str(error))
    except Exception as error:  # whatever a reader's own loader lets through
        return f"cannot be read ({error or type(error).__name__})"
    return ""
