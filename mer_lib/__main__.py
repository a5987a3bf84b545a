"""The same things from a shell: `python -m mer_lib run --corpus duet-i --system method --fold 1 --seed 0 --json`.

Results go to stdout, progress to stderr. Exit code 2 and one sentence when something was asked wrongly.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import pandas as pd

from mer_lib import conditions, control, corpora, experiments, systems
from mer_lib.ceilings import ceilings
from mer_lib.corpora import duet
from mer_lib.corpora.base import CorpusError
from mer_lib.corpora.duet.speech import SpeechError
from mer_lib.features.pretrained import ALL, Pretrained


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit code."""
    asked = _parser().parse_args(arguments)
    try:
        with redirect_stdout(sys.stderr):  # what loaders say is no part of the answer
            table = asked.command(asked)
    except (CorpusError, SpeechError, ValueError, FloatingPointError) as error:
        print(f"mer_lib: {error}", file=sys.stderr)
        return 2
    # Through object, so that an unknown end of an interval becomes null, not NaN, which is no JSON.
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    print(json.dumps(rows, indent=1) if asked.json else table.to_string(index=False))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mer_lib", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="command")

    def command(
        name: str, function: Callable[[argparse.Namespace], pd.DataFrame], about: str
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=about, description=about)
        sub.set_defaults(command=function)
        sub.add_argument("--json", action="store_true", help="print JSON instead of a table")
        return sub

    run = command("run", _run, "train one system on one fold and test it")
    many = command("sweep", _sweep, "train all variants on many folds and seeds")
    tune = command("tune", _tune, "try every row of a table with the same few learning rates, on dev only")
    when = command("conditions", _conditions, "measure when each part of the method matters, on corpora drawn anew")
    terms = command("control", _control, "measure the terms of L_sp in every epoch, trained on or not")
    limits = command("ceilings", _ceilings, "the best possible scores on a Duet corpus")
    command("systems", _systems, "list the systems")
    command("corpora", _corpora, "list the corpora")
    tables = command("tables", _tables, "print mean and 95 percent interval of finished runs")
    for sub in (run, many, tune, terms):
        sub.add_argument("--root", help="folder of a licensed corpus")
    for sub in (run, many, tune):
        for channel, usual in (("audio", "microsoft/wavlm-base-plus"), ("text", "roberta-base")):
            sub.add_argument(f"--{channel}", help=f"pretrained encoder, on the hub or in a folder, such as {usual}")
            sub.add_argument(f"--{channel}-layer", default="-1", help="its layer, or all for a learned weighted sum")
            sub.add_argument(f"--{channel}-top", type=int, default=0, help="how many of its top layers learn")
    for sub in (run, limits):
        sub.add_argument("--corpus", required=True)
    for sub in (many, tune):
        sub.add_argument("--table", choices=experiments.TABLES, default="table3", help="which rows")
    for sub in (many, tune, terms):
        sub.add_argument("--corpus", action="append", required=True)
        sub.add_argument("--jobs", type=int, help="processes, default one per core")
    for sub in (many, terms):
        sub.add_argument("--fold", type=int, action="append", help="default: all folds")
        sub.add_argument("--seeds", type=int, default=experiments.SEEDS, help="number of seeds, from 0")
    rows = f"row of a table: {', '.join(experiments.VARIANTS)}"
    run.add_argument("--system", default="method", help="with its usual options and tuned rate; or name a row")
    run.add_argument("--variant", help=f"{rows}; default: A+T")
    run.add_argument("--fold", default="1", help="number or name of the held-out session")
    run.add_argument("--seed", type=int, default=0)
    for sub in (many, tune):
        sub.add_argument("--variant", action="append", help=f"{rows}; default: those of the table")
    many.add_argument("--store", type=Path, default=Path("_build/runs"), help="folder that keeps each finished run")
    many.add_argument("--out", type=Path, required=True, help="CSV file, one row per run; runs it holds are left out")
    tune.add_argument("--store", type=Path, default=Path("_build/tuning"), help="folder that keeps each finished run")
    tune.add_argument("--out", type=Path, required=True, help="CSV file, one row per variant and rate; added to")
    terms.add_argument("--store", type=Path, default=Path("_build/control"), help="folder that keeps each training")
    terms.add_argument("--out", type=Path, required=True, help="CSV file, a row per epoch; runs it holds are left out")
    when.add_argument("--condition", action="append", help=f"default all: {'; '.join(conditions.CONDITIONS)}")
    when.add_argument("--draws", type=int, default=conditions.PLANNED, help="number of corpora to draw, from 1")
    when.add_argument("--seeds", type=int, default=1, help="number of seeds per draw, from 0")
    when.add_argument("--jobs", type=int, help="processes, default one per core")
    when.add_argument("--home", type=Path, default=Path("_build/draws"), help="folder that keeps the drawn corpora")
    when.add_argument("--store", type=Path, default=Path("_build/conditions"), help="folder that keeps each training")
    when.add_argument(
        "--out",
        type=Path,
        required=True,
        help="CSV file, a row per condition and training; draws it holds are left out",
    )
    tables.add_argument("results", type=Path, nargs="+", help="CSV files that sweep wrote")
    return parser


def _run(asked: argparse.Namespace) -> pd.DataFrame:
    systems.require(asked.system)
    number = corpora.load(asked.corpus, root=asked.root).fold_number(asked.fold)
    audio, text = _encoder(asked, "audio"), _encoder(asked, "text")
    row = next((v for v, o in experiments.VARIANTS.items() if o == {"system": asked.system}), "A+T")  # has its rate
    variant = asked.variant or row
    (run,) = experiments.grid(asked.corpus, [variant], [number], [asked.seed], asked.root, audio=audio, text=text)
    if asked.system != "method":
        if asked.variant:
            raise ValueError(f"Give --variant {asked.variant!r} or --system {asked.system!r}, not both.")
        run = replace(run, system=asked.system, variant=asked.system, options=())
    return pd.DataFrame([experiments.execute(run)])


