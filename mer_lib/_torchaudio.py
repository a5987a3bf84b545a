"""torchaudio, usable beside any torch: the one place that the package and the chapters import it from.

The newest torchaudio for Linux (2.11) exists only built for CUDA. Beside a torch without CUDA, or with another
CUDA, its compiled extension cannot be loaded and `import torchaudio` fails ("libc10_cuda.so: cannot open").
What the book needs is written in Python on top of torch: mel spectrograms, cepstra, resampling, pitch, masking.
So where the extension cannot be loaded, torchaudio is told that it was built without one, which it supports.
Then `lfilter` runs as a slow loop, and RNN-T loss, forced alignment and the CTC decoder are missing.

`torchaudio.load` needs one more package (torchcodec) and is not used: sound files are read with soundfile.

Use it as `from mer_lib._torchaudio import torchaudio`. Shown in chapter 04.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock


def _import() -> ModuleType:
    """Import torchaudio; if its extension cannot be loaded, without it.

    Raises:
        ModuleNotFoundError: If torchaudio is not installed.
    """
    try:
        return importlib.import_module("torchaudio")
    except ModuleNotFoundError:
        raise
    except (ImportError, OSError, RuntimeError):  # a library is missing, or CUDA versions differ
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchaudio"]:
            del sys.modules[name]
        with mock.patch("importlib.util.find_spec", _find_no_extension):
            sys.modules["torchaudio._extension.utils"] = _utilities_without_extension()
            return importlib.import_module("torchaudio")


def _find_no_extension(name: str, *rest: Any, find: Any = importlib.util.find_spec) -> Any:
    """As `importlib.util.find_spec`, by which torchaudio up to 2.9 asks whether its extension is there: it is not."""
    return None if name == "torchaudio.lib._torchaudio" else find(name, *rest)


def _utilities_without_extension() -> ModuleType:
    """torchaudio's own loader of compiled libraries, which now finds none."""
    package = importlib.util.find_spec("torchaudio")
    assert package is not None
    assert package.origin is not None
    path = Path(package.origin).with_name("_extension") / "utils.py"
    spec = importlib.util.spec_from_file_location("torchaudio._extension.utils", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module._load_lib = lambda lib: False  # type: ignore[attr-defined]
    return module


torchaudio = _import()
