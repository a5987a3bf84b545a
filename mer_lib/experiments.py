"""From a grid of runs to a table of results, one row per run."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError

import mer_lib
from mer_lib import corpora
from mer_lib.cache import cached, digest, locked, require_writable, whole
from mer_lib.corpora.base import Corpus
from mer_lib.errors import during, sentence
from mer_lib.features.check import check_audio
from mer_lib.metrics import adjusted, mean_interval, scores
from mer_lib.progress import progress
from mer_lib.settings import TrainingConfig
from mer_lib.shipped import folder

# What needs torch is imported by the functions that train: who only reads results does not wait for it.
if TYPE_CHECKING:
    from torch import nn

    from mer_lib.features.batches import Prepared
    from mer_lib.features.pretrained import Pretrained
    from mer_lib.training import Trained

PROFILES = ("fast", "full")

RUN = ["corpus", "variant", "fold", "seed"]
"""Columns that name a run within the record of one pair of encoders."""

ENCODERS = ["audio", "text"]
"""Columns that name the pretrained encoders of a run; empty for the book's own features."""


def _by_channel(name: str, system: str, **options: Any) -> dict[str, dict[str, Any]]:
    """The rows of one system that hears only, reads only, or does both."""
    channels = {"A": ("audio",), "T": ("text",), "A+T": ("audio", "text")}
    return {f"{name}: {c}": {"system": system, "modalities": m, **options} for c, m in channels.items()}


VARIANTS: dict[str, dict[str, Any]] = {
    "A": {"modalities": ("audio",)},
    "T": {"modalities": ("text",)},
    "A+T (w/o L_ua)": {"beta": 0.0},
    "A+T": {},
    "A+T (w/o attention)": {"attention": False},
    "A+T (w/o L_sp)": {"alpha": 0.0},
    "A+T (w/o attention, L_sp)": {"attention": False, "alpha": 0.0},
    "A+T (w/o attention, L_ua)": {"attention": False, "beta": 0.0},
    "A+T (w/o L_sp, L_ua)": {"alpha": 0.0, "beta": 0.0},
    "A+T (w/o attention, L_sp, L_ua)": {"attention": False, "alpha": 0.0, "beta": 0.0},
    "Bi-LSTM (w/o L_ua)": {"encoder": "lstm", "attention": False, "alpha": 0.0, "beta": 0.0},
    "Bi-LSTM": {"encoder": "lstm", "attention": False, "alpha": 0.0},
    "Bi-GRU (w/o L_ua)": {"encoder": "gru", "attention": False, "alpha": 0.0, "beta": 0.0},
    "Bi-GRU": {"encoder": "gru", "attention": False, "alpha": 0.0},
    "A+T (alpha = 0.01)": {"alpha": 0.01},
    "A+T (alpha = 1)": {"alpha": 1.0},
    "A+T (beta = 0.1)": {"beta": 0.1},
    "A+T (beta = 2)": {"beta": 2.0},
    "A+T (w/o alignment)": {"alignment": "none"},
    "bc-LSTM": {"system": "bc-lstm"},
    "CATF-LSTM": {"system": "catf-lstm"},
    "Lian 2019": {"system": "lian-2019"},
    "DANN": {"system": "dann"},
    "CONSK-GCN": {"system": "consk-gcn"},
    "Wu 2021": {"system": "wu-2021"},
    "Dutta 2022": {"system": "dutta-2022"},
    "MER-HAN": {"system": "mer-han"},
    "Maji 2023": {"system": "maji-2023"},
    **_by_channel("MCTN", "mctn"),
    **_by_channel("MMIN", "mmin"),
    **_by_channel("plain Bi-LSTM", "recurrent", cell="lstm"),
    **_by_channel("plain GRU", "recurrent", bidirectional=False),
    **_by_channel("plain Bi-GRU", "recurrent"),
    "majority": {"system": "majority"},
    "logistic regression": {"system": "logistic"},
    "early fusion": {"system": "early"},
    "late fusion (average)": {"system": "late"},
    "late fusion (learned)": {"system": "late", "combine": "learned"},
    "gated fusion": {"system": "gated"},
    "LMF": {"system": "lmf"},
    "MISA": {"system": "misa"},
}
"""The rows of the tables: a system (the method where none is named) and its options; where an option is not named it
has its usual value."""

