"""What is declared, pinned, shipped and written in the README agrees."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import mahtrt
from mahtrt.cli import app

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
MAX_CHECKPOINT_BYTES = 16 * 2**20
# Put together here, so that this file does not hold what it looks for. Home folders, temporary
# folders, and the root folder that checkouts of build machines commonly have.
ABSOLUTE = re.compile(
    r"(?<![\w./~-])/(?:" + "|".join(("home", "root", "Users", "work", "tmp", "mnt")) + r")/\w"
)
# Made-up paths that tests and docstrings speak about, and templates of temporary names.
MADE_UP = re.compile(r"/(?:home/(?:me|user|you)|tmp/x|tmp/mahtrt[\w ]*)\b")


def resolved(extra: str, seen: frozenset[str] = frozenset()) -> list[Requirement]:
    """What an extra installs besides the core, self-references followed."""
    found: list[Requirement] = []
    for requirement in map(Requirement, EXTRAS[extra]):
        if canonicalize_name(requirement.name) == PROJECT["name"]:
            for other in requirement.extras - seen:
                found += resolved(other, seen | {extra})
        else:
            found.append(requirement)
    return found


def declared() -> list[Requirement]:
    core = [Requirement(text) for text in PROJECT["dependencies"]]
    return core + [requirement for extra in EXTRAS for requirement in resolved(extra)]


def pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    names = (line.partition("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): Version(version) for name, _, version in names}


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout: what is tracked is not known")
    places = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [place for place in places if place.is_file()]


def test_the_version_is_one() -> None:
    assert PROJECT["version"] == mahtrt.__version__


@pytest.mark.parametrize("extra", EXTRAS)
def test_no_extra_pulls_both_onnxruntimes(extra: str) -> None:
    names = {canonicalize_name(requirement.name) for requirement in resolved(extra)}
    assert not {"onnxruntime", "onnxruntime-gpu"} <= names


def test_the_extras_are_there() -> None:
    wanted = {"export", "tensorrt", "tensorrt-rtx", "gpu", "dicom", "all", "dev", "cpu"}
    assert set(EXTRAS) >= wanted
    everything = {requirement.name for requirement in resolved("all")}
    assert {"torch", "onnxruntime", "pydicom"} <= everything


def test_the_runtime_does_not_pull_what_only_export_needs() -> None:
    core = {canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"]}
    assert not core & {"torch", "onnx", "onnxscript", "timm", "transformers", "safetensors"}


def test_the_pins_are_in_the_declared_ranges() -> None:
    pinned = pins()
    for requirement in declared():
        version = pinned.get(canonicalize_name(requirement.name))
        if version is not None:
            assert requirement.specifier.contains(version), f"{requirement}: {version}"


def test_what_the_tests_install_is_pinned() -> None:
    needed = [Requirement(text) for text in PROJECT["dependencies"]] + resolved("dev")
    missing = {canonicalize_name(requirement.name) for requirement in needed} - set(pins())
    assert not missing


def test_declared_ranges_are_wider_than_the_pins() -> None:
    assert not [str(r) for r in declared() if any(s.operator == "==" for s in r.specifier)]
    assert PROJECT["requires-python"] == ">=3.11"


def test_the_shipped_checkpoint_is_small() -> None:
    places = [p for p in (ROOT / "mahtrt" / "assets").glob("*") if p.suffix == ".safetensors"]
    assert places, "the demo needs its checkpoint"
    assert sum(place.stat().st_size for place in places) <= MAX_CHECKPOINT_BYTES


def text_of(place: Path) -> str:
    """A file's text; of a checkpoint its header; nothing of other binary files."""
    if place.suffix == ".safetensors":
        with place.open("rb") as file:
            return file.read(int.from_bytes(file.read(8), "little")).decode("utf-8")
    try:
        return place.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def test_no_file_holds_a_path_of_somebodys_machine() -> None:
    assert ABSOLUTE.search("see /" + "home/ann/net.py")
    assert not ABSOLUTE.search("benchmarks/home/ann, ~/work/x")
    found = [
        f"{place.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for place in tracked_files()
        for number, line in enumerate(text_of(place).splitlines(), 1)
        if ABSOLUTE.search(MADE_UP.sub("", line))
    ]
    assert not found, "\n".join(found)


def commands_in(document: Path) -> list[list[str]]:
    """The ``mahtrt …`` commands of a document's bash blocks, as words."""
    text = document.read_text(encoding="utf-8")
    blocks = re.findall(r"```(?:bash|sh|console)\n(.*?)```", text, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    words = [shlex.split(line, comments=True) for line in lines]
    return [line for line in words if line and line[0].removeprefix(".venv/bin/") == "mahtrt"]


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "docs/foreign-models.md"])
def test_documented_commands_exist(name: str) -> None:
    document = ROOT / name
    group: Any = typer.main.get_command(app)
    commands = commands_in(document)
    assert commands
    for _, verb, *arguments in commands:
        assert verb in group.commands, f"mahtrt {verb}"
        known = {option for p in group.commands[verb].params for option in p.opts} | {"--help"}
        used = {word.partition("=")[0] for word in arguments if word.startswith("--")}
        assert used <= known, f"mahtrt {verb} {' '.join(sorted(used - known))}"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_the_makefile_runs_what_is_documented(name: str) -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    documented = re.findall(r"^make (\w+)", (ROOT / name).read_text(), flags=re.MULTILINE)
    assert documented
    assert set(documented) <= set(targets)


@pytest.mark.parametrize("name", ["README.md", "docs/log.md", "docs/decisions.md"])
def test_no_placeholder_is_left(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert not re.search(r"@[A-Z_]{4,}@", text)
