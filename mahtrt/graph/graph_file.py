"""Reading an exported ONNX: the graph, its spec, where it came from, how near PyTorch it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mahtrt.bundle.contents import BundleFile
from mahtrt.bundle.origin import ParityRecord, SourceRecord
from mahtrt.digest import sha256_of_bytes
from mahtrt.errors import ModelError, require
from mahtrt.parsing import read_json
from mahtrt.reading import Wanted, read_regular
from mahtrt.schema import dataclass_from
from mahtrt.spec import ModelSpec, spec_from_json

if TYPE_CHECKING:
    import onnx

T = TypeVar("T")

MOST_ONNX_BYTES = 2**31 - 1  # what protobuf reads
MOST_BATCH = 4096


@dataclass(frozen=True, slots=True, eq=False)
class GraphFile:
    """An ONNX file that ``mahtrt export`` wrote.

    Attributes:
        proto: The graph.
        source: The network it was exported from, as far as the file says.
        parity: The parity table of its export, None where the file has none.
        batch: Images per inference, static.
    """

    path: Path
    proto: onnx.ModelProto
    spec: ModelSpec
    source: SourceRecord
    parity: ParityRecord | None
    sha256: str
    batch: int


def read_graph(path: Path) -> GraphFile:
    """Read an exported graph.

    Raises:
        ModelError: Not an ONNX file, no spec inside, quantised already, or shapes not static.
        SpecError: The spec inside is damaged.
        MissingComponentError: The onnx package is not installed.
    """
    fix = "Check the path, or make one with mahtrt export."
    wanted = Wanted("an ONNX file of mahtrt export", ModelError, fix)
    content = read_regular(path, wanted, MOST_ONNX_BYTES)
    proto = _parsed(content, path, external_data=True)
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    if "mahtrt.spec" not in metadata:
        raise ModelError(
            str(path),
            got="an ONNX file without a spec",
            expected="one that mahtrt export wrote",
            fix="Export the network with mahtrt export; --spec describes foreign ones.",
        )
    if "mahtrt.quantization" in metadata:
        raise ModelError(
            str(path), got="a graph that is quantised already", expected="the FP32 export"
        )
    batch = _batch(proto, path)
    _refuse_invalid(proto, path)
    return GraphFile(
        path=path,
        proto=proto,
        spec=spec_from_json(metadata["mahtrt.spec"], where=f"{path}: spec"),
        source=_record(SourceRecord, metadata, "mahtrt.source", path) or SourceRecord(),
        parity=_record(ParityRecord, metadata, "mahtrt.parity", path),
        sha256=sha256_of_bytes(content),
        batch=batch,
    )


def load_onnx(path: Path | BundleFile, *, external_data: bool = True) -> onnx.ModelProto:
    """Read an ONNX file; ``external_data`` is weights that lie in other files of its folder.

    Raises:
        ModelError: The file cannot be read, or is not an ONNX model that can be worked with.
        MissingComponentError: The onnx package is not installed.
    """
    if isinstance(path, BundleFile):
        return _parsed(path.read_bytes(), path.place, external_data=external_data)
    content = read_regular(path, Wanted("an ONNX file", ModelError), MOST_ONNX_BYTES)
    return _parsed(content, path, external_data=external_data)


def _parsed(content: bytes, path: Path, *, external_data: bool) -> onnx.ModelProto:
    package: Any = require("onnx", extra="export", needed_for="reading ONNX files")
    from mahtrt.graph.checks import all_tensors, check_model
    from mahtrt.graph.external_data import load_external_data

    proto: onnx.ModelProto = package.ModelProto()
    try:
        proto.ParseFromString(content)
    except Exception as error:  # protobuf's own, whose place differs between its versions
        raise ModelError(
            str(path),
            got=f"a file that is not ONNX, or only a part of one ({error})",
            expected="an ONNX file",
        ) from error
    check_model(proto, str(path))
    if external_data:
        load_external_data(all_tensors(proto), path)
    return proto


def _refuse_invalid(proto: onnx.ModelProto, path: Path) -> None:
    """By the onnx package's own rules: the operators' inputs, attributes, and shapes that agree."""
    import onnx

    try:
        onnx.checker.check_model(proto, full_check=True)
    except Exception as error:  # two of its own, and those of protobuf
        reason = str(error).strip().partition("\n")[0][:300]
        raise ModelError(str(path), got=f"a graph that is not valid ({reason})") from error


def _record(cls: type[T], metadata: Mapping[str, str], key: str, path: Path) -> T | None:
    """One of the JSON records of an export, None where the file does not have it."""
    if key not in metadata:
        return None
    where = f"{path}: {key}"
    data = read_json(metadata[key], where, "a table", error=ModelError)
    return dataclass_from(cls, data, where, error=ModelError)


def _batch(proto: onnx.ModelProto, path: Path) -> int:
    dims = proto.graph.input[0].type.tensor_type.shape.dim if proto.graph.input else []
    if not dims or not all(dim.HasField("dim_value") and dim.dim_value > 0 for dim in dims):
        raise ModelError(
            str(path),
            got="an input without static shape",
            expected="static shapes",
            fix="Export again with mahtrt export --batch N.",
        )
    batch = int(dims[0].dim_value)
    if batch > MOST_BATCH:
        raise ModelError(
            str(path), got=f"a batch of {batch} images", expected=f"at most {MOST_BATCH}"
        )
    return batch