PARTS: dict[str, tuple[str, Any]] = {"attention": ("attention", False), "L_sp": ("alpha", 0.0), "L_ua": ("beta", 0.0)}
"""The method's three parts, and the option that takes each of them away."""

TABLES = {
    "table3": ("A", "T", "A+T (w/o L_ua)", "A+T"),
    "table6": ("A+T", "A+T (w/o attention)", "A+T (w/o attention, L_sp)", "A+T (w/o attention, L_sp, L_ua)"),
    "table7": ("Bi-LSTM (w/o L_ua)", "Bi-LSTM", "Bi-GRU (w/o L_ua)", "Bi-GRU", "A+T (w/o L_ua)", "A+T"),
    "parts": tuple(name for name, options in VARIANTS.items() if set(options.items()) <= set(PARTS.values())),
    "weights": (
        "A+T (w/o L_sp)", "A+T (alpha = 0.01)", "A+T", "A+T (alpha = 1)",
        "A+T (w/o L_ua)", "A+T (beta = 0.1)", "A+T (beta = 2)",
    ),
    "alignment": ("A+T", "A+T (w/o alignment)", "A+T (w/o attention)"),
    "table4": (
        "bc-LSTM", "CATF-LSTM", "Lian 2019", "DANN", "CONSK-GCN", "Wu 2021", "Dutta 2022", "MER-HAN", "Maji 2023",
        "A", "T", "A+T",
    ),
    "table5": (
        *(name for name in VARIANTS if name.startswith(("MCTN", "MMIN", "plain"))),
        "A", "T", "A+T",
    ),
    "baselines": (
        "majority", "logistic regression", "early fusion", "late fusion (average)", "late fusion (learned)",
        "gated fusion", "LMF", "MISA", "A+T",
    ),
}  # fmt: skip
"""Which rows a table has: the deck's Tables 3 to 7; all eight combinations of the three parts; other weights of
the two losses (alpha of L_sp: 0, 0.01, 0.1, 1; beta of L_ua: 0, 0.1, 0.5, 2; `A+T` has 0.1 and 0.5); attention
with its prior on alignment, without it, and none; and the baselines that any reader asks for."""


SEEDS = 5
"""Seeds of every row in the full profile (our choice)."""

RATES = (1e-3, 2e-3, 4e-3, 8e-3)
"""Learning rates that every system is tried with: the whole of its tuning (our choice)."""


@dataclass(frozen=True)
class Run:
    """One training: what, on what, and with which luck.

    Attributes:
        corpus: Name of the corpus.
        fold: Number of the held-out session, from 1.
        seed: Draws the initial weights, the order of the batches and the dropout.
        variant: Name of the row it belongs to.
        system: Name of the system.
        options: Fields of the system's config, as sorted pairs.
        root: Folder of a licensed corpus; None for Duet.
        training: How to train.
        audio: Pretrained encoder of speech; None for the frames of chapter 04.
        text: Pretrained encoder of text; None for the word vectors of chapter 05.
    """

    corpus: str
    fold: int
    seed: int
    variant: str = "A+T"
    system: str = "method"
    options: tuple[tuple[str, Any], ...] = ()
    root: str | None = None
    training: TrainingConfig = field(default_factory=TrainingConfig)
    audio: Pretrained | None = None
    text: Pretrained | None = None

    def __str__(self) -> str:
        return f"{self.variant} on {self.corpus}, fold {self.fold}, seed {self.seed}"

    @property
    def pretrained(self) -> dict[str, Pretrained]:
        """Modality to its pretrained encoder."""
        return {m: encoder for m, encoder in (("audio", self.audio), ("text", self.text)) if encoder}

    def key(self) -> str:
        """A short name that changes with every setting and with the data; a change of the code it does not see."""
        asked, corpus = asdict(self) | {"root": None}, _corpus(self.corpus, self.root)
        for m in ("audio", "text"):  # a run without them keeps the name that it had before there were any
            del asked[m]
        encoders = [f"{m} {encoder.key()}" for m, encoder in self.pretrained.items()]
        told = [] if corpus.truth is not None else [corpus.content()]  # Duet's labels and texts come with its sound
        return digest(json.dumps(asked, sort_keys=True), corpus.fingerprint(), *encoders, *told)


