"""Trees of released corpora, damaged at random: what can be read is read, and nothing vanishes in silence.

MER_LIB_DAMAGES=5000 in the environment damages each tree so often.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import trees

from mer_lib import corpora
from mer_lib.corpora import meld
from mer_lib.corpora.base import Corpus, CorpusError
from mer_lib.features import check_audio

TIMES = int(os.environ.get("MER_LIB_DAMAGES", "100"))

MADE = {
    "iemocap": lambda root: trees.iemocap(root, seconds=0.15),
    "msp-improv": lambda root: trees.msp_improv(root, seconds=0.15),
    "meld": lambda root: trees.meld(root, each=4, seconds=0.15, videos=False),
}


class TookForEverError(BaseException):
    """No Exception, so that nothing takes it for a file's fault."""


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Stop what waits for ever, as reading a pipe would."""

    def stop(*_: object) -> None:
        raise TookForEverError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def vanished(before: Corpus, after: Corpus) -> list[str]:
    """Ids that are neither in the table nor in any row of what was left out; a row for a missing session is enough."""
    rows = [f"{what} {where}" for what, where in zip(after.skipped["what"], after.skipped["where"], strict=True)]
    halves = set(after.skipped["what"][after.skipped["why"].str.endswith("half an archive")])
    lost = before.table.drop(index=after.table.index, errors="ignore")
    return [
        name
        for name, session in zip(lost["id"], lost["session"], strict=True)
        if f"Session{session[1:]}" not in halves and not any(_tells(row, name, session) for row in rows)
    ]


def _tells(row: str, name: str, session: str) -> bool:
    """Whether a row is of an utterance: by its id, or by that of its label (MSP-IMPROV) or its clip (MELD)."""
    clip = name.removeprefix(f"{session}_")
    own = rf"{name}(?!\d)|{name.replace('MSP-', 'UTD-')}(?!\d)"
    return bool(re.search(own, row) or (clip != name and re.search(rf"{clip}(?!\d).*{meld.CLIPS[session]}", row)))


@pytest.mark.parametrize("name", MADE)
def test_whatever_is_damaged_a_corpus_is_read_or_refused_in_a_sentence_and_every_loss_is_listed(
    name: str, tmp_path: Path, cache: Path
) -> None:
    whole = MADE[name](tmp_path / "whole")
    before = corpora.load(name, whole)
    read = 0
    for number in range(TIMES):
        rng = np.random.default_rng(number)
        root = shutil.copytree(whole, tmp_path / "damaged", copy_function=os.link)
        done = [trees.harm(root, rng) for _ in range(rng.integers(1, 4))]
        try:
            with at_most(20):
                after = corpora.load(name, root)
                heard = check_audio(after, 1)
        except CorpusError as error:
            told = str(error)
        except BaseException as error:
            raise AssertionError(f"{number}: {done} ends in {type(error).__name__}: {error}") from error
        else:
            read += 1
            told = heard.skipped.to_csv() + heard.repaired.to_csv() + heard.fingerprint()
            assert vanished(before, after) == vanished(before, heard) == [], f"{number}: {done}"
            assert all(heard.skipped["why"])
            assert (heard.table["start"] < heard.table["end"]).all()
        assert told.encode(), f"{number}: {done}"
        for path in (root, *root.rglob("*")):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)
        shutil.rmtree(root)
        shutil.rmtree(cache, ignore_errors=True)
    assert read > TIMES / 4, "most damage is no reason to refuse a corpus"
