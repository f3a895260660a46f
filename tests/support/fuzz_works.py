"""What is tried with mutated input, each in a watched child, and the rules that have to hold.

A function here takes a case, the world (valid input to start from, made by :func:`prepare`) and a
scratch folder. It returns a word about how things went; errors of mahtrt pass through, and a
broken rule is a :class:`watched.WrongError`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from edits import Bytes, Json, apply_all, edited_json
from numpy.typing import NDArray
from watched import WrongError

from mahtrt.errors import MahtrtError

IMAGE = (np.arange(32 * 48 * 3, dtype=np.uint32).reshape(32, 48, 3) * 7 % 251).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class FileCase:
    """One of a kind's seed files, by number, with changed bytes; ``suffix`` renames it."""

    seed: int
    edits: tuple[Bytes, ...]
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class TreeCase:
    """A bundle with one file changed.

    Attributes:
        file: Number of the file.
        how: ``bytes`` changes its bytes by ``edits``; ``delete``, ``link``, ``fifo``, ``folder``
            and ``other`` (another file's content) replace it; ``add`` puts a new file beside it.
    """

    file: int
    how: str
    edits: tuple[Bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class SealedCase:
    """A bundle whose manifest was changed by somebody who then wrote the right digests."""

    edits: tuple[Json, ...]
    file: int = 0
    file_edits: tuple[Bytes, ...] = ()


# -- what cases start from ---------------------------------------------------------------------


def prepare(_: object, world: Path, __: Path) -> str:
    """Make the world."""
    from packed_dicom import write_packed_dicom
    from tiny_network import build_bundle

    from mahtrt.runtime.opening import open_session

    cv2.setNumThreads(1)
    bundle = build_bundle(world / "tiny.mahtrt")
    for engine in ("openvino", "onnxruntime"):
        with open_session(bundle, engine=engine) as session:
            np.save(world / f"{engine}.npy", session.run(IMAGE).points)
    _write_bare_bundle(world / "bare.mahtrt")
    _write_graphs(world / "graphs")
    _write_images(world / "images")
    _write_dicom(world / "dicom")
    write_packed_dicom(world / "packed-dicom")
    _write_checkpoints(world / "checkpoints")
    return "made"


def _write_bare_bundle(path: Path) -> None:
    """A bundle whose engines are nothing but the graph."""
    import onnx
    from tiny_network import SPEC, TARGETS, make_model

    from mahtrt.bundle.bundle import write_bundle
    from mahtrt.bundle.manifest import EngineRecord, GraphRecord, Manifest
    from mahtrt.data.preprocess_version import PREPROCESS_VERSION

    with write_bundle(path) as writer:
        onnx.save(make_model(), writer.place("model.onnx"))
        writer.finish(
            Manifest(
                spec=SPEC,
                precision="fp32",
                graphs=(GraphRecord("fp32", "model.onnx", "fp32"),),
                engines=tuple(
                    EngineRecord(f"{target}-fp32", target, "fp32", {"onnx": "model.onnx"})
                    for target in TARGETS
                ),
                default_engine="openvino-fp32",
                preprocess_version=PREPROCESS_VERSION,
            )
        )


def _write_graphs(folder: Path) -> None:
    import onnx
    from tiny_network import SPEC, make_int8_model, make_model

    folder.mkdir()
    for name, model in (("float", make_model()), ("int8", make_int8_model())):
        texts = {"mahtrt.spec": SPEC.to_json()}
        model.metadata_props.extend(
            onnx.StringStringEntryProto(key=key, value=value) for key, value in texts.items()
        )
        onnx.save(model, folder / f"{name}.onnx")


def _write_images(folder: Path) -> None:
    from PIL import Image

    folder.mkdir()
    colour, gray = Image.fromarray(IMAGE), Image.fromarray(IMAGE[..., 0])
    deep = Image.fromarray(IMAGE[..., 0].astype(np.uint16) * 257)
    for name in ("bmp", "jpg", "png", "ppm", "tiff", "webp"):
        colour.save(folder / f"colour.{name}")
    for name in ("bmp", "jpg", "png", "pgm", "tiff"):
        gray.save(folder / f"gray.{name}")
    for name in ("png", "tiff", "pgm"):
        deep.save(folder / f"deep.{name}")
    colour.convert("P").save(folder / "palette.png")
    colour.convert("RGBA").save(folder / "alpha.png")
    colour.convert("CMYK").save(folder / "cmyk.jpg")
    colour.save(folder / "packed.tiff", compression="tiff_deflate")
    colour.save(folder / "lzw.tiff", compression="tiff_lzw")
    for name in ("gif", "eps", "pdf", "ico", "tga", "pcx", "sgi", "dds"):  # formats not to be read
        colour.save(folder / f"undocumented-{name}.png", format=name.replace("jpg", "jpeg"))


def _write_dicom(folder: Path) -> None:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import (
        DeflatedExplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        RLELossless,
        SecondaryCaptureImageStorage,
        generate_uid,
    )

    folder.mkdir()
    kinds = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian)
    for number, syntax in enumerate((*kinds, RLELossless)):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["fuzz", str(number)])
        meta.TransferSyntaxUID = syntax if syntax != RLELossless else ExplicitVRLittleEndian
        data = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
        data.SOPClassUID = SecondaryCaptureImageStorage
        data.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
        data.Rows, data.Columns, data.SamplesPerPixel = 32, 48, 1
        data.PhotometricInterpretation = "MONOCHROME1" if number % 2 else "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit, data.PixelRepresentation = 15, 0
        data.PixelSpacing = [0.1, 0.1]
        data.WindowCenter, data.WindowWidth = 20000, 30000
        data.RescaleSlope, data.RescaleIntercept = 1, -100
        data.PixelData = (IMAGE[..., 0].astype(np.uint16) * 200).tobytes()
        data["PixelData"].VR = "OW"
        if syntax == RLELossless:
            data.compress(RLELossless)
        data.save_as(folder / f"{number}.dcm", enforce_file_format=True)