@lru_cache(maxsize=3)
def _corpus(name: str, root: str | None) -> Corpus:
    with during(f"reading the corpus {name}{f' in {root}' if root else ''}"):
        return check_audio(corpora.load(name, root=root))


@lru_cache(maxsize=4)
def prepared(
    corpus: str,
    fold: int,
    root: str | None = None,
    audio: Pretrained | str | None = None,
    text: Pretrained | str | None = None,
    normalise_by: str = "speaker",
) -> Prepared:
    """One fold of a corpus as tensors; the last few stay in memory. Encoders are those of `grid`."""
    from mer_lib.features.batches import prepare

    if isinstance(audio, str) or isinstance(text, str):  # one place in memory, however an encoder is written
        return prepared(corpus, fold, root, encoder(audio), encoder(text), normalise_by)
    loaded = _corpus(corpus, root)
    return prepare(loaded, loaded.fold(fold), normalise_by, audio, text)


def encoder(asked: Pretrained | str | None) -> Pretrained | None:
    """A pretrained encoder, given itself or as one writes it, see `Pretrained.named`; None for the book's features."""
    if not isinstance(asked, str):
        return asked
    from mer_lib.features.pretrained import Pretrained

    return Pretrained.named(asked) if asked else None


def labels(audio: Pretrained | str | None, text: Pretrained | str | None) -> dict[str, str]:
    """What the columns `ENCODERS` of a run hold."""
    pair = (encoder(audio), encoder(text))
    return {name: found.label if found else "" for name, found in zip(ENCODERS, pair, strict=True)}


def fit(run: Run, normalise_by: str = "speaker") -> tuple[Trained, Prepared]:
    """Train the system of a run; the test split is not touched. `normalise_by` is that of `prepare`."""
    data = _prepared(run, normalise_by)
    return fit_on(run, data), data


def _prepared(run: Run, normalise_by: str = "speaker") -> Prepared:
    return prepared(run.corpus, run.fold, run.root, **run.pretrained, normalise_by=normalise_by)


def build(run: Run, data: Prepared) -> nn.Module:
    """The system of a run with fresh weights; where a pretrained encoder learns with it, behind that encoder."""
    import torch

    from mer_lib import systems
    from mer_lib.features.batches import MODALITIES
    from mer_lib.features.fronts import fronted

    options = dict(run.options)
    known = data.vectors
    system = systems.build(
        run.system,
        torch.as_tensor(known.vectors),
        data.features,
        words=known.words,
        classes=len(data.emotions),
        **options,
    )
    heard = options.get("modalities", MODALITIES)
    return fronted(system, {m: encoder for m, encoder in data.pretrained.items() if m in heard})


def untrained(data: Prepared, system: str = "method", **options: Any) -> nn.Module:
    """A system with fresh weights for some data, whatever its features and classes are.

    Args:
        data: One fold.
        system: Name of the system.
        options: Fields of its config.
    """
    return build(Run("", 0, 0, system=system, options=tuple(sorted(options.items()))), data)


def fit_on(run: Run, data: Prepared, watch: Callable[[nn.Module], object] | None = None) -> Trained:
    """Train the system of a run on data that need not be those of its corpus; `watch` is that of `training.train`."""
    from mer_lib.training import seed_everything, train

    seed_everything(run.seed)
    return train(build(run, data), data.train, data.dev, run.training, run.seed, watch)


