"""The commands that look at what is there."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

import pandas as pd

import mer_lib
from mer_lib import audit, corpora
from mer_lib.cache import require_writable, whole
from mer_lib.cli.answer import Answer, flat, path, rows
from mer_lib.corpora.base import Corpus, CorpusError

if TYPE_CHECKING:
    from typing import Any


def arguments(command: str, parser: ArgumentParser) -> None:
    """Add the options of a command."""
    if command == "export":
        parser.add_argument("what", choices=["folds"], help="ids of train, dev and test, one session held out each")
        parser.add_argument("--root", type=lambda text: str(path(text)), help="folder of a licensed corpus")
        parser.add_argument("--by", default="session", help="session, or scenario to keep scenarios apart, too")
        parser.add_argument("--out", type=path, help="file to write instead of stdout")
    if command in ("export", "ceilings"):
        parser.add_argument("--corpus", required=True)
    if command == "tables":
        parser.add_argument("results", type=path, nargs="+", help="CSV files that sweep wrote")
    if command == "audit":
        parser.add_argument("table", type=path, help=audit.COLUMNS)
        parser.add_argument("--how", choices=audit.WIDTH, default="either", help="how numbers were cut to their digits")
        parser.add_argument("--decimals", type=int, help="digits after the point; default: the most that a number has")
        parser.add_argument("--most", type=int, default=1500, help="largest size of a class to try")


def _export(asked: Namespace) -> Answer:
    from mer_lib.features.check import check_audio

    if asked.out:
        if asked.out.is_dir():
            raise ValueError(f"{asked.out} is a folder; give --out the name of a JSON file.")
        require_writable(asked.out.parent)
    asked.json = True  # it is nothing else
    answer = Answer([], data=folds(check_audio(corpora.load(asked.corpus, root=asked.root)), asked.corpus, asked.by))
    if not asked.out:
        return answer
    asked.json = False
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    with whole(asked.out) as unfinished:
        unfinished.write_text(answer.as_json() + "\n", encoding="utf-8")
    return Answer([f"{len(answer.data['folds'])} folds of {asked.corpus} are in {asked.out}."])


def folds(corpus: Corpus, name: str, by: str = "session") -> dict[str, Any]:
    """The folds of a corpus for other programs; `[Fold(**fold) for fold in found["folds"]]` gives them back.

    Args:
        corpus: Without what cannot be used (see `check_audio`), since nothing is trained or tested on that.
        name: As it was asked for, with its options.
        by: As for `Corpus.folds`.
    """
    how = "the official split" if corpus.official else "each session held out once, the next one is dev, the rest train"
    return {
        "corpus": name,
        "utterances": len(corpus),
        "left_out": len(corpus.skipped),
        "by": by,
        "how": how + ("; test has one half of the scenarios, train and dev the other" if by == "scenario" else ""),
        "speakers_disjoint": corpus.official is None,
        "fingerprint": corpus.fingerprint(),  # of the sound
        "content": corpus.content(),  # of labels, texts, speakers and turns
        "made_by": f"mer_lib {mer_lib.__version__}",
        "folds": [fold._asdict() for fold in corpus.folds(by)],
    }


def _audit(asked: Namespace) -> Answer:
    table, decimals = audit.read(asked.table)
    decimals = decimals if asked.decimals is None else asked.decimals
    if decimals < 0:
        raise ValueError(f"There are no {decimals} digits after the point; --decimals is 0 or more.")
    numbers, sentences = audit.audit(table, asked.how, decimals, asked.most)
    return Answer(sentences, data={"sentences": sentences, "numbers": rows(numbers.reset_index())})


def _ceilings(asked: Namespace) -> Answer:
    from mer_lib.ceilings import ceilings
    from mer_lib.corpora import duet

    brought = corpora.bare(asked.corpus) in corpora.BROUGHT  # has no root here, and needs none
    corpus = None if brought else corpora.load(asked.corpus)
    if corpus is None or corpus.truth is None:
        raise CorpusError(f"Nobody knows the ceilings of {asked.corpus}; they are known for {', '.join(duet.names())}.")
    return Answer(ceilings(duet.process(asked.corpus), corpus.table.join(corpus.truth)).reset_index())


def _systems(asked: Namespace) -> Answer:
    from mer_lib import systems

    return Answer(pd.DataFrame([{"name": name, "about": system.about} for name, system in systems.SYSTEMS.items()]))


def _corpora(asked: Namespace) -> Answer:
    options = [", ".join(corpora.options_of(name)) for name in corpora.names()]
    return Answer(pd.DataFrame({"name": corpora.names(), "options": options}))


def _tables(asked: Namespace) -> Answer:
    from mer_lib import experiments

    runs = experiments.named_encoders(pd.concat([experiments.read_results(path) for path in asked.results]))
    encoders = [name for name in experiments.ENCODERS if (runs[name] != "").any()]
    return Answer(flat(experiments.summary(runs, ["corpus", "variant", *encoders])))


COMMANDS = {
    "export": _export,
    "audit": _audit,
    "tables": _tables,
    "ceilings": _ceilings,
    "systems": _systems,
    "corpora": _corpora,
}