def _write_checkpoints(folder: Path) -> None:
    import torch
    from tiny_network import SPEC

    from mahtrt.models.checkpoint import save_checkpoint

    folder.mkdir()
    torch.manual_seed(0)
    state = _small_module().state_dict()
    save_checkpoint(folder / "small.safetensors", state, SPEC)
    save_checkpoint(folder / "half.safetensors", state, SPEC, half=True)
    torch.save(state, folder / "small.pt")
    torch.save({"model_state_dict": state, "epoch": 3}, folder / "nested.pth")


def _small_module() -> Any:
    from torch import nn

    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))


def _seeds(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def _mutated(case: FileCase, folder: Path, scratch: Path) -> Path:
    seeds = _seeds(folder)
    seed = seeds[case.seed % len(seeds)]
    place = scratch / ("given" + (case.suffix or seed.suffix))
    place.write_bytes(apply_all(case.edits, seed.read_bytes()))
    return place


# -- bundles -----------------------------------------------------------------------------------


def unsealed_bundle(case: TreeCase, world: Path, scratch: Path) -> str:
    """Nothing that was changed may be accepted by verify; an engine opens only as it was."""
    bundle = scratch / "a.mahtrt"
    shutil.copytree(world / "tiny.mahtrt", bundle)
    _change(case, bundle)
    same = _content(bundle) == _content(world / "tiny.mahtrt")
    said = []
    for name, use in _USES.items():
        try:
            use(bundle, world, scratch)
        except MahtrtError:
            said.append(f"{name} refused")
            continue
        if name == "verify" and not same:
            raise WrongError("verify accepted a changed bundle")
        said.append(f"{name} done")
    return ", ".join(said)


def sealed_bundle(case: SealedCase, world: Path, scratch: Path) -> str:
    """Whatever a manifest says and its files hold, every use ends well or with an error."""
    bundle = scratch / "a.mahtrt"
    shutil.copytree(world / "tiny.mahtrt", bundle)
    files = [path for path in _files(bundle) if path.name != "manifest.json"]
    if case.file_edits:
        place = files[case.file % len(files)]
        place.write_bytes(apply_all(case.file_edits, place.read_bytes()))
    _seal(bundle, case.edits)
    said = []
    for name, use in _USES.items():
        try:
            use(bundle, None, scratch)
            said.append(f"{name} done")
        except MahtrtError as error:
            said.append(f"{name} refused: {error}")
    return "; ".join(said)


def _seal(bundle: Path, edits: Sequence[Json] = ()) -> None:
    """Write a bundle's digests as its files are now, and change its manifest."""
    place = bundle / "manifest.json"
    tree = json.loads(place.read_text())
    del tree["sha256"]
    for record in tree["files"]:
        raw = (bundle / record["path"]).read_bytes()
        record.update(sha256=hashlib.sha256(raw).hexdigest(), size=len(raw))
    place.write_bytes(_sealed(edited_json(edits, tree)))


def _sealed(text: str) -> bytes:
    """A manifest's text with its own digest at its end."""
    zeros = "0" * 64
    body = text.rstrip().removesuffix("}").rstrip() + f',\n  "sha256": "{zeros}"\n}}\n'
    raw = body.encode("utf-8", "surrogatepass")
    digest = hashlib.sha256(raw).hexdigest().encode()
    at = raw.rindex(zeros.encode())
    return raw[:at] + digest + raw[at + 64 :]


def _open_and_run(bundle: Path, world: Path | None, _: Path) -> None:
    from mahtrt.runtime.opening import open_session

    for engine in ("openvino", "onnxruntime"):
        with open_session(bundle, engine=engine, threads=1) as session:
            points = session.run(IMAGE).points
        if world is not None and not np.array_equal(points, np.load(world / f"{engine}.npy")):
            raise WrongError(f"{engine} opened, and its landmarks are others")


def _verify(bundle: Path, _: Path | None, __: Path) -> None:
    from mahtrt.runtime.verify import VerifyOptions, verify

    verify(VerifyOptions(bundle))


def _inspect(bundle: Path, _: Path | None, __: Path) -> None:
    from mahtrt.inspection.inspect import InspectOptions, inspect

    json.dumps(inspect(InspectOptions(bundle, graphs=True)).to_dict())
    _command(["inspect", str(bundle)])


def _pack(bundle: Path, _: Path | None, scratch: Path) -> None:
    from mahtrt.bundle.pack import PackOptions, pack

    pack(PackOptions(bundle, scratch / "packed.mahtrt"))


_USES: dict[str, Callable[[Path, Path | None, Path], None]] = {
    "open": _open_and_run,
    "inspect": _inspect,
    "pack": _pack,
    "verify": _verify,
}


def _change(case: TreeCase, bundle: Path) -> None:
    files = _files(bundle)
    place = files[case.file % len(files)]
    if case.how == "bytes":
        place.write_bytes(apply_all(case.edits, place.read_bytes()))
        return
    if case.how == "add":
        place.with_name("more.bin").write_bytes(b"more")
        return
    other = files[(case.file + 1) % len(files)].read_bytes()
    place.unlink()
    if case.how == "link":
        outside = bundle.parent / f"outside{place.suffix}"
        outside.write_bytes(other)
        place.symlink_to(outside)
    elif case.how == "fifo":
        os.mkfifo(place)
    elif case.how == "folder":
        place.mkdir()
    elif case.how == "other":
        place.write_bytes(other)


def _files(bundle: Path) -> list[Path]:
    return sorted(path for path in bundle.rglob("*") if path.is_file())


def _content(bundle: Path) -> dict[str, object]:
    """Every path with its kind and bytes."""
    return {
        path.relative_to(bundle).as_posix(): path.read_bytes()
        if path.is_file() and not path.is_symlink()
        else path.lstat().st_mode
        for path in bundle.rglob("*")
        if not path.is_dir() or not any(path.iterdir())
    }


# -- graphs, specs, plans ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GraphCase:
    """A graph with a changed field of its protobuf tree, or changed bytes.

    Attributes:
        at: Number of the field, modulo how many there are.
        value: What it becomes: numbers and texts are converted to the field's type; None repeats
            the field, or clears it where it is not repeated.
    """

    seed: int
    changes: tuple[tuple[int, int | str | None], ...] = ()
    edits: tuple[Bytes, ...] = ()
    metadata: tuple[Json, ...] = ()


def graph(case: GraphCase, world: Path, scratch: Path) -> str:
    """Look into a graph, read it as an export, and open it on both CPU targets."""
    import onnx

    from mahtrt.graph.graph_file import read_graph
    from mahtrt.inspection.inspect import InspectOptions, inspect

    seeds = _seeds(world / "graphs")
    proto = onnx.load(seeds[case.seed % len(seeds)])
    for at, value in case.changes:
        _change_field(proto, at, value)
    if case.metadata:
        entry = proto.metadata_props[0]
        entry.value = _storable(edited_json(case.metadata, json.loads(entry.value)))
    place = scratch / "given.onnx"
    place.write_bytes(apply_all(case.edits, proto.SerializeToString()))
    said = []
    uses: dict[str, Callable[[], object]] = {
        "inspect": lambda: json.dumps(inspect(InspectOptions(place)).to_dict()),
        "read": lambda: read_graph(place),
        "calibrate": lambda: _quantised(place),
        "openvino": lambda: _infer(place, "openvino", world),
        "onnxruntime": lambda: _infer(place, "onnxruntime", world),
    }
    for name, use in uses.items():
        try:
            use()
            said.append(f"{name} done")
        except MahtrtError as error:
            said.append(f"{name} refused: {error}")
    return "; ".join(said)


def _quantised(place: Path) -> None:
    """The passes that need no data: sites, plan, and the graph in half precision."""
    from mahtrt.calibration.plan import default_plan
    from mahtrt.graph.graph_file import read_graph

    found = read_graph(place)
    default_plan(found.proto, found.spec)


def _infer(place: Path, name: str, world: Path) -> None:
    """Open an engine of the graph from a bundle whose digests are right, and run it once."""
    from mahtrt.runtime.opening import open_session

    bundle = place.with_name("graph.mahtrt")
    if not bundle.exists():
        shutil.copytree(world / "bare.mahtrt", bundle)
        shutil.copyfile(place, bundle / "model.onnx")
        _seal(bundle)
    with open_session(bundle, engine=name, threads=1) as session:
        session.run(IMAGE)


def _change_field(message: Any, at: int, value: int | str | None) -> None:
    fields = list(_fields(message))
    holder, field, index = fields[at % len(fields)]
    current = getattr(holder, field.name)
    item = current[index] if index is not None else current
    if hasattr(item, "ListFields"):  # a message
        if index is None:
            holder.ClearField(field.name)
        elif value is None:
            current.add().CopyFrom(item)
        else:
            del current[index]
        return
    new = _of_type(item, value)
    with contextlib.suppress(ValueError):  # no such enumerator: only bytes can say it
        if index is not None:
            current[index] = new
        else:
            setattr(holder, field.name, new)


def _of_type(item: Any, value: int | str | None) -> Any:
    text = "" if value is None else str(value)
    if isinstance(item, str):
        return _storable(text)
    if isinstance(item, bytes):
        return text.encode("utf-8", "surrogatepass")
    number = value if isinstance(value, int) else len(text)
    if isinstance(item, float):
        return float(number)
    return number % 2**31  # enumerations and sizes; a larger one is set by bytes


def _storable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _fields(message: Any) -> Any:
    """Every set field of a protobuf tree: its message, descriptor, and index where repeated."""
    for field, value in message.ListFields():
        repeated = hasattr(value, "__len__") and not isinstance(value, (str, bytes))
        items = list(enumerate(value)) if repeated else [(None, value)]
        for index, item in items:
            yield message, field, index
            if hasattr(item, "ListFields"):
                yield from _fields(item)


def spec(case: Sequence[Json], _: Path, __: Path) -> str:
    """A spec that is read is written and read again as itself."""
    from tiny_network import SPEC

    from mahtrt.spec import spec_from_json

    found = spec_from_json(edited_json(case, json.loads(SPEC.to_json())))
    if spec_from_json(found.to_json()) != found:
        raise WrongError("another spec came back")
    return "read"


def plan(case: Sequence[Json], world: Path, _: Path) -> str:
    """A plan that is read is checked against its graph, and written and read again as itself."""
    import onnx
    from tiny_network import SPEC

    from mahtrt.bundle.plan import plan_from_json
    from mahtrt.calibration.plan import check_plan, default_plan
    from mahtrt.graph.index import GraphIndex

    model = onnx.load(world / "graphs" / "float.onnx")
    found = plan_from_json(edited_json(case, default_plan(model, SPEC).to_dict()))
    if plan_from_json(found.to_json()) != found:
        raise WrongError("another plan came back")
    check_plan(found, GraphIndex(model))
    return "read"


# -- checkpoints, images -----------------------------------------------------------------------


def checkpoint(case: FileCase, world: Path, scratch: Path) -> str:
    """Weights that are loaded are finite."""
    import torch

    from mahtrt.models.checkpoint import load_checkpoint, load_into

    module = _small_module()
    load_into(module, load_checkpoint(_mutated(case, world / "checkpoints", scratch)))
    if not all(bool(torch.isfinite(value).all()) for value in module.state_dict().values()):
        raise WrongError("a weight that is not finite was loaded")
    return "loaded"


@dataclass(frozen=True, slots=True)
class StateCase:
    """A checkpoint of PyTorch's with odd content.

    Attributes:
        items: Key, element type, shape, and kind: ``dense``, ``sparse``, ``meta``, ``nan``,
            ``view`` (of one element, expanded), ``object`` or ``quantized``.
    """

    items: tuple[tuple[int | str, str, tuple[int, ...], str], ...]
    under: str = ""


def state(case: StateCase, _: Path, scratch: Path) -> str:
    """A file that torch.save wrote, whatever is in it."""
    import torch

    from mahtrt.models.checkpoint import load_checkpoint, load_into

    made: dict[Any, Any] = {
        key: _tensor(torch, dtype, shape, kind) for key, dtype, shape, kind in case.items
    }
    if case.under:
        made = {case.under: made}
    place = scratch / "given.pt"
    torch.save(made, place)
    module = _small_module()
    load_into(module, load_checkpoint(place))
    return "loaded"


def _tensor(torch: Any, dtype: str, shape: tuple[int, ...], kind: str) -> Any:
    if kind == "object":
        return {"a": [1, "b"]}
    if kind == "meta":
        return torch.empty(shape, dtype=getattr(torch, dtype), device="meta")
    if kind == "view":
        return torch.zeros((), dtype=getattr(torch, dtype)).expand(shape)
    small = tuple(min(size, 6) for size in shape)
    made = torch.zeros(small, dtype=getattr(torch, dtype))
    if kind == "nan" and made.is_floating_point():
        made = made + float("nan")
    if kind == "quantized":
        return torch.quantize_per_tensor(torch.zeros(small), 0.1, 0, torch.qint8)
    return made.to_sparse() if kind == "sparse" and made.ndim else made


def image(case: FileCase, world: Path, scratch: Path) -> str:
    """An image that is read has a shape and a type that the runtime takes."""
    return _read(_mutated(case, world / "images", scratch))


_CASES = b"""\
before,after,map,label:mass,x0,y0,x1,y1
0.png,1.png,,1,3,4,5,6
1.png,0.png,0.png,0,,,5.5,1e2
"""


def case_list(case: Sequence[Bytes], world: Path, scratch: Path) -> str:
    """A list of pairs that is read has whole pairs of images that are there."""
    from mahtrt.data.datasets import open_dataset

    for name, value in (("0.png", 3), ("1.png", 200)):
        cv2.imwrite(str(scratch / name), np.full((8, 12), value, np.uint8))
    (scratch / "cases.csv").write_bytes(apply_all(case, _CASES))
    found = open_dataset(scratch / "cases.csv", inputs=("before", "after"))
    for sample in found:
        if len(sample.images) != 2 or any(image.shape != (8, 12) for image in sample.images):
            raise WrongError(f"images {[image.shape for image in sample.images]}")
        if sample.target_map is not None and sample.target_map.shape != (1, 8, 12):
            raise WrongError(f"a map of shape {sample.target_map.shape}")
    return f"{len(found)} pairs"


def dicom(case: FileCase, world: Path, scratch: Path) -> str:
    """The same of DICOM."""
    return _read(_mutated(case, world / "dicom", scratch))


def packed_dicom(case: FileCase, world: Path, scratch: Path) -> str:
    """The same of DICOM with compressed frames, of which the second is read."""
    place = _mutated(case, world / "packed-dicom", scratch)
    return _read(place.with_name(f"{place.name}#2"))


def _read(place: Path) -> str:
    from mahtrt.data.images import read_image_and_spacing

    found, spacing = read_image_and_spacing(place)
    if found.dtype not in (np.uint8, np.uint16) or found.ndim not in (2, 3):
        raise WrongError(f"{found.dtype} {found.shape} was read")
    if spacing is not None and not (np.isfinite(spacing).all() and min(spacing) > 0):
        raise WrongError(f"a spacing of {spacing}")
    return f"{found.dtype} {found.shape}"


# -- arrays, file names, arguments -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ArrayCase:
    """An array and spacing that a program gives; ``fill`` is in every element."""

    dtype: str
    shape: tuple[int, ...]
    fill: float = 0
    spacing: Any = None
    layout: str = "plain"


def array(case: ArrayCase, world: Path, _: Path) -> str:
    """What a session takes gives finite landmarks."""
    from mahtrt.runtime.opening import open_session

    with open_session(world / "tiny.mahtrt", engine="onnxruntime", threads=1) as session:
        found = session.run(_array(case), spacing_mm=case.spacing)
    if not np.isfinite(found.points).all():
        raise WrongError("landmarks that are not finite")
    return "landmarks"


def _array(case: ArrayCase) -> NDArray[Any]:
    made = np.zeros((), np.dtype(case.dtype))
    if case.dtype not in ("object", "U3"):
        with np.errstate(all="ignore"):
            made = np.array(case.fill).astype(case.dtype)
    whole = np.broadcast_to(made, case.shape)  # takes no memory, whatever its shape
    if case.layout == "turned":
        return whole.T
    return whole[::-1] if case.layout == "backwards" and whole.ndim else whole


@dataclass(frozen=True, slots=True)
class NamesCase:
    """File names, as bytes, of an image, and of what predict writes."""

    image: bytes
    out: bytes
    overlay: bool = False


def names(case: NamesCase, world: Path, scratch: Path) -> str:
    """Results are whole or absent, and nothing that a terminal obeys is printed."""
    folder = os.fsencode(scratch / "in")
    os.mkdir(folder)
    place = folder + b"/" + case.image + b".png"
    out = os.fsencode(scratch) + b"/" + case.out
    try:
        shutil.copyfile(world / "images" / "colour.png", place)
    except OSError:
        return "no such name here"
    arguments = ["predict", str(world / "tiny.mahtrt"), os.fsdecode(place), "--engine=onnxruntime"]
    arguments += [f"--json={os.fsdecode(out)}.json", f"--csv={os.fsdecode(out)}.csv"]
    if case.overlay:
        arguments.append(f"--overlay={os.fsdecode(out)}.pictures")
    code = _command(arguments)
    written = [os.path.exists(out + suffix) for suffix in (b".json", b".csv")]
    if written != [code == 0] * 2:
        raise WrongError(f"exit {code}, and of JSON and CSV there are {written}")
    return f"exit {code}"


def arguments(case: Sequence[str], world: Path, scratch: Path) -> str:
    """Any command line ends with one of the documented codes."""
    places = {"BUNDLE": "tiny.mahtrt", "GRAPH": "graphs/float.onnx", "IMAGES": "images"}
    places |= {"IMAGE": "images/gray.png", "CHECKPOINT": "checkpoints/small.safetensors"}
    given = []
    for text in case:
        for word, place in places.items():
            text = text.replace(word, str(world / place))
        given.append(text.replace("OUT", str(scratch / "out")))
    return f"exit {_command(given)}"


def _command(arguments: Sequence[str]) -> int:
    """Run a command line in this process; its exit code, by the rules of the command line."""
    from mahtrt.cli import main

    printed = Path("printed")  # of both streams, by the watcher
    before = printed.stat().st_size
    sys.argv = ["mahtrt", *arguments]
    try:
        main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    sys.stdout.flush()
    sys.stderr.flush()
    shown = printed.read_bytes()[before:]
    if code not in (0, 1, 2, 3, 4, 5, 6):
        raise WrongError(f"exit {code}: {shown!r}")
    if b"Traceback" in shown:
        raise WrongError(f"a traceback was printed: {shown!r}")
    if obeyed := set(shown) & (set(range(32)) - set(b"\n\t\r") | {127}):
        raise WrongError(f"control characters {sorted(obeyed)} were printed: {shown!r}")
    return code
