"""What the files around the code promise."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import jupyter_book
import nbformat
import pytest
import yaml
from packaging.requirements import Requirement

import build_book
import notebooks

HERE = notebooks.ROOT
PROJECT = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]
OWN_KEYS = {"only_build_toc_files"}
"""Keys that Jupyter Book reads but its schema leaves out."""


def read(name: str) -> str:
    return (HERE / name).read_text()


def tracked() -> list[Path]:
    """Files that are, or would be, in git."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is no git checkout")
    return [HERE / name for name in listed.stdout.splitlines() if (HERE / name).is_file()]


def test_jupyter_book_knows_every_key_of_its_configuration() -> None:
    schema = json.loads((Path(jupyter_book.__file__).parent / "config_schema.json").read_text())["properties"]
    config = yaml.safe_load(read("_config.yml"))
    assert set(config) <= set(schema) | OWN_KEYS
    for name, known in schema.items():
        if "properties" in known:
            assert set(config.get(name, {})) <= set(known["properties"]), name
    assert config["execute"]["execute_notebooks"] == "off"


def test_address_and_version_agree_wherever_they_stand() -> None:
    config, citation = yaml.safe_load(read("_config.yml")), yaml.safe_load(read("CITATION.cff"))
    assert config["repository"] == {"url": notebooks.repository(), "branch": notebooks.tag()}
    assert citation["repository-code"] == notebooks.repository()
    assert f"v{citation['version']}" == notebooks.tag()


def test_the_pins_satisfy_the_ranges() -> None:
    pins = dict(line.split("==") for line in read("constraints.txt").lower().splitlines() if line[:1] not in "#")
    pins = {name.replace("_", "-"): version for name, version in pins.items()}
    for text in [*PROJECT["dependencies"], *(d for extra in PROJECT["optional-dependencies"].values() for d in extra)]:
        wanted = Requirement(text)
        if wanted.name != PROJECT["name"]:
            assert wanted.specifier.contains(pins[wanted.name.lower()]), text


def test_the_package_asks_for_all_that_it_imports() -> None:
    called = {"scikit-learn": "sklearn", "praat-parselmouth": "parselmouth", "ipython": "IPython"}
    given = {"espeakng-loader", "distributed"} | {Requirement(text).name for text in PROJECT["dependencies"]}
    modules = {called.get(name, name.replace("-", "_")) for name in given} | {"dask", "mer_lib"}
    for path in (HERE / "mer_lib").rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
        names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
        assert {name.partition(".")[0] for name in names} <= modules | set(sys.stdlib_module_names), path.name


def test_the_package_leaves_room_for_the_torch_that_is_there() -> None:
    for name in ("torch", "torchaudio", "transformers", "numpy"):
        (wanted,) = [Requirement(text) for text in PROJECT["dependencies"] if Requirement(text).name == name]
        assert [s.operator for s in wanted.specifier] == [">="], name


def test_the_wheel_carries_the_package_and_all_data(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=HERE, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    here = {path.relative_to(HERE) for path in tracked()}
    wanted = {f"mer_lib/{path}" for path in here if path.parts[0] == "data"} | {
        str(path) for path in here if path.parts[0] == "mer_lib"
    }
    assert wanted <= inside
    assert not [name for name in inside if name.startswith(("tests/", "tools/", "notebooks/"))]


def test_nothing_made_is_in_git_and_nothing_is_too_large() -> None:
    files = tracked()
    made = re.compile(r"(^|/)(_build|\.venv|__pycache__|\.ipynb_checkpoints)/|\.(pyc|pt|pkl|pickle|npy)$")
    assert [path for path in files if made.search(str(path.relative_to(HERE)))] == []
    outside = [path for path in files if HERE / "data" not in path.parents]
    assert [path for path in outside if path.stat().st_size > 500_000] == []
    duet = [path for path in files if HERE / "data" / "duet" in path.parents]
    assert sum(path.stat().st_size for path in duet) <= 40_000_000


def test_no_file_names_a_place_on_someones_machine() -> None:
    place = re.compile(r"(/(home|Users|root|work|tmp)/|file:///)(?=\w)")
    texts = [
        path for path in tracked() if path.suffix in {".py", ".md", ".yml", ".toml", ".ipynb", ".txt", ".cff", ".csv"}
    ]
    found = [path.name for path in texts if place.search(path.read_text(encoding="utf-8"))]
    assert found == []


def test_nothing_is_unpickled() -> None:
    unsafe = re.compile(r"^\s*import pickle|pickle\.load|allow_pickle=True|torch\.load\(|joblib\.load\(", re.M)
    sources = [path for path in tracked() if path.suffix in {".py", ".ipynb"} and path != Path(__file__)]
    assert [path.name for path in sources if unsafe.search(path.read_text(encoding="utf-8"))] == []


def test_every_command_of_the_makefile_has_one_line_of_help() -> None:
    make = read("Makefile")
    commands = re.search(r"^\.PHONY: (.+)$", make, re.M)
    assert commands
    listed = subprocess.run(["make", "help"], cwd=HERE, capture_output=True, text=True, check=True).stdout
    for command in commands[1].split():
        assert len(re.findall(rf"^make {command} +\S", listed, re.M)) == 1, command


def test_the_check_before_a_change_lands_runs_what_the_readme_says() -> None:
    for command in ("make book", "make test"):
        assert re.search(rf"^{command}$", read(".ci/run"), re.M)
        assert command in read("README.md")


def test_links_between_documents_lead_somewhere() -> None:
    for path in [path for path in tracked() if path.suffix == ".md"]:
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
            made = target == f"{build_book.GENERATED}.md"
            assert made or (path.parent / target).exists(), f"{path.name}: {target}"


def test_some_chapters_store_outputs_that_are_held_against_new_ones() -> None:
    stored = [cell for path in notebooks.chapters() for cell in nbformat.read(path, 4).cells if cell.get("outputs")]
    assert len(stored) >= 5
    assert all(notebooks.STORED in cell.metadata.tags for cell in stored)


LAYERS = (
    "shipped _torchaudio errors cache progress corpora features losses model systems metrics settings"
    " training experiments ceilings paper tables audit probes control conditions robustness shortcuts plots"
    " notebook prediction cli __main__"
).split()
"""Modules and packages of mer_lib; each may import from itself and from those before it."""


def imported(path: Path) -> set[str]:
    """Modules and packages of mer_lib that a file imports from."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            whole = [f"{node.module}.{name.name}" for name in node.names]
        else:
            whole = [name.name for name in node.names] if isinstance(node, ast.Import) else []
        found |= {name.split(".")[1] for name in whole if name.startswith("mer_lib.")}
    return found & set(LAYERS)


def test_data_flows_one_way_and_nothing_imports_upwards() -> None:
    package = notebooks.ROOT / "mer_lib"
    assert {path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()} == {
        "__init__",
        *LAYERS,
    }
    for path in package.rglob("*.py"):
        own = path.relative_to(package).with_suffix("").parts[0]
        if own != "__init__":
            above = {name for name in imported(path) if LAYERS.index(name) > LAYERS.index(own)}
            assert not above, f"{path} imports from {above}"
