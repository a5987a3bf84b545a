"""The commands that train."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from mer_lib import corpora, experiments
from mer_lib.cache import cache_folder, require_writable
from mer_lib.cli.answer import Answer, flat, path

if TYPE_CHECKING:
    from mer_lib.features.pretrained import Pretrained


def arguments(command: str, parser: ArgumentParser) -> None:
    """Add the options of a command."""
    if command != "conditions":
        parser.add_argument("--root", type=lambda text: str(path(text)), help="folder of a licensed corpus")
    if command in ("run", "sweep", "tune"):
        encoders(parser, "")
    if command == "run":
        rows = f"row of a table: {', '.join(experiments.VARIANTS)}"
        parser.add_argument("--corpus", required=True)
        parser.add_argument("--system", default="method", help="with its usual options and tuned rate; or name a row")
        parser.add_argument("--variant", help=f"{rows}; default: A+T")
        parser.add_argument("--fold", default="1", help="number or name of the held-out session")
        parser.add_argument("--seed", type=int, default=0)
        return
    if command in ("sweep", "tune"):
        rows = f"row of a table: {', '.join(experiments.VARIANTS)}; default: those of the table"
        parser.add_argument("--table", choices=experiments.TABLES, default="table3", help="which rows")
        parser.add_argument("--variant", action="append", help=rows)
    if command in ("sweep", "control"):
        parser.add_argument("--fold", type=int, action="append", help="default: all folds")
        parser.add_argument("--seeds", type=int, default=experiments.SEEDS, help="number of seeds, from 0")
    if command == "conditions":
        from mer_lib import conditions

        names = f"default all: {'; '.join(conditions.CONDITIONS)}"
        parser.add_argument("--condition", action="append", help=names)
        parser.add_argument("--draws", type=int, default=conditions.PLANNED, help="number of corpora to draw, from 1")
        parser.add_argument("--seeds", type=int, default=1, help="number of seeds per draw, from 0")
        place = "folder that keeps the drawn corpora"
        parser.add_argument("--home", type=path, default=Path("_build/draws"), help=place)
    else:
        parser.add_argument("--corpus", action="append", required=True)
    store, row = {
        "sweep": ("_build/runs", "one row per run; runs it holds are left out"),
        "tune": ("_build/tuning", "one row per variant and rate; added to"),
        "control": ("_build/control", "a row per epoch; runs it holds are left out"),
        "conditions": ("_build/conditions", "a row per condition and training; draws it holds are left out"),
    }[command]
    parser.add_argument("--jobs", type=int, help="processes, default one per core")
    parser.add_argument("--store", type=path, default=Path(store), help="folder that keeps each finished training")
    parser.add_argument("--out", type=path, required=True, help=f"CSV file, {row}")


def encoders(parser: ArgumentParser, ending: str) -> None:
    """Add the options that name pretrained encoders, such as `--audio`, or `--audio-encoder` with an ending."""
    for channel, usual in (("audio", "microsoft/wavlm-base-plus?layer=all"), ("text", "roberta-base?layer=8&top=2")):
        about = (
            f"pretrained encoder, on the hub or in a folder, its layer and how many top layers learn, such as {usual}"
        )
        parser.add_argument(f"--{channel}{ending}", dest=f"{channel}_encoder", help=about)


def encoder(asked: Namespace, channel: str) -> Pretrained | None:
    """The encoder that was asked for."""
    return experiments.encoder(getattr(asked, f"{channel}_encoder"))


def _require_places(asked: Namespace) -> None:
    """Try all places that will be written, before hours are spent on what would have no place."""
    if asked.out.is_dir():
        raise ValueError(f"{asked.out} is a folder; give --out the name of a CSV file.")
    for folder in (asked.out.parent, asked.store, cache_folder()):
        require_writable(folder)


def _completed(work: Callable[[], Sequence[Any]]) -> tuple[list[Any], list[experiments.Failure]]:
    """The results of many tasks, and those tasks that failed."""
    try:
        return list(work()), []
    except experiments.IncompleteError as error:
        return error.results, error.failures


def _problems(failures: Sequence[experiments.Failure]) -> list[str]:
    told = [f"{failure.task} failed: {failure.reason}" for failure in failures]
    again = "What failed is no row of the results; run the same again to try it once more. The rest is kept."
    return [*told, again] if told else []


def _run(asked: Namespace) -> Answer:
    from mer_lib import systems

    require_writable(cache_folder())
    systems.require(asked.system)
    number = corpora.load(asked.corpus, root=asked.root).fold_number(asked.fold)
    audio, text = encoder(asked, "audio"), encoder(asked, "text")
    row = next((v for v, o in experiments.VARIANTS.items() if o == {"system": asked.system}), "A+T")  # has its rate
    variant = asked.variant or row
    (run,) = experiments.grid(asked.corpus, [variant], [number], [asked.seed], asked.root, audio=audio, text=text)
    if asked.system != "method":
        if asked.variant:
            raise ValueError(f"Give --variant {asked.variant!r} or --system {asked.system!r}, not both.")
        run = replace(run, system=asked.system, variant=asked.system, options=())
    return Answer(pd.DataFrame([experiments.execute(run)]))


def _sweep(asked: Namespace) -> Answer:
    _require_places(asked)
    variants = asked.variant or experiments.TABLES[asked.table]
    audio, text = encoder(asked, "audio"), encoder(asked, "text")
    runs = [
        run
        for corpus in asked.corpus
        for run in experiments.grid(
            corpus, variants, asked.fold, range(asked.seeds), asked.root, audio=audio, text=text
        )
    ]
    known = set(experiments.read_results(asked.out)["key"]) if asked.out.is_file() else set()
    rows = pd.DataFrame([{"corpus": run.corpus, "variant": run.variant, "key": run.key()} for run in runs])
    new = [run for run, key in zip(runs, rows["key"], strict=True) if key not in known]
    todo = {run.key() for run in new if not experiments.kept(run, asked.store).exists()}
    found, failures = _completed(lambda: experiments.complete(new, experiments.execute, asked.store, asked.jobs))
    if found:
        experiments.keep_results(pd.DataFrame(found), asked.out)
    failed = {failure.key for failure in failures}
    rows["state"] = [("failed" if k in failed else "done") if k in todo else "kept" for k in rows["key"]]
    counts = pd.crosstab([rows["corpus"], rows["variant"]], rows["state"])
    counts = counts.reindex(columns=["done", "kept", "failed"], fill_value=0)
    order = rows[["corpus", "variant"]].drop_duplicates()
    if len(failed) == len(runs):
        return Answer(order.merge(counts.reset_index()), _problems(failures))
    results = experiments.read_results(asked.out)
    table = flat(experiments.summary(results[results["key"].isin(rows["key"])]))
    return Answer(order.merge(table, how="left").merge(counts.reset_index()), _problems(failures))


def _tune(asked: Namespace) -> Answer:
    _require_places(asked)
    audio, text = encoder(asked, "audio"), encoder(asked, "text")
    runs = [
        run
        for corpus in asked.corpus
        for run in experiments.tuning(corpus, asked.variant or experiments.TABLES[asked.table], asked.root, audio, text)
    ]
    done, failures = _completed(lambda: experiments.complete(runs, experiments.tried, asked.store, asked.jobs))
    found = pd.DataFrame(done, columns=None if done else ["corpus", "variant", "rate", "dev_ua", "epoch"])
    if done:
        experiments.keep_results(found, asked.out, ["corpus", "variant", "rate", *experiments.ENCODERS])
    return Answer(found[["corpus", "variant", "rate", "dev_ua", "epoch"]].round(4), _problems(failures))


def _conditions(asked: Namespace) -> Answer:
    from mer_lib import conditions

    _require_places(asked)
    require_writable(asked.home)
    names, draws = asked.condition or list(conditions.CONDITIONS), range(1, asked.draws + 1)
    failures: list[experiments.Failure] = []
    known = conditions.held(experiments.read_results(asked.out), names, asked.seeds) if asked.out.is_file() else set()
    todo = [draw for draw in draws if draw not in known]
    if todo or not draws:  # `trials` says what is wrong with none
        trials = conditions.trials(names, todo, asked.seeds, asked.home, asked.jobs or 2)
        done, failures = _completed(lambda: experiments.complete(trials, conditions.execute, asked.store, asked.jobs))
        if done:
            found = pd.DataFrame([row for rows in done for row in rows])
            experiments.keep_results(found, asked.out, conditions.ROW)
    if not asked.out.is_file():  # nothing worked
        return Answer([], _problems(failures), [])
    results = experiments.read_results(asked.out)
    results = results[results["condition"].isin(names) & results["draw"].isin(draws) & (results["seed"] < asked.seeds)]
    if asked.draws > 1:
        return Answer(conditions.verdicts(results).round(3).reset_index(), _problems(failures))
    table = results.groupby(["condition", "variant"], sort=False)["ua"].mean().round(2).reset_index()
    return Answer(table, _problems(failures))


def _control(asked: Namespace) -> Answer:
    from mer_lib import control

    _require_places(asked)
    runs = [
        run
        for corpus in asked.corpus
        for run in experiments.grid(corpus, control.VARIANTS, asked.fold, range(asked.seeds), asked.root)
    ]
    known = set(experiments.read_results(asked.out, ["key"])["key"]) if asked.out.is_file() else set()
    new = [run for run in runs if run.key() not in known]
    done, failures = _completed(lambda: experiments.complete(new, control.follow, asked.store, asked.jobs))
    if done:
        found = pd.DataFrame([row for rows in done for row in rows])
        experiments.keep_results(found, asked.out, control.ROW)
    if not asked.out.is_file():
        return Answer([], _problems(failures), [])
    results = experiments.read_results(asked.out, ["key"])
    results = results[results["key"].isin([run.key() for run in runs])]
    last = results.groupby(experiments.RUN, sort=False).tail(1)
    return Answer(last.drop(columns="key").round(3), _problems(failures))


COMMANDS = {"run": _run, "sweep": _sweep, "tune": _tune, "conditions": _conditions, "control": _control}