def trained(run: Run, normalise_by: str = "speaker") -> tuple[Trained, Prepared]:
    """Like `fit`, but a training that was done before is read from the cache: chapters share their systems.

    `normalise_by` is that of `prepare`; everything in the book's tables is normalised by the speaker.
    """
    import torch

    from mer_lib.training import Trained

    by = "" if normalise_by == "speaker" else f" by {normalise_by}"
    stored = cached("trained", f"{run.key()} {_code()}{by}", lambda: _pack(fit(run, normalise_by)[0]))
    data = _prepared(run, normalise_by)
    system = build(run, data)
    system.load_state_dict({name[7:]: torch.as_tensor(v) for name, v in stored.items() if name.startswith("weight/")})
    columns = {name[8:]: v.tolist() for name, v in stored.items() if name.startswith("history/")}
    history = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return Trained(system.eval(), history, float(stored["seconds"][0]), stored["prior"]), data


def _pack(result: Trained) -> dict[str, np.ndarray]:
    """A training as named arrays; `trained` undoes it."""
    weights = {f"weight/{name}": value.cpu().numpy() for name, value in result.system.state_dict().items()}
    columns = {f"history/{name}": np.array([float(row[name]) for row in result.history]) for name in result.history[0]}
    return {**weights, **columns, "seconds": np.array([result.seconds]), "prior": result.prior}


def _code() -> str:
    """Names the code that a training depends on."""
    folder = Path(mer_lib.__file__).parent
    parts = [folder / f"{name}.py" for name in ("model", "losses", "settings", "training", "metrics")]
    parts += [file for name in ("corpora", "features", "systems") for file in sorted((folder / name).rglob("*.py"))]
    return digest(*(file.read_text(encoding="utf-8") for file in parts))


def execute(run: Run) -> dict[str, Any]:
    """Train, then touch the test split once; return its row of results, see `tested`."""
    return tested(run, *fit(run))


def tested(run: Run, trained: Trained, data: Prepared) -> dict[str, Any]:
    """Test what was trained.

    Returns:
        One row of results: the run, its scores in percent, parameters, seconds and versions; then the
        decision on every test utterance, one digit each (plain, and adjusted for the prior; see `decisions`),
        and the training's history (see `histories`).
    """
    from mer_lib.training import predict

    logits = predict(trained.system, data.test)
    return {
        "corpus": run.corpus,
        "system": run.system,
        "variant": run.variant,
        "fold": run.fold,
        "seed": run.seed,
        **labels(run.audio, run.text),
        **scores(logits, data.test.labels.numpy(), trained.prior, data.emotions),
        **account(run, trained),
        "plain": "".join(map(str, logits.argmax(1))),
        "adjusted": "".join(map(str, adjusted(logits, trained.prior).argmax(1))),
        "history": json.dumps({name: [round(row[name], 4) for row in trained.history] for name in trained.history[0]}),
    }


def account(run: Run, trained: Trained) -> dict[str, Any]:
    """What a training was, and what it cost: part of a row of results."""
    import torch

    chosen = max(trained.history, key=lambda row: row[f"dev_{run.training.choose_by}"])
    return {
        "dev_ua": chosen["dev_ua"],
        "epoch": int(chosen["epoch"]),
        "parameters": sum(p.numel() for p in trained.system.parameters() if p.requires_grad),
        "seconds": round(trained.seconds, 2),
        "options": json.dumps(dict(run.options), sort_keys=True),
        "training": json.dumps(asdict(run.training), sort_keys=True),
        "key": run.key(),
        "versions": f"mer_lib {mer_lib.__version__}, torch {torch.__version__}, python {platform.python_version()}",
    }


