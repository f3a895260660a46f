"""The verb ``inspect``: what an ONNX file, a bundle or a TensorRT engine file is made of.

Nothing is executed and nothing is deserialised: an engine file is code, and an ONNX file's weights
are only counted.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mahtrt.errors import DataError, UsageError
from mahtrt.graph.onnx_file import describe_onnx
from mahtrt.inspection.bundle import BundleSummary, describe_bundle
from mahtrt.inspection.engine_file import EngineFileSummary, describe_engine_file, recognise
from mahtrt.progress import StageProgress, silent
from mahtrt.reading import Wanted, open_regular

if TYPE_CHECKING:
    from mahtrt.bundle.signature import Trust
    from mahtrt.graph.describe import GraphSummary

SCHEMA = "mahtrt.inspect/2"

FileKind = Literal["onnx", "bundle", "plan"]


@dataclass(frozen=True, slots=True)
class InspectOptions:
    """What to look into.

    Attributes:
        file: An ONNX file, a ``.mahtrt`` folder, or an engine file, in a bundle or on its own.
        top: How many of the largest layers to keep, by operations and by bytes.
        graphs: Describe the ONNX of every precision of a bundle too.
        trust: Whose signature a bundle has to have; None asks for none.
    """

    file: Path
    top: int = 10
    graphs: bool = False
    trust: Trust | None = None


@dataclass(frozen=True, slots=True)
class Inspection:
    """A file's contents; of ``graph``, ``bundle`` and ``plan`` only that of its ``kind`` is there.

    Attributes:
        name: The file's name, without its folder.
        size: Bytes of the file, or of all files of a bundle.
        top: How many of the largest layers are shown.
    """

    kind: FileKind
    name: str
    size: int
    top: int
    graph: GraphSummary | None = None
    bundle: BundleSummary | None = None
    plan: EngineFileSummary | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON document of ``mahtrt inspect --json``."""
        graph, bundle, plan = self.graph, self.bundle, self.plan
        return {
            "schema": SCHEMA,
            "kind": self.kind,
            "name": self.name,
            "size": self.size,
            "graph": None if graph is None else graph.to_dict(self.top),
            "bundle": None if bundle is None else bundle.to_dict(self.top),
            "plan": None if plan is None else plan.to_dict(),
        }


def inspect(options: InspectOptions, progress: StageProgress = silent) -> Inspection:
    """Look into a file or bundle.

    Raises:
        DataError: There is no regular file, or the folder is no bundle.
        ModelError: A file that is neither ONNX nor an engine, or is cut short.
        IntegrityError: A bundle that was changed, or is newer than this version reads.
        UsageError: A ``top`` below 1, or ``trust`` for what is no bundle.
        MissingComponentError: An ONNX file without the onnx package.
    """
    path, top = Path(options.file), options.top
    if top < 1:
        raise UsageError("--top", got=str(top), expected="at least 1")
    progress("reading", 0, 0)
    if path.is_dir():
        bundle = describe_bundle(path, graphs=options.graphs, trust=options.trust)
        return Inspection("bundle", path.resolve().name, bundle.bytes, top, bundle=bundle)
    if options.trust is not None:
        expected = "a bundle, which can have a signature"
        raise UsageError("--trusted-key", got=f"{path}, no folder", expected=expected)
    wanted = Wanted("an ONNX file, a bundle or a TensorRT engine", DataError)
    with open_regular(path, wanted) as file:
        name, size = path.name, os.fstat(file.fileno()).st_size
    header = recognise(path)
    if header is not None:
        return Inspection("plan", name, size, top, plan=describe_engine_file(path, header))
    return Inspection("onnx", name, size, top, graph=describe_onnx(path))