def _encoder(asked: argparse.Namespace, channel: str) -> Pretrained | None:
    name, layer, top = (getattr(asked, channel + end) for end in ("", "_layer", "_top"))
    if name is None:
        return None
    return Pretrained(name, layer if layer == ALL else _number(layer), top)


def _number(layer: str) -> int:
    try:
        return int(layer)
    except ValueError:
        raise ValueError(f"A layer is a number or {ALL!r}, not {layer!r}.") from None


def _can_write(out: Path) -> None:
    """Raise a ValueError before hours are spent on rows that would have no place."""
    if out.is_dir():
        raise ValueError(f"{out} is a folder; give --out the name of a CSV file.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{out} cannot be written ({error.strerror}); choose another --out.") from None


def _sweep(asked: argparse.Namespace) -> pd.DataFrame:
    _can_write(asked.out)
    variants = asked.variant or experiments.TABLES[asked.table]
    audio, text = _encoder(asked, "audio"), _encoder(asked, "text")
    runs = [
        run
        for corpus in asked.corpus
        for run in experiments.grid(
            corpus, variants, asked.fold, range(asked.seeds), asked.root, audio=audio, text=text
        )
    ]
    known = set(experiments.read_results(asked.out)["key"]) if asked.out.is_file() else set()
    new = [run for run in runs if run.key() not in known]
    if new:
        experiments.keep_results(experiments.sweep(new, asked.store, asked.jobs), asked.out)
    results = experiments.read_results(asked.out)
    return _flat(experiments.summary(results[results["key"].isin([run.key() for run in runs])]))


def _tune(asked: argparse.Namespace) -> pd.DataFrame:
    _can_write(asked.out)
    runs = [
        run
        for corpus in asked.corpus
        for run in experiments.tuning(corpus, asked.variant or experiments.TABLES[asked.table], root=asked.root)
    ]
    found = pd.DataFrame(experiments.complete(runs, experiments.tried, asked.store, asked.jobs))
    experiments.keep_results(found, asked.out, ["corpus", "variant", "rate"])
    return found[["corpus", "variant", "rate", "dev_ua", "epoch"]].round(4)


def _conditions(asked: argparse.Namespace) -> pd.DataFrame:
    _can_write(asked.out)
    names, draws = asked.condition or list(conditions.CONDITIONS), range(1, asked.draws + 1)
    known = conditions.held(experiments.read_results(asked.out), names, asked.seeds) if asked.out.is_file() else set()
    todo = [draw for draw in draws if draw not in known]
    if todo or not draws:  # `trials` says what is wrong with none
        trials = conditions.trials(names, todo, asked.seeds, asked.home, asked.jobs or 2)
        experiments.keep_results(conditions.sweep(trials, asked.store, asked.jobs), asked.out, conditions.ROW)
    results = experiments.read_results(asked.out)
    results = results[results["condition"].isin(names) & results["draw"].isin(draws) & (results["seed"] < asked.seeds)]
    if asked.draws > 1:
        return conditions.verdicts(results).round(3).reset_index()
    return results.groupby(["condition", "variant"], sort=False)["ua"].mean().round(2).reset_index()


def _control(asked: argparse.Namespace) -> pd.DataFrame:
    _can_write(asked.out)
    runs = [
        run
        for corpus in asked.corpus
        for run in experiments.grid(corpus, control.VARIANTS, asked.fold, range(asked.seeds), asked.root)
    ]
    known = set(experiments.read_results(asked.out, ["key"])["key"]) if asked.out.is_file() else set()
    new = [run for run in runs if run.key() not in known]
    if new:
        rows = [row for rows in experiments.complete(new, control.follow, asked.store, asked.jobs) for row in rows]
        experiments.keep_results(pd.DataFrame(rows), asked.out, control.ROW)
    results = experiments.read_results(asked.out, ["key"])
    results = results[results["key"].isin([run.key() for run in runs])]
    last = results.groupby(experiments.RUN, sort=False).tail(1)
    return last.drop(columns="key").round(3)


def _ceilings(asked: argparse.Namespace) -> pd.DataFrame:
    brought = corpora.bare(asked.corpus) in corpora.BROUGHT  # has no root here, and needs none
    corpus = None if brought else corpora.load(asked.corpus)
    if corpus is None or corpus.truth is None:
        raise CorpusError(f"Nobody knows the ceilings of {asked.corpus}; they are known for {', '.join(duet.names())}.")
    return ceilings(duet.process(asked.corpus), corpus.table.join(corpus.truth)).reset_index()


def _systems(asked: argparse.Namespace) -> pd.DataFrame:
    return pd.DataFrame([{"name": name, "about": system.about} for name, system in systems.SYSTEMS.items()])


def _corpora(asked: argparse.Namespace) -> pd.DataFrame:
    options = [", ".join(corpora.options_of(name)) for name in corpora.names()]
    return pd.DataFrame({"name": corpora.names(), "options": options})


def _tables(asked: argparse.Namespace) -> pd.DataFrame:
    return _flat(experiments.summary(pd.concat([experiments.read_results(path) for path in asked.results])))


def _flat(table: pd.DataFrame) -> pd.DataFrame:
    table = table.round(2)
    table.columns = ["_".join(column) for column in table.columns]
    return table.reset_index()


if __name__ == "__main__":
    sys.exit(main())
