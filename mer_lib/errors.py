"""What is said of an error: a sentence of our own as it is, anything else with what was being done.

The package raises a `ValueError`, or a class of its own, whose message says what is wrong, where, and what to do. What
a library raises says none of this, even where it is a ValueError too; so it is never shown as if it were an answer.
"""

from __future__ import annotations

import dis
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

_HERE = Path(__file__).parent


@contextmanager
def during(what: str) -> Iterator[None]:
    """Note on an error that passes what was being done, such as "reading the sound of S1-00 in S1.zip"."""
    try:
        yield
    except Exception as error:
        error.add_note(what)
        raise


def expected(error: BaseException) -> bool:
    """Whether an error is a sentence of ours: of a class of ours, or raised in words by a line of ours."""
    if type(error).__module__.split(".")[0] == __name__.split(".")[0]:
        return True
    last = error.__traceback__
    while last and last.tb_next:
        last = last.tb_next
    if not last or not isinstance(error, ValueError | FloatingPointError):
        return False
    code = last.tb_frame.f_code
    # An unpacking that does not fit is a ValueError of our line, too, but nobody wrote a sentence for it.
    steps = {step.offset: step.opname for step in dis.get_instructions(code)}
    return _HERE in Path(code.co_filename).parents and steps.get(last.tb_lasti) == "RAISE_VARARGS"


def sentence(error: BaseException) -> str:
    """Say in one line what went wrong."""
    if expected(error):
        return " ".join(str(error).split())
    notes = getattr(error, "__notes__", [])
    where = f" while {', '.join(notes)}" if notes else ""
    if isinstance(error, OSError) and error.strerror:
        file = f"{error.filename}: " if error.filename else ""
        return f"{file}{error.strerror}{where}. Look at that place, and run it again."
    told = " ".join(str(error).split())
    return f"Unexpected {type(error).__name__}{where}{f' ({told[:200]})' if told else ''}."


def issues() -> str:
    """Where faults of the package are reported; nothing where it was not installed and so does not know."""
    try:
        urls = dict(line.split(", ", 1) for line in metadata("mer-lib").get_all("Project-URL") or [])
    except PackageNotFoundError:
        return ""
    return f"{urls['Repository']}/issues" if "Repository" in urls else ""
