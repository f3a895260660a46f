"""Reading an exported ONNX: the graph, its spec, where it came from, how near PyTorch it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mahtrt.bundle.origin import ParityRecord, SourceRecord
from mahtrt.digest import sha256_of_file
from mahtrt.errors import ModelError, require
from mahtrt.parsing import read_json
from mahtrt.schema import dataclass_from
from mahtrt.spec import ModelSpec, spec_from_json

if TYPE_CHECKING:
    import onnx

T = TypeVar("T")


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
    if not path.is_file():
        raise ModelError(str(path), got="no such file", expected="an ONNX file of mahtrt export")
    proto = load_onnx(path)
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
    return GraphFile(
        path=path,
        proto=proto,
        spec=spec_from_json(metadata["mahtrt.spec"], where=f"{path}: spec"),
        source=_record(SourceRecord, metadata, "mahtrt.source", path) or SourceRecord(),
        parity=_record(ParityRecord, metadata, "mahtrt.parity", path),
        sha256=sha256_of_file(path),
        batch=_batch(proto, path),
    )


def load_onnx(path: Path, *, external_data: bool = True) -> onnx.ModelProto:
    """Read an ONNX file; ``external_data`` is weights that lie in other files.

    Raises:
        ModelError: The file cannot be read, or is not an ONNX model.
        MissingComponentError: The onnx package is not installed.
    """
    package: Any = require("onnx", extra="export", needed_for="reading ONNX files")
    try:
        proto: onnx.ModelProto = package.load(str(path), load_external_data=external_data)
    except Exception as error:  # protobuf's DecodeError and onnx's own have no common base
        raise ModelError(
            str(path),
            got=f"a file that is not ONNX, or only a part of one ({error})",
            expected="an ONNX file",
        ) from error
    return proto


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
    return int(dims[0].dim_value)
