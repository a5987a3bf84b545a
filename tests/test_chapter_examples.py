"""Systems that a chapter writes on its page must hold what every system must hold."""

from __future__ import annotations

import ast
import re
from functools import partial
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
import test_systems
import torch
from test_model import utterances
from test_systems import FEATURES, VOCABULARY

from mer_lib import experiments, systems
from notebooks import CHAPTERS

CHAPTER = CHAPTERS / "13_comparisons.ipynb"
EXAMPLES = {"film": "FiLM", "surer": "surer"}
"""Name of each system in the registry, and of its row."""

FENCED = re.compile(r"```python\n(.*?)```", re.S)


def example(name: str) -> str:
    """Code of the chapter that makes a system: its imports, the class and its registration, cells or a solution."""
    cells = nbformat.read(CHAPTER, as_version=4).cells
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    code += [part for cell in cells if cell.cell_type == "markdown" for part in FENCED.findall(cell.source)]
    trees = [ast.parse(source) for source in code if "%pip" not in source]
    imports = [node for tree in trees for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    made = [node for tree in trees for node in tree.body if _makes(node, name)]
    return "\n".join(ast.unparse(node) for node in [*imports, *made])


def _makes(node: ast.stmt, name: str) -> bool:
    """Whether a statement is the class of a system, or enters it anywhere."""
    if isinstance(node, ast.ClassDef):
        return node.name.lower() == name
    text = ast.unparse(node)
    return isinstance(node, ast.Assign) and (
        text.startswith((f"systems.SYSTEMS['{name}']", f"experiments.VARIANTS['{EXAMPLES[name]}']", "about ="))
    )


@pytest.fixture(params=EXAMPLES)
def name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A system of the chapter, entered for one test."""
    monkeypatch.setattr(systems, "SYSTEMS", dict(systems.SYSTEMS))
    monkeypatch.setattr(experiments, "VARIANTS", dict(experiments.VARIANTS))
    space: dict[str, Any] = {}
    exec(compile(example(request.param), str(CHAPTER), "exec"), space)
    return request.param


def test_the_example_is_short_and_has_a_row_of_its_own(name: str) -> None:
    made = next(node for node in ast.parse(example(name)).body if isinstance(node, ast.ClassDef))
    assert made.end_lineno is not None
    assert made.end_lineno - made.lineno < 40
    assert experiments.VARIANTS[EXAMPLES[name]] == {"system": name}
    assert experiments.grid("duet-i", [EXAMPLES[name]], [1])[0].system == name


@pytest.mark.parametrize(
    "holds",
    [
        test_systems.test_a_system_gives_four_finite_logits_and_scalar_losses,
        test_systems.test_padding_never_changes_a_prediction,
        test_systems.test_only_systems_with_context_see_the_turns_around,
        test_systems.test_gradients_reach_every_parameter,
        test_systems.test_sixteen_utterances_are_learned_by_heart,
        test_systems.test_one_utterance_of_one_frame_and_one_word_can_be_trained_on,
    ],
    ids=lambda test: test.__name__.removeprefix("test_"),
)
def test_what_holds_for_every_system_holds_for_the_example(name: str, holds: Any) -> None:
    holds(name)


@pytest.mark.parametrize(("modality", "other"), [("audio", "text"), ("text", "audio")])
def test_the_example_works_with_one_modality_alone(name: str, modality: str, other: str) -> None:
    test_systems.test_one_modality_alone_ignores_the_other(name, modality, other)


def functions(*names: str) -> str:
    """Code of the chapter's imports and of some of its functions."""
    cells = nbformat.read(CHAPTER, as_version=4).cells
    trees = [ast.parse(cell.source) for cell in cells if cell.cell_type == "code" and "%pip" not in cell.source]
    body = [node for tree in trees for node in tree.body]
    kept = [
        node for node in body if isinstance(node, ast.Import | ast.ImportFrom) or getattr(node, "name", None) in names
    ]
    return "\n".join(map(ast.unparse, kept))


@pytest.mark.parametrize("name", ["late", "misa", "mctn", "dann"])
def test_the_check_of_the_chapter_passes_systems_whose_losses_or_context_differ(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = [1, 2, 0, 3] * 5
    train = utterances([(3 + i % 4, 2 + i % 3) for i in range(20)], labels=told)
    for row, label in enumerate(told):
        train.audio[row] = train.audio[row] + 2 * label
    vectors = torch.randn(VOCABULARY, 5, generator=torch.Generator().manual_seed(0))
    space: dict[str, Any] = {"data": SimpleNamespace(train=train), "vectors": vectors, "words": ()}
    monkeypatch.setattr(systems, "build", partial(systems.build, features=FEATURES))
    exec(compile(functions("pick", "logits_of", "fresh", "padding_is_silent", "healthy"), str(CHAPTER), "exec"), space)
    assert space["healthy"](name) == f"{name}: healthy"
