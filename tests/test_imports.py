"""What needs no torch does not load it: it takes seconds, and chapters 1 and 16 have nothing to compute with it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

HERE = Path(__file__).parents[1]
HEAVY = ("torch", "torchaudio", "transformers", "sklearn", "scipy.stats", "seaborn", "parselmouth")


def loaded_by(code: str, *watched: str) -> list[str]:
    """Which of some modules a fresh Python has loaded after some code."""
    code += f"\nimport sys\nprint('loaded', *(name for name in {watched!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=HERE, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].split()[1:]


@pytest.mark.parametrize(
    "module", ["corpora", "metrics", "ceilings", "audit", "plots", "paper", "experiments", "cache"]
)
def test_a_module_that_needs_no_torch_loads_neither_it_nor_anything_else_that_is_slow(module: str) -> None:
    assert loaded_by(f"import mer_lib.{module}", *HEAVY) == []


def test_the_names_of_features_are_there_and_only_those() -> None:
    assert loaded_by("from mer_lib.features import check_audio, FEATURES", "torch") == []
    assert loaded_by("from mer_lib.features import Utterances", "torch") == ["torch"]
    assert loaded_by("from mer_lib import features\nassert not hasattr(features, 'nothing')", "torch") == []


@pytest.mark.parametrize("chapter", ["01_two_channels", "16_reading_tables"])
def test_a_chapter_that_trains_nothing_imports_nothing_that_loads_torch(chapter: str) -> None:
    cells = nbformat.read(HERE / "notebooks" / f"{chapter}.ipynb", 4).cells
    sources = [
        cell.source for cell in cells if cell.cell_type == "code" and "setup" not in cell.metadata.get("tags", [])
    ]
    nodes = [node for source in sources for node in ast.walk(ast.parse(source))]
    imports = [ast.unparse(node) for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    assert any("mer_lib" in line for line in imports)
    code = "\n".join([*imports, "plots.use_style()", "data = check_audio(corpora.load('duet-i'))", "data.folds()"])
    assert loaded_by(code, "torch", "torchaudio", "transformers") == []


@pytest.mark.parametrize("asked", ["--help", "corpora", "run --help", "audit --help", "export --help"])
def test_a_command_that_needs_no_torch_does_not_load_it(asked: str) -> None:
    code = f"""
from mer_lib.__main__ import main
try:
    main({asked.split()!r})
except SystemExit as stopped:
    assert stopped.code == 0
"""
    assert loaded_by(code, "torch", "torchaudio", "transformers") == []