def grid(
    corpus: str,
    variants: Sequence[str] = TABLES["table3"],
    folds: Sequence[int] | None = None,
    seeds: Sequence[int] = (0,),
    root: str | None = None,
    training: TrainingConfig | None = None,
    audio: Pretrained | str | None = None,
    text: Pretrained | str | None = None,
) -> list[Run]:
    """All combinations of variants, folds and seeds on one corpus.

    Args:
        corpus: Name of the corpus.
        variants: Names in `VARIANTS`.
        folds: Numbers from 1; None for all.
        seeds: One run each.
        root: Folder of a licensed corpus.
        training: How to train; by default as in the book, with the rate of `rates` for systems beside the method.
        audio: Pretrained encoder of speech instead of frames, as such or as one writes it (see `Pretrained.named`);
            the results name it in a column, so that such runs are rows of their own.
        text: Pretrained encoder of text instead of word vectors; likewise.

    Raises:
        ValueError: If a variant is unknown, or there is nothing to run.
        CorpusError: If the corpus or a fold is.
    """
    from mer_lib.features.batches import say_absent

    unknown = sorted(set(variants) - set(VARIANTS))
    if unknown:
        raise ValueError(f"There is no variant {unknown[0]!r}; there are: {', '.join(VARIANTS)}.")
    loaded = _corpus(corpus, root)
    numbers = range(1, len(loaded.folds()) + 1) if folds is None else folds
    for number in numbers:
        say_absent(loaded, loaded.fold(number))
    if not (variants and numbers and seeds):
        raise ValueError("There is nothing to run; ask for at least one variant, one fold and one seed.")
    pair = encoder(audio), encoder(text)
    return [
        Run(corpus, fold, seed, variant, *_system(variant), root, training or _usual(variant), *pair)
        for fold in numbers
        for seed in seeds
        for variant in variants
    ]


def _system(variant: str) -> tuple[str, tuple[tuple[str, Any], ...]]:
    """Name of the system of a variant, and its options as sorted pairs."""
    options = dict(VARIANTS[variant])
    return options.pop("system", "method"), tuple(sorted(options.items()))


def _usual(variant: str) -> TrainingConfig:
    """How a variant is trained: the method as it always was, another system with its own rate, if it has one."""
    usual = TrainingConfig()
    return replace(usual, rate=rates().get(variant, usual.rate))


def tuning(
    corpus: str,
    variants: Sequence[str],
    root: str | None = None,
    audio: Pretrained | str | None = None,
    text: Pretrained | str | None = None,
) -> list[Run]:
    """Try each variant with all `RATES` on the first fold; only the scores on dev are to be looked at."""
    trainings = [replace(TrainingConfig(), rate=rate) for rate in RATES]
    return [run for how in trainings for run in grid(corpus, variants, [1], [0], root, how, audio, text)]


def tried(run: Run) -> dict[str, Any]:
    """Train a run, and leave the test split alone: a row of `tuning.csv`."""
    told = account(run, fit(run)[0])
    row = {"corpus": run.corpus, "variant": run.variant, **labels(run.audio, run.text), "rate": run.training.rate}
    return row | {name: told[name] for name in ("dev_ua", "epoch", "parameters", "seconds", "versions")}


@lru_cache
def rates() -> dict[str, float]:
    """Learning rate of each tuned system beside the method: best on dev, on average over the corpora (`tuning.csv`).

    The method and its variants keep one rate, whatever the file says of them: it is there to show what they lose.
    """
    path = folder("results") / "tuning.csv"
    if not path.is_file():
        return {}
    tried = named_encoders(pd.read_csv(path))
    own = tried[(tried[ENCODERS] == "").all(axis=1)]  # encoders have rates of their own, and nobody has looked for them
    means = own.groupby(["variant", "rate"])["dev_ua"].mean()
    best = means.groupby(level="variant").idxmax()
    return {variant: float(rate) for variant, rate in best if "system" in VARIANTS.get(variant, {})}


class Task(Protocol):
    """Something to do that has a name of its own."""

    def key(self) -> str:
        """A short name that changes with everything that changes the result."""


FAILED = ".failed"
"""Ending of the file in a store that says why a task failed; it is no result, and the task is tried again."""


class Failure(NamedTuple):
    """A task that could not be done: its key, what it was, and why not, in a sentence."""

    key: str
    task: str
    reason: str


class IncompleteError(ValueError):
    """Some tasks failed, after all the others were done and kept.

    Attributes:
        results: Those of the others, in order.
        failures: What failed, and why.
    """

    def __init__(self, results: list[Any], failures: list[Failure]) -> None:
        super().__init__(results, failures)
        self.results, self.failures = results, failures

    def __str__(self) -> str:
        total, first = len(self.results) + len(self.failures), self.failures[0]
        return (
            f"{len(self.failures)} of {total} tasks failed, the first of them {first.task}: {first.reason} The others"
            " are kept; run it again to try those that failed once more."
        )


