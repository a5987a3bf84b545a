"""What every notebook of the book shows: a line when it is ready, and pieces of the library's own source."""

from __future__ import annotations

import inspect
import os
import platform
import shutil
import subprocess
import textwrap
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from mer_lib import __version__
from mer_lib.progress import BUILDING

if TYPE_CHECKING:
    from IPython.display import HTML

_PAPER = "background: #f8f8f8; color: #1f1f1f; overflow-x: auto; padding: 0.4em 0.8em; border-radius: 4px"
_TEXT = "background: none; color: inherit; border: none; box-shadow: none; margin: 0; padding: 0; overflow: visible"
"""Ground and ink of shown source: both are set, since a dark theme changes one of them only."""


def welcome() -> None:
    """Say in a line what a reader's kernel runs; silent where the book is built, whose last page says it."""
    if os.environ.get(BUILDING):
        return
    parts = [f"mer_lib {__version__}", f"Python {platform.python_version()}"]
    parts += [f"{name} {found}" for name in ("torch", "transformers") if (found := _version(name))]
    print(f"{', '.join(parts)}; {_device()}.")


def _version(name: str) -> str:
    """Version of a package, without importing it: some chapters do without torch, which takes seconds."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _device() -> str:
    """The accelerator that is there, asked of the driver for the same reason."""
    asked = shutil.which("nvidia-smi")
    if asked:
        command = [asked, "--query-gpu=name", "--format=csv,noheader"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
        except (OSError, subprocess.TimeoutExpired):  # a driver that hangs is no device, and no reason to stop
            return "the GPU's driver does not answer"
        if done.returncode == 0 and done.stdout.strip():
            return f"GPU: {done.stdout.strip().splitlines()[0]}"
    return "no GPU, and none is needed"


def source(*things: object) -> HTML:
    """Show source code with its colours, on paper of its own, so that it can be read in any theme.

    Args:
        things: Functions, classes or modules; or source itself, as text.
    """
    from IPython.display import HTML, Code

    code = "\n\n".join(thing if isinstance(thing, str) else inspect.getsource(thing) for thing in things)  # type: ignore[arg-type]
    shown = Code(textwrap.dedent(code).strip("\n"), language="python")._repr_html_()
    rules, _, text = shown.partition("</style>")  # under a name of our own, which no theme repaints
    text = text.replace('<div class="highlight"><pre>', f'<div style="{_PAPER}"><pre style="{_TEXT}">', 1)
    return HTML(f'{rules.replace(".output_html", ".shown-source")}</style><div class="shown-source">{text}</div>')
