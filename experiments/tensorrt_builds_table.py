"""The rows of ``tensorrt_builds.py``: what is judged, and how they are written and read again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mahtrt
from mahtrt.atomic import write_text_atomic
from mahtrt.errors import require
from mahtrt.machine import describe_machine, package_versions

SCHEMA = "mahtrt.tensorrt-builds/1"
FLAVOUR = "tensorrt-rtx"

# What a build may take; the share is of INT8 plans of base in their FP32 plans.
MAX_SECONDS, MAX_MEMORY_MIB, MAX_INT8_SHARE = 30.0, 3 * 1024, 0.45


@dataclass(frozen=True)
class Row:
    """One build.

    Attributes:
        products: Precision to convolutions and matrix products of the graph that was built.
        nodes: Precision to all of its nodes.
        network_layers: Type to number of layers of the network that the parser made of it.
        seconds: The whole build as a caller waits for it, its process's start included.
        error: Why it failed, "" where it did not.
    """

    variant: str
    encoder: str
    bottleneck: str
    precision: str
    capabilities: tuple[str, ...]
    input_size: tuple[int, int] = (0, 0)
    onnx_bytes: int = 0
    onnx_sha256: str = ""
    plan_bytes: int = 0
    parse_s: float = 0.0
    build_s: float = 0.0
    seconds: float = 0.0
    peak_memory_mib: int = 0
    products: Mapping[str, int] = field(default_factory=dict)
    nodes: Mapping[str, int] = field(default_factory=dict)
    int8_layers: int = 0
    network_layers: Mapping[str, int] = field(default_factory=dict)
    error: str = ""

    @property
    def key(self) -> tuple[Any, ...]:
        """What no other row shares."""
        return (*self.graph_key, tuple(self.capabilities))

    @property
    def graph_key(self) -> tuple[str, ...]:
        return self.variant, self.encoder, self.bottleneck, self.precision

    def with_(self, **changes: Any) -> Row:
        """A copy with other values."""
        return dataclasses.replace(self, **changes)


def judge(rows: Iterable[Row]) -> list[str]:
    """Failed builds and missed bars, one sentence each."""
    rows = list(rows)
    reasons = []
    fp32 = {(row.variant, row.encoder, row.bottleneck, row.capabilities): row for row in rows
            if row.precision == "fp32" and not row.error}  # fmt: skip
    for row in rows:
        name = f"{' '.join(row.graph_key)} {'+'.join(row.capabilities)}"
        if row.error:
            reasons.append(f"{name}: {row.error}")
            continue
        if row.seconds > MAX_SECONDS:
            reasons.append(f"{name}: {row.seconds:.1f} s, more than {MAX_SECONDS:.0f} s")
        if row.peak_memory_mib > MAX_MEMORY_MIB:
            reasons.append(f"{name}: {row.peak_memory_mib} MiB, more than {MAX_MEMORY_MIB} MiB")
        full = fp32.get((row.variant, row.encoder, row.bottleneck, row.capabilities))
        if row.variant == "base" and row.precision == "int8" and full:
            share = row.plan_bytes / full.plan_bytes
            if share > MAX_INT8_SHARE:
                reasons.append(f"{name}: {share:.2f}x of FP32, more than {MAX_INT8_SHARE}x")
    return reasons


def write_results(out: Path, rows: Sequence[Row], settings: Mapping[str, Any]) -> None:
    """Write the JSON and, beside it, the Markdown table."""
    missed = judge(rows)
    document = {
        "schema": SCHEMA,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "what": "TensorRT-RTX builds without a GPU; no plan was run",
        "machine": describe_machine().to_dict(),
        "versions": {**package_versions(), "mahtrt": mahtrt.__version__, FLAVOUR: _rtx_version()},
        "settings": dict(settings),
        "bars": {
            "seconds": MAX_SECONDS,
            "peak_memory_mib": MAX_MEMORY_MIB,
            "int8_share_of_fp32_plan_base": MAX_INT8_SHARE,
        },
        "passed": not missed,
        "missed": missed,
        "rows": [asdict(row) for row in rows],
    }
    write_text_atomic(out, json.dumps(document, indent=1) + "\n")
    write_text_atomic(out.with_suffix(".md"), markdown(document, rows))


def markdown(document: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """One line per graph; numbers of several target GPUs are parted by slashes."""
    machine, targets = document["machine"], list(dict.fromkeys(row.capabilities for row in rows))
    names = " / ".join("+".join(each) for each in targets)
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(row.graph_key, []).append(row)
    lines = [
        f"# TensorRT-RTX {document['versions'][FLAVOUR]} builds of MAHT-Net",
        "",
        f"{len(rows)} builds without a GPU, for {names}, on {machine['cpu']} "
        f"({machine['cores_usable']} usable cores), {document['date'][:10]}. Random weights; no "
        "plan was run. Made by `python experiments/tensorrt_builds.py`.",
        "",
        f"Bars: a build below {MAX_SECONDS:.0f} s and {MAX_MEMORY_MIB / 1024:.0f} GiB; INT8 plans "
        f"of base at most {MAX_INT8_SHARE}x of FP32. "
        + ("All met." if document["passed"] else "MISSED:"),
        *(f"- {reason}" for reason in document["missed"]),
        "",
        "Products: convolutions and matrix products of the graph by the precision they compute in. "
        "Layers: of the network that the parser made, before the builder fuses them.",
        "",
        "| variant | encoder | bottleneck | input | precision | plan MB | of FP32 | build s "
        "| peak MiB | products | layers |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [_line(group, groups.get((*key[:3], "fp32"), [])) for key, group in groups.items()]
    return "\n".join(lines) + "\n"


def _line(group: Sequence[Row], full: Sequence[Row]) -> str:
    first, good = group[0], [row for row in group if not row.error]
    cells = [first.variant, first.encoder, first.bottleneck, "x".join(map(str, first.input_size)),
             first.precision]  # fmt: skip
    if len(good) < len(group):
        return f"| {' | '.join(cells)} | FAILED |  |  |  |  |  |"
    whole = {row.capabilities: row.plan_bytes for row in full if not row.error}
    shares = [
        f"{row.plan_bytes / whole[row.capabilities]:.2f}"
        for row in group
        if row.capabilities in whole
    ]
    cells += [
        " / ".join(f"{row.plan_bytes / 1e6:.1f}" for row in group),
        " / ".join(dict.fromkeys(shares)),
        " / ".join(f"{row.seconds:.1f}" for row in group),
        " / ".join(str(row.peak_memory_mib) for row in group),
        ", ".join(f"{count} {name}" for name, count in first.products.items()),
        str(sum(first.network_layers.values())),
    ]
    return f"| {' | '.join(cells)} |"


def rows_of(path: Path, settings: Mapping[str, Any]) -> list[Row]:
    """The rows of an earlier run with the same settings and versions."""
    if not path.is_file():
        return []
    document = json.loads(path.read_text(encoding="utf-8"))
    same = ("size", "images")
    if any(document["settings"][name] != settings[name] for name in same):
        raise SystemExit(f"{path} was made with other settings: {document['settings']}")
    if document["versions"].get(FLAVOUR) != _rtx_version():
        raise SystemExit(f"{path} was made with TensorRT-RTX {document['versions'].get(FLAVOUR)}")
    pairs = ("capabilities", "input_size")
    return [Row(**{**row, **{k: tuple(row[k]) for k in pairs}}) for row in document["rows"]]


def _rtx_version() -> str:
    module: Any = require("tensorrt_rtx_bindings", extra=FLAVOUR, needed_for="TensorRT-RTX builds")
    return str(module.__version__)
