"""Bad input: one clear line, the right exit code, and nothing left behind."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnx
import pytest
from foreign_network import POINTS, SPEC, ForeignNetwork, run
from PIL import Image
from tiny_network import make_model
from typer.testing import Result

import mahtrt
from mahtrt import files
from mahtrt.build import judge as judge_module
from mahtrt.data.phantom import make_phantom
from mahtrt.errors import ImageError, InputError
from mahtrt.runtime.overlay import write_overlay
from mahtrt.verbs.console import StageDisplay

pytestmark = pytest.mark.slow

SEEN_SIZE = (96, 80)


@dataclass(frozen=True, slots=True)
class World:
    """What a case can spoil.

    Attributes:
        given: For input.
        out: For output: stays empty.
    """

    given: Path
    out: Path
    network: ForeignNetwork
    tiny: Path

    def images(self, count: int = 4, kind: str = "real") -> Path:
        """A folder of images to calibrate on."""
        folder = self.given / kind
        folder.mkdir()
        rng = np.random.default_rng(1)
        for i in range(count):
            images = {
                "real": make_phantom(i, size=SEEN_SIZE).image,
                "random": rng.integers(0, 256, SEEN_SIZE, np.uint8),
            }
            Image.fromarray(images[kind]).save(folder / f"{i}.png")
        return folder

    def picture(self, name: str = "one.png") -> Path:
        place = self.given / name
        Image.fromarray(make_phantom(0, size=SEEN_SIZE).image).save(place)
        return place

    def truncated(self, place: Path) -> Path:
        whole = self.picture("whole.png").read_bytes()
        place.write_bytes(whole[: len(whole) // 2])
        return place

    def bundle(self) -> Path:
        """A copy of the tiny bundle, to be changed."""
        place = self.given / "tiny.mahtrt"
        shutil.copytree(self.tiny, place)
        return place

    def export(self, **changed: object) -> list[str]:
        """The command that exports the foreign network, with some of its parts replaced."""
        parts = {
            "model": f"{self.network.code}:make",
            "--checkpoint": self.network.checkpoint,
            "--spec": self.network.spec,
            "--out": self.out / "net.onnx",
            **changed,
        }
        model = parts.pop("model")
        options = [f"{name}={value}" for name, value in parts.items() if value is not None]
        return ["export", str(model), *options]

    def build(self, *options: object, onnx: Path | None = None) -> list[str]:
        """The command that builds an INT8 engine of the foreign network."""
        return [
            "build",
            str(onnx or self.network.onnx),
            "--target=onnxruntime",
            "--threads=1",
            f"--out={self.out / 'net.mahtrt'}",
            *map(str, options),
        ]

    def predict(self, image: Path, *options: object) -> list[str]:
        return [
            "predict",
            str(self.tiny),
            str(image),
            f"--json={self.out / 'found.json'}",
            f"--overlay={self.out / 'overlays'}",
            *map(str, options),
        ]


@pytest.fixture
def world(foreign_network: ForeignNetwork, tiny_bundle: Path, tmp_path: Path) -> World:
    given, out = tmp_path / "given", tmp_path / "out"
    given.mkdir()
    out.mkdir()
    return World(given, out, foreign_network, tiny_bundle)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge_module, "TIMED_ROUNDS", 1)


def check_refused(result: Result, world: World, exit_code: int, *mentions: str) -> None:
    """Exit code, one line that says what was got and what to do, no traceback, nothing left."""
    assert result.exit_code == exit_code, result.output
    assert isinstance(result.exception, SystemExit)
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, result.stderr
    assert "Traceback" not in result.stderr
    assert result.stderr.splitlines()[-1] == errors[0], "the error is the last word"
    assert "got " in errors[0]
    for mention in mentions:
        assert mention in errors[0]
    assert left_in(world.out) == []


def left_in(folder: Path) -> list[str]:
    return sorted(place.relative_to(folder).as_posix() for place in folder.rglob("*"))


Spoil = Callable[[World], list[str]]


def pickle_with_code(world: World) -> list[str]:
    import torch

    place = world.given / "code.pt"
    torch.save({"state_dict": {"weight": torch.zeros(1)}, "made_by": Path("x")}, place)
    return world.export(**{"--checkpoint": place})


def other_keys(world: World) -> list[str]:
    import torch

    place = world.given / "other.pt"
    torch.save({"stem.weight": torch.zeros(1)}, place)
    return world.export(**{"--checkpoint": place})


def spec_with(world: World, text: str) -> list[str]:
    place = world.given / "bad.toml"
    place.write_text(text)
    return world.export(**{"--spec": place})


def unreadable_image(world: World) -> list[str]:
    folder = world.images()
    world.truncated(folder / "broken.png")
    return world.build("--int8", f"--calib={folder}")


def not_onnx(world: World) -> list[str]:
    place = world.given / "not.onnx"
    place.write_text("not a graph\nat all\n")
    return world.build("--fp32", onnx=place)


def onnx_without_spec(world: World) -> list[str]:
    onnx.save(make_model(), world.given / "bare.onnx")
    return world.build("--fp32", onnx=world.given / "bare.onnx")


def plan_with(world: World, plan: dict[str, Any]) -> list[str]:
    place = world.given / "plan.json"
    place.write_text(json.dumps(plan))
    return world.build("--int8", f"--calib={world.images()}", f"--plan={place}")


def plan_of_another_network(world: World) -> list[str]:
    block = {"name": "b", "precision": "int8", "nodes": ["elsewhere.Conv"]}
    return plan_with(world, {"blocks": [block]})


def taken_place(world: World) -> list[str]:
    (world.given / "mine").mkdir()
    (world.given / "mine" / "thesis.txt").write_text("mine")
    return [*world.build("--fp32"), f"--out={world.given / 'mine'}"]


def one_of_two_truncated(world: World) -> list[str]:
    return world.predict(world.picture(), world.truncated(world.given / "cut.png"))


def changed_byte(world: World, relative: str) -> Path:
    bundle = world.bundle()
    place = bundle / relative
    raw = bytearray(place.read_bytes())
    raw[len(raw) // 2] ^= 1
    place.write_bytes(raw)
    return bundle


def newer_schema(world: World) -> list[str]:
    bundle = world.bundle()
    place = bundle / "manifest.json"
    place.write_text(place.read_text().replace("mahtrt.bundle/3", "mahtrt.bundle/4"))
    return ["predict", str(bundle), str(world.picture()), f"--json={world.out / 'found.json'}"]


def predict_changed(world: World, relative: str) -> list[str]:
    bundle = changed_byte(world, relative)
    return ["predict", str(bundle), str(world.picture()), f"--json={world.out / 'found.json'}"]


CASES: dict[str, tuple[int, Spoil, tuple[str, ...]]] = {
    "checkpoint: pickle that needs code": (
        1,
        pickle_with_code,
        ("code.pt", "needs code", "torch.save(model.state_dict(), path)"),
    ),
    "checkpoint: other keys": (
        1,
        other_keys,
        ("missing (down.0.0.weight, ", "1 unexpected (stem.weight)"),
    ),
    "model: no such factory": (
        1,
        lambda w: w.export(model=f"{w.network.code}:nothing"),
        ("no 'nothing' there", "make"),
    ),
    "model: unknown argument": (
        1,
        lambda w: [*w.export(), "--kwarg=depth=3"],
        ("TypeError", "--kwarg key=value"),
    ),
    "spec: unknown field": (
        1,
        lambda w: spec_with(w, SPEC.replace("size =", "resise = 'stretch'\nsize =")),
        ("unknown field 'resise'", "bad.toml", "Remove it or correct its name."),
    ),
    "spec: newer": (
        5,
        lambda w: spec_with(w, "schema = 'mahtrt.spec/3'\n" + SPEC),
        ("mahtrt.spec/3", "Upgrade mahtrt"),
    ),
    "spec: none": (2, lambda w: w.export(**{"--spec": None}), ("--spec",)),
    "spec: other landmarks": (
        1,
        lambda w: spec_with(w, SPEC.replace('"left", ', "")),
        ("(1, 3, 64, 64)", "(1, 2, "),
    ),
    "calibration: none": (2, lambda w: w.build("--int8"), ("--calib",)),
    "calibration: empty folder": (
        1,
        lambda w: w.build("--int8", f"--calib={w.images(0)}"),
        ("real", "image"),
    ),
    "calibration: one image": (
        1,
        lambda w: w.build("--int8", f"--calib={w.images(1)}"),
        ("at least 2", "--eval"),
    ),
    "calibration: unreadable image": (1, unreadable_image, ("broken.png", "cannot be decoded")),
    "calibration: random images": (
        1,
        lambda w: w.build("--int8", f"--calib={w.images(kind='random')}"),
        ("random noise", "real images"),
    ),
    "calibration: other points": (
        1,
        lambda w: w.build("--int8", "--calib=phantom:4@1"),
        ("7 annotated points", "--points"),
    ),
    "calibration: unknown method": (
        2,
        lambda w: w.build("--int8", f"--calib={w.images()}", "--method=magic"),
        ("'magic'", "entropy"),
    ),
    "calibration: percentile": (
        2,
        lambda w: w.build("--int8", f"--calib={w.images()}", "--percentile=0"),
        ("--percentile", "at most 100"),
    ),
    "onnx: no such file": (
        1,
        lambda w: w.build(onnx=w.given / "no.onnx"),
        ("no.onnx", "mahtrt export"),
    ),
    "onnx: not ONNX": (1, not_onnx, ("not.onnx",)),
    "onnx: without a spec": (1, onnx_without_spec, ("without a spec", "mahtrt export")),
    "plan: unknown field": (
        1,
        lambda w: plan_with(w, {"blocks": [], "speed": 1}),
        ("plan.json", "speed"),
    ),
    "plan: of another network": (1, plan_of_another_network, ("elsewhere.Conv",)),
    "plan: newer": (5, lambda w: plan_with(w, {"schema": "mahtrt.plan/9", "blocks": []}), ()),
    "plan: nothing in INT8": (2, lambda w: plan_with(w, {"blocks": []}), ("--fp32",)),
    "out: taken": (2, taken_place, ("Choose another --out.",)),
    "points: no numbers": (2, lambda w: w.build("--points=a,b"), ("36,39,42",)),
    "image: truncated": (1, one_of_two_truncated, ("cut.png", "Restore or remove the file.")),
    "image: none can be used": (
        1,
        lambda w: w.predict(w.truncated(w.given / "cut.png"), "--skip-bad"),
        ("cut.png", "at least one"),
    ),
    "bundle: nothing there": (
        1,
        lambda w: ["predict", str(w.given / "no.mahtrt"), str(w.picture())],
        ("no.mahtrt", "mahtrt build"),
    ),
    "bundle: newer": (5, newer_schema, ("mahtrt.bundle/3", "Upgrade mahtrt")),
    "bundle: changed model": (
        5,
        lambda w: predict_changed(w, "engines/openvino-fp32/model.blob"),
        ("model.blob", "Build the bundle again"),
    ),
    "bundle: changed manifest": (
        5,
        lambda w: predict_changed(w, "manifest.json"),
        ("manifest.json",),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_refused(case: str, world: World) -> None:
    exit_code, spoil, mentions = CASES[case]
    check_refused(run(*spoil(world)), world, exit_code, *mentions)


def test_every_changed_file_of_a_bundle_is_found(world: World) -> None:
    files = [place for place in left_in(world.tiny) if (world.tiny / place).is_file()]
    assert len(files) > 4
    for relative in files:
        bundle = changed_byte(world, relative)
        check_refused(run("verify", bundle), world, 5, relative.rpartition("/")[2])
        shutil.rmtree(bundle)


def test_skip_bad_leaves_unreadable_images_out_and_names_them(world: World) -> None:
    folder = world.images()
    world.truncated(folder / "broken.png")
    result = run(*world.build("--int8", f"--calib={folder}", "--skip-bad"))
    assert result.exit_code == 0, result.output
    assert "note: left out broken" in result.stderr
    manifest = json.loads((world.out / "net.mahtrt" / "manifest.json").read_text())
    assert len(manifest["calibration"]["skipped"]) == 1
    assert manifest["calibration"]["card"]["images"] == 3  # of four, one is held back


def test_predict_skip_bad(world: World) -> None:
    cut = world.truncated(world.given / "cut.png")
    result = run(*world.predict(cut, world.picture(), "--skip-bad"))
    assert result.exit_code == 0, result.output
    assert "note: left out" in result.stderr
    assert "cut.png" in result.stderr
    assert left_in(world.out) == ["found.json", "overlays", "overlays/one.overlay.png"]


def test_arrays_of_the_wrong_dtype(tiny_bundle: Path) -> None:
    with (
        mahtrt.open(tiny_bundle) as session,
        pytest.raises(ImageError, match="dtype float32; expected"),
    ):
        session.run(np.zeros((32, 48), np.float32))


def test_tensors_of_the_wrong_shape_or_dtype(tiny_bundle: Path) -> None:
    with mahtrt.open(tiny_bundle) as session:
        tensors: tuple[Any, ...] = (
            np.zeros((3, 32, 48), np.float32),
            np.zeros((1, 3, 32, 32), np.float32),
            np.zeros((1, 3, 32, 48), np.float64),
        )
        for tensor in tensors:
            with pytest.raises(InputError, match="float32"):
                session.infer(tensor)


def full_disk_at(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Writing a file whose name ends so finds no space left."""
    honest = files.create

    def created(path: Path) -> BinaryIO:
        if path.as_posix().endswith(name):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return honest(path)

    monkeypatch.setattr(files, "create", created)


