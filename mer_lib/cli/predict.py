"""The command that answers on a reader's own files."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from mer_lib import experiments
from mer_lib.cache import cache_folder, require_writable
from mer_lib.cli.answer import Answer, path
from mer_lib.cli.train import encoder, encoders
from mer_lib.corpora import reading
from mer_lib.errors import expected, sentence

COLUMNS = ("file", "text")


def arguments(command: str, parser: ArgumentParser) -> None:
    """Add the options of the command."""
    about = (
        "sound files of one utterance each; or CSV files with the columns file and text, either of which may be empty"
    )
    parser.add_argument("files", type=path, nargs="*", help=about)
    parser.add_argument("--text", help="what is said in the sound file; alone, the words are judged without a voice")
    parser.add_argument("--corpus", required=True, help="what the system is trained on, once")
    parser.add_argument("--root", type=lambda text: str(path(text)), help="folder of a licensed corpus")
    rows = f"a row of a table that needs no dialogue: {', '.join(experiments.VARIANTS)}"
    parser.add_argument("--variant", default="A+T", help=f"who answers: {rows}; default: A+T, or what of it is given")
    parser.add_argument("--fold", default="1", help="number or name of the session that is held out of training")
    parser.add_argument("--seed", type=int, default=0)
    encoders(parser, "-encoder")


def _predict(asked: Namespace) -> Answer:
    from mer_lib.prediction import Clip, answer, caveats

    require_writable(cache_folder())
    audio, text = encoder(asked, "audio"), encoder(asked, "text")
    clips = [Clip(*clip) for clip in _asked(asked)]
    for asked_for in (audio, text):
        if asked_for:
            asked_for.home()  # one that is missing is said to be so at once
    corpus = experiments._corpus(asked.corpus, asked.root)
    number = corpus.fold_number(asked.fold)
    (run,) = experiments.grid(asked.corpus, [asked.variant], [number], [asked.seed], asked.root, audio=audio, text=text)
    print(f"{run}: trained once, which takes a minute or more; then read from the cache.", file=sys.stderr)
    answers, problems = [], []
    for clip in clips:
        try:
            answers.append(answer(run, clip))
        except Exception as error:
            if asked.debug and not expected(error):
                raise
            answers.append(
                {"sound": str(clip.sound) if clip.sound else None, "text": clip.text, "error": sentence(error)}
            )
            problems.append(answers[-1]["error"])
    said = caveats(corpus)
    if len(problems) == len(clips):  # nothing to say anything beside
        said = []
    lines = [line for found in answers if "error" not in found for line in [*_told(found), ""]]
    return Answer([*lines, *said], problems, {"corpus": asked.corpus, "caveats": said, "answers": answers})


def _asked(asked: Namespace) -> list[tuple[Path | None, str]]:
    """Sound and text of each clip."""
    lists = [file for file in asked.files if file.suffix.lower() == ".csv"]
    if asked.text is not None and (len(asked.files) > 1 or lists):
        raise ValueError(
            "--text is the text of one sound. For several, give a CSV file with the columns file and text instead."
        )
    if asked.text is not None and not asked.text.strip() and not asked.files:
        raise ValueError("The text is empty; give words, or a sound file.")
    if not asked.files:
        if asked.text is None:
            raise ValueError("There is nothing to answer about; give sound files, a text, or both.")
        return [(None, asked.text)]
    clips: list[tuple[Path | None, str]] = []
    for file in asked.files:
        clips += _listed(file) if file in lists else [(file, asked.text or "")]
    return clips


def _listed(table: Path) -> list[tuple[Path | None, str]]:
    """What a CSV file asks about; its sound files lie beside it."""
    if not table.is_file():
        raise ValueError(f"There is no file {table}; give a CSV file with the columns file and text.")
    lines, skipped = reading.table(reading.text(table), str(table), COLUMNS)
    if skipped:
        raise ValueError(f"{skipped[0].where}, {skipped[0].why}. Mend that row.")
    if not lines:
        raise ValueError(f"{table} has no row below its header; it takes the columns file and text.")
    if empty := [where for where, line in lines if not line["file"] and not line["text"]]:
        raise ValueError(f"{empty[0]}, names neither a file nor a text.")
    beside = table.parent
    return [(beside / path(line["file"]) if line["file"] else None, line["text"]) for _, line in lines]


def _told(found: dict[str, Any]) -> list[str]:
    """An answer in lines."""
    about = " ".join(part for part in (found["sound"], f'"{found["text"]}"' if found["text"] else "") if part)
    lines = [about, f"  {'':8}" + "".join(f"{emotion:>11}" for emotion in found["probabilities"])]
    names = {"audio": "voice", "text": "words"}
    together = {(): found["variant"]}.get(tuple(found["alone"]), "both")
    for name, shares in {
        **{names.get(m, m): p for m, p in found["alone"].items()},
        together: found["probabilities"],
    }.items():
        lines.append(f"  {name:8}" + "".join(f"{p:>11.0%}" for p in shares.values()))
    lines.append(
        f"  Most likely {found['emotion']}; on speakers that it was not trained on, {found['variant']} is right in"
    )
    lines[-1] += f" {found['dev_ua']:.0f}% (UA, dev)."
    if found["unknown"]:
        many, known = len(found["unknown"]), found["words"]
        lines.append(f"  It has never seen {many} of the {known} words: {', '.join(found['unknown'])}.")
    return lines + [f"  {note}" for note in found["notes"]]


COMMANDS = {"predict": _predict}