def complete(tasks: Sequence[Task], do: Callable[[Any], Any], store: Path, jobs: int | None = None) -> list[Any]:
    """Do many tasks, keep each result as it ends, and skip those that are kept already.

    A task that fails stops no other one. Why it failed lies in the store, too, until it is tried again.

    Args:
        tasks: What to do.
        do: Does one of them; returns what JSON can hold.
        store: Folder that holds one small JSON file per finished task. Empty it when the code of a task has changed:
            the name of a task tells its settings and data only.
        jobs: Processes; by default one per core. Within `joblib.parallel_config("dask")` the workers of the cluster
            do the tasks instead, however many there are; all of them must see `store`.

    Returns:
        The results, in the order of `tasks`.

    Raises:
        IncompleteError: If tasks failed; it holds the results of the others.
        ValueError: If the store cannot be written, or a process was killed.

    Shown in chapter 19.
    """
    places = [kept(task, store) for task in tasks]
    todo = [(task, place) for task, place in zip(tasks, places, strict=True) if not place.exists()]
    if todo:
        require_writable(store)
        store.mkdir(parents=True, exist_ok=True)
    work = (delayed(_do_and_keep)(task, do, place) for task, place in todo)
    finished = Parallel(n_jobs=jobs or -1, return_as="generator_unordered")(work)
    try:
        for _ in progress(finished, "trainings", len(todo)):
            pass
    except TerminatedWorkerError:
        raise ValueError(
            "A process was killed from outside, mostly for want of memory. What was finished is kept; run it again with"
            " fewer jobs."
        ) from None
    results = [json.loads(place.read_text()) for place in places if place.exists()]
    lost = [place.with_suffix(FAILED) for place in places if not place.exists()]
    if lost:
        raise IncompleteError(results, [Failure(**json.loads(path.read_text())) for path in lost])
    return results


def kept(task: Task, store: Path) -> Path:
    """Where the result of a task lies once it is done."""
    return store / f"{task.key()}.json"


def _do_and_keep(task: Task, do: Callable[[Any], Any], place: Path) -> None:
    import torch

    torch.set_num_threads(1)
    try:
        target, found = place, do(task)
    except Exception as error:  # whatever it is, the others go on
        target, found = place.with_suffix(FAILED), Failure(task.key(), str(task), sentence(error))._asdict()
    with whole(target) as unfinished:
        unfinished.write_text(json.dumps(found))
    if target == place:
        place.with_suffix(FAILED).unlink(missing_ok=True)


def sweep(runs: Sequence[Run], store: Path, jobs: int | None = None) -> pd.DataFrame:
    """Execute many runs, see `complete`; one row per run, in the order of `runs`."""
    return pd.DataFrame(complete(runs, execute, store, jobs))