@pytest.mark.parametrize(
    "name", ["model.onnx", "ranges.json", "model.int8.onnx", "golden/0.png", "manifest.json"]
)
def test_a_disk_that_fills_while_building(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    command = world.build("--int8", f"--calib={world.images()}")
    full_disk_at(monkeypatch, name)
    check_refused(run(*command), world, 1, "full disk", "free some space")


def test_a_disk_that_fills_while_exporting(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    full_disk_at(monkeypatch, ".onnx")
    check_refused(run(*world.export()), world, 1, "net.onnx", "full disk", "free some space")


def test_a_disk_that_fills_while_predicting(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = world.picture("a.png"), world.picture("b.png")
    drawn = []
    honest = files.create

    def created(path: Path) -> BinaryIO:
        drawn.append(path)
        if len(drawn) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return honest(path)

    monkeypatch.setattr(files, "create", created)
    check_refused(run(*world.predict(first, second)), world, 1, "full disk")
    assert len(drawn) == 2


def test_results_that_cannot_be_written(world: World) -> None:
    (world.given / "folder").mkdir()
    arguments = ["predict", world.tiny, world.picture(), f"--csv={world.given / 'folder'}"]
    check_refused(run(*arguments), world, 1, "folder")


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
from mahtrt.cli import main
main()
"""


def test_a_file_size_limit_of_the_system(world: World) -> None:
    command = [sys.executable, "-c", LIMITED, *world.build("--fp32")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("error: ")
    assert left_in(world.out) == []


def interrupt_at(monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    def told(self: StageDisplay, name: str, done: int, total: int, detail: str = "") -> None:
        if name.startswith(stage):
            raise KeyboardInterrupt

    monkeypatch.setattr(StageDisplay, "__call__", told)


def check_interrupted(result: Result) -> None:
    assert result.exit_code == 130, result.output
    assert "Traceback" not in result.output
    assert result.stderr.splitlines()[-1].startswith("interrupted: ")


@pytest.mark.parametrize("stage", ["building the network", "exporting"])
def test_interrupted_export(world: World, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    interrupt_at(monkeypatch, stage)
    check_interrupted(run(*world.export()))
    assert left_in(world.out) == []


@pytest.mark.parametrize(
    "stage",
    ["reading", "calibrating", "opening the reference", "building", "checking", "writing"],
)
def test_interrupted_build(world: World, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    command = world.build("--int8", f"--calib={world.images()}")
    interrupt_at(monkeypatch, stage)
    check_interrupted(run(*command))
    assert left_in(world.out) == []


def test_an_interrupted_build_leaves_the_bundle_that_was_there(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = world.bundle()
    before = (bundle / "manifest.json").read_bytes()
    interrupt_at(monkeypatch, "writing")
    check_interrupted(run(*world.build("--fp32", "--check-images=1"), f"--out={bundle}"))
    assert (bundle / "manifest.json").read_bytes() == before
    assert left_in(bundle) == left_in(world.tiny)
    assert [place.name for place in world.given.iterdir()] == [bundle.name]


def test_interrupted_predict(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []

    def draw(place: Path, *rest: Any) -> None:
        drawn.append(place)
        if len(drawn) == 2:
            raise KeyboardInterrupt
        write_overlay(place, *rest)

    monkeypatch.setattr("mahtrt.runtime.predict.write_overlay", draw)
    check_interrupted(run(*world.predict(world.picture("a.png"), world.picture("b.png"))))
    assert len(drawn) == 2
    assert left_in(world.out) == []


def test_interrupted_demo(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has made so far is whole, and a second run takes the folder over."""
    interrupt_at(monkeypatch, "exporting")
    folder = world.out / "demo"
    for _ in range(2):
        check_interrupted(run("demo", f"--out={folder}"))
        assert not [place for place in left_in(folder) if ".tmp" in place]
        assert len(list((folder / "images").glob("*.png"))) == 4


SIGNALLED = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have told us to ignore it
from mahtrt.cli import main
main()
"""


def test_ctrl_c_in_a_terminal(world: World) -> None:
    """A real signal, in the middle of calibration."""
    command = world.build("--int8", "--calib=phantom:400@1", f"--points={POINTS}")
    process = subprocess.Popen(
        [sys.executable, "-c", SIGNALLED, *command], stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        told = []
        for line in process.stderr:
            told.append(line)
            if "calibrating" in line:
                process.send_signal(signal.SIGINT)
                break
        told += process.stderr.read().splitlines()
        assert process.wait(timeout=120) == 130, told
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    assert told[-1].startswith("interrupted: ")
    assert not any("Traceback" in line for line in told)
    assert left_in(world.out) == []
