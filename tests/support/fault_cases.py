"""Every verb that writes, with a command that takes about a second, and what its files must be."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
import tiny_maps
from fork_server import ForkServer
from PIL import Image
from signing_keys import write_keys

from mahtrt.bundle.bundle import read_bundle
from mahtrt.bundle.manifest import SIGNATURE_NAME
from mahtrt.models.checkpoint import load_checkpoint

# How many faults are tried, where it is more than the usual few: make faults.
FAULTS = int(os.environ.get("MAHTRT_FAULTS", "0"))
# Folders whose files appear one by one.
SHARED = ("demo", "cache", "models")
OLD = b"what was there before"


@dataclass(frozen=True, slots=True)
class World:
    """What the commands read.

    Attributes:
        export: The arguments that export the network.
        bundle: A bundle of that network.
        tiny: A bundle of engines that take no time.
        maps: Such a bundle of a network that gives maps and labels.
        images: Two pictures.
        key: A private key to sign with.
    """

    export: Sequence[object]
    onnx: Path
    bundle: Path
    tiny: Path
    maps: Path
    images: Sequence[Path]
    key: Path


@dataclass(frozen=True, slots=True)
class Case:
    """A verb and its outputs.

    Attributes:
        arguments: From a world and a folder for outputs to the command line.
        outputs: Files and bundles, in that folder. They appear together.
        in_place: Whether the command changes outputs that have to be there.
        resumable: What an interrupted command keeps on purpose, and the next run removes.
        long: Whether it takes too long for the usual tests.
    """

    arguments: Callable[[World, Path], Sequence[object]]
    outputs: tuple[str, ...] = ()
    in_place: bool = False
    resumable: str = ""
    long: bool = False


def _result(verb: str, *more: object) -> Case:
    return Case(lambda world, out: (verb, *more, f"--json={out / 'a.json'}"), ("a.json",))


CASES = {
    "demo": Case(lambda world, out: ("demo", f"--out={out / 'demo'}"), long=True),
    "models": _result("models"),
    "doctor": _result("doctor"),
    "report": Case(
        lambda world, out: ("report", world.bundle, f"--html={out / 'a.html'}", "--no-pictures"),
        ("a.html",),
    ),
    "verify": Case(
        lambda world, out: ("verify", world.bundle, f"--json={out / 'a.json'}"), ("a.json",)
    ),
    "inspect": Case(
        lambda world, out: ("inspect", world.onnx, f"--json={out / 'a.json'}"), ("a.json",)
    ),
    "export": Case(
        lambda world, out: (*world.export, f"--out={out / 'net.onnx'}"),
        ("net.onnx",),
    ),
    "calibrate": Case(
        lambda world, out: (
            *("calibrate", world.onnx, "--calib=phantom:4@1", "--sensitivity", "--images=1"),
            *("--threads=1", f"--out={out / 'found'}", f"--cache-dir={out / 'cache'}"),
        ),
        (
            *(f"found/{name}.json" for name in ("plan", "ranges", "card", "sensitivity")),
            "found/sensitivity.png",
        ),
    ),
    "qat": Case(
        lambda world, out: (
            *("qat", world.onnx, "--data=phantom:4@1", "--eval=phantom:1@2", "--points=0,1,2"),
            *("--plan=all", "--method=minmax", "--steps=2", "--batch-size=1", "--threads=1"),
            *("--budget-px=50", f"--out={out / 'net.onnx'}"),
        ),
        ("net.onnx",),
        resumable="net.onnx.state.pt",
    ),
    "build": Case(
        lambda world, out: (
            *("build", world.onnx, "--fp32", "--target=onnxruntime", "--threads=1"),
            *("--check-images=1", f"--out={out / 'net.mahtrt'}"),
        ),
        ("net.mahtrt",),
    ),
    "compile": Case(
        lambda world, out: (
            *("compile", world.bundle, "--target=onnxruntime", "--threads=1"),
            f"--out={out / 'net.mahtrt'}",
        ),
        ("net.mahtrt",),
    ),
    "pack": Case(
        lambda world, out: ("pack", world.tiny, f"--out={out / 'net.mahtrt'}"), ("net.mahtrt",)
    ),
    "sign": Case(
        lambda world, out: ("sign", out / "net.mahtrt", f"--key={world.key}"),
        ("net.mahtrt",),
        in_place=True,
    ),
    "bench": Case(
        lambda world, out: (
            *("bench", world.tiny, "--engine=onnxruntime-fp32", "--rounds=1", "--threads=1"),
            *("--cold-starts=0", f"--json={out / 'a.json'}"),
        ),
        ("a.json",),
    ),
    "predict": Case(
        lambda world, out: (
            *("predict", world.maps, *world.images, "--engine=onnxruntime", "--threads=1"),
            *(f"--json={out / 'a.json'}", f"--csv={out / 'a.csv'}", f"--overlay={out / 'drawn'}"),
            f"--maps={out / 'maps'}",
        ),
        (
            *("a.json", "a.csv", "drawn/0.overlay.png", "drawn/1.overlay.png"),
            *("maps/0.change.png", "maps/1.change.png"),
        ),
    ),
    "serve": Case(
        lambda world, out: (
            *("serve", world.bundle, "--threads=1", "--drain"),
            *("--send-to=PACS@127.0.0.1:1", f"--queue={out / 'cache'}", f"--json={out / 'a.json'}"),
        ),
        ("a.json",),
    ),
    "export-triton": Case(
        lambda world, out: (
            *("export-triton", world.tiny, "--name=net", f"--out={out / 'models'}"),
            f"--json={out / 'a.json'}",
        ),
        ("a.json",),
    ),
    "evaluate": Case(
        lambda world, out: (
            *("evaluate", world.tiny, f"{world.tiny}@onnxruntime", "--data=phantom:2@1"),
            *(
                "--points=0,1,2",
                "--threads=1",
                f"--json={out / 'a.json'}",
                f"--csv={out / 'a.csv'}",
            ),
        ),
        ("a.json", "a.csv"),
    ),
    "train": Case(
        lambda world, out: (
            *("train", "--model=unet/nano", "--data=phantom:4@1", "--input-size=64"),
            *("--steps=2", "--batch-size=2", "--workers=1", f"--out={out / 'net.safetensors'}"),
        ),
        ("net.safetensors",),
        resumable="net.safetensors.state.pt",
    ),
}


def make_world(folder: Path, export: Sequence[object], exported: Path, tiny: Path) -> World:
    """Everything that the commands read."""
    images = [folder / f"{i}.png" for i in range(2)]
    for i, image in enumerate(images):
        Image.new("L", (40, 50), 100 + i).save(image)
    bundle = folder / "net.mahtrt"
    with ForkServer(folder) as server:
        made = server.run(
            (
                *("build", exported, "--fp32", "--target=onnxruntime", "--threads=1"),
                *("--check-images=1", f"--out={bundle}"),
            )
        )
    assert made.status == 0, made.said
    maps = tiny_maps.build_bundle(folder / "maps.mahtrt", targets=("onnxruntime",))
    key = write_keys(folder, "test").private
    return World(export, exported, bundle, tiny, maps, images, key)


def lay_old(case: Case, world: World, out: Path, *, wanted: bool = True) -> None:
    """Put something at the place of every output, where it is wanted or needed."""
    for name in case.outputs if wanted or case.in_place else ():
        place = out / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.suffix == ".mahtrt":
            shutil.copytree(world.tiny, place)
        else:
            place.write_bytes(OLD)


def states(case: Case, world: World, out: Path) -> set[str]:
    """What is at the outputs: the ``old`` file, a whole ``new`` one, or ``none``."""
    return {_state(out / name, world) for name in case.outputs}


def _state(place: Path, world: World) -> str:
    if not place.exists():
        return "none"
    check_whole(place)
    if place.is_dir():
        manifests = [(each / "manifest.json").read_bytes() for each in (place, world.tiny)]
        is_old = manifests[0] == manifests[1] and not (place / SIGNATURE_NAME).exists()
        return "old" if is_old else "new"
    return "old" if place.read_bytes() == OLD else "new"


def check_whole(place: Path) -> None:
    """Read a file or bundle to its end, unless it is what was there before."""
    if place.suffix == ".mahtrt":
        read_bundle(place)
        signature = place / SIGNATURE_NAME
        if signature.exists():
            assert len(json.loads(signature.read_bytes())) == 3
        return
    data = place.read_bytes()
    if data == OLD:
        return
    if place.suffix == ".json":
        json.loads(data)
        assert data.endswith(b"\n")
    elif place.suffix == ".csv":
        rows = list(csv.reader(data.decode().splitlines()))
        assert len({len(row) for row in rows}) == 1
        assert data.endswith(b"\n")
    elif place.suffix == ".png":
        with Image.open(place) as picture:
            picture.load()
    elif place.suffix == ".onnx":
        onnx.checker.check_model(onnx.load_from_string(data))
    elif place.suffix == ".safetensors":
        load_checkpoint(place)


def check_all_whole(folder: Path) -> None:
    """Every file and bundle in a folder that is no scratch folder is whole."""
    for place in sorted(folder.iterdir()):
        if place.is_dir() and place.suffix != ".mahtrt":
            check_all_whole(place) if not is_scratch(place) else None
        else:
            check_whole(place)


def is_scratch(place: Path) -> bool:
    return place.name.startswith(".mahtrt-") and place.name.endswith(".tmp")


def left_over(case: Case, out: Path, temporary: Path) -> list[str]:
    """Scratch folders, and what else is beside the outputs that nobody asked for.

    Libraries leave files of their own in the system's temporary folder.
    """
    wanted = {*case.outputs, *(str(Path(name).parent) for name in case.outputs), *SHARED}
    whole = tuple(f"{name}/" for name in (*case.outputs, *SHARED))
    found = [place.name for place in temporary.rglob("*") if is_scratch(place)]
    for place in sorted(out.rglob("*")):
        name = place.relative_to(out).as_posix()
        if is_scratch(place) or (name not in wanted and not name.startswith(whole)):
            found.append(name)
    return found