def keep_results(results: pd.DataFrame, path: Path, by: Sequence[str] = (*RUN, *ENCODERS)) -> None:
    """Add rows to a CSV file, whole or not at all; a row that was there (the same in the columns `by`) is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path):  # two sweeps may keep their rows in one file
        together = pd.concat([_read(path), results]) if path.is_file() else results
        together = named_encoders(together) if set(ENCODERS) <= set(together) else together
        by = [name for name in by if name in together]
        together = together.drop_duplicates(list(by), keep="last")
        with whole(path) as unfinished:
            together.to_csv(unfinished, index=False, float_format="%.4f")


def read_results(path: Path, needed: Sequence[str] = ("wa", "ua")) -> pd.DataFrame:
    """Read what `keep_results` wrote; `needed` are columns that must be there, beside those of `RUN`.

    Raises:
        ValueError: If the file is not there or holds no runs.
    """
    if not Path(path).is_file():
        raise ValueError(f"There are no results at {path}. Make them with `make sweep`.")
    results = _read(path)
    missing = {*RUN, *needed} - set(results)
    if missing or results.empty:
        raise ValueError(
            f"{path} is not a table of runs: it lacks {sorted(missing) or 'rows'}. Make it again with `make sweep`."
        )
    return results.assign(**{name: _filled(results[name]) for name in ENCODERS if name in results})


def named_encoders(runs: pd.DataFrame) -> pd.DataFrame:
    """Runs with the columns `ENCODERS`; those from before there were encoders have none."""
    return runs.assign(**{name: _filled(runs[name]) if name in runs else "" for name in ENCODERS})


def _filled(names: pd.Series) -> pd.Series:
    return names.astype(object).fillna("").astype(str)


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, dtype={"plain": str, "adjusted": str})
    except ValueError as error:
        raise ValueError(f"{path} is not a table of runs: {error}. Make it again with `make sweep`.") from error


def decisions(results: pd.DataFrame, root: str | None = None) -> pd.DataFrame:
    """Spread the kept decisions of runs, one row per run and test utterance.

    Args:
        results: One row per run, as `execute` returns.
        root: Folder of a licensed corpus.

    Returns:
        The columns of `RUN`, then `id`, `emotion` (the label), and what the system said: `plain` (for WA) and
        `adjusted` for the prior (for UA and the recalls).

    Raises:
        ValueError: If a run has another number of test utterances than the corpus.
    """
    tables = []
    for run in results.to_dict("records"):
        corpus = _corpus(run["corpus"], root)
        ids = corpus.fold(run["fold"]).test
        if len(run["plain"]) != len(ids):
            raise ValueError(
                f"{run['variant']} on {run['corpus']}, fold {run['fold']}, has {len(run['plain'])} decisions for"
                f" {len(ids)} test utterances: it was made on other data. Make it again with `make sweep`."
            )
        said = {how: [corpus.emotions[int(digit)] for digit in run[how]] for how in ("plain", "adjusted")}
        columns = {name: run[name] for name in RUN}
        tables.append(pd.DataFrame({**columns, "id": ids, "emotion": corpus.table.loc[ids, "emotion"].array, **said}))
    return pd.concat(tables, ignore_index=True)


def histories(results: pd.DataFrame) -> pd.DataFrame:
    """Spread the kept histories of runs, one row per run and epoch.

    Args:
        results: One row per run, as `execute` returns.

    Returns:
        The columns of `RUN`, then `epoch`, the mean of each named loss (weighted, as it was trained on; NaN
        where a run has no such loss), and `dev_wa`, `dev_ua` and `dev_f1`.
    """
    tables = [
        pd.DataFrame({**{name: run[name] for name in RUN}, **json.loads(run["history"])})
        for run in results.to_dict("records")
    ]
    return pd.concat(tables, ignore_index=True)


def summary(results: pd.DataFrame, by: Sequence[str] = ("corpus", "variant")) -> pd.DataFrame:
    """Mean and 95% interval of every score, over folds, with the seeds of a fold averaged first.

    Args:
        results: One row per run, as `sweep` returns.
        by: Columns that name a row of the printed table.

    Returns:
        Indexed by `by`; columns (score, "mean" | "low" | "high").
    """
    columns = [c for c in ("wa", "ua", "f1", *corpora.EVERY_EMOTION) if c in results and results[c].notna().any()]
    per_fold = results.groupby([*by, "fold"], sort=False)[columns].mean()
    names, rows = [], []
    for name, group in per_fold.reset_index().groupby(list(by), sort=False):  # by columns a name is always a tuple
        names.append(name)
        # Corpora may have other emotions than their neighbours, and a fold may have no utterance of one.
        known = {c: group[c].dropna().tolist() for c in columns}
        ends = {c: mean_interval(known[c]) if known[c] else (np.nan,) * 3 for c in columns}
        rows.append({(c, end): ends[c][i] for c in columns for i, end in enumerate(("mean", "low", "high"))})
    levels = [pd.Index([name[i] for name in names], name=level) for i, level in enumerate(by)]
    table = pd.DataFrame(rows, index=pd.MultiIndex.from_arrays(levels) if len(by) > 1 else levels[0])
    table.columns = pd.MultiIndex.from_tuples(table.columns)
    return table
