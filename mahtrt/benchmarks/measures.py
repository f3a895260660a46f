"""What a bench measures beside accuracy and latency, as the JSON ``mahtrt.bench/1`` has it.

Each part is in the document only where it was measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mahtrt.schema import plain


@dataclass(frozen=True, slots=True)
class Spread:
    """A time that was measured a few times."""

    p50: float
    min: float
    max: float
    samples: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Startup:
    """What it takes to start with an engine, in a process of its own.

    Attributes:
        name: The engine.
        cold_start_ms: From the start of the process to the first result.
        open_ms: ``mahtrt.open`` with the imports that it brings, the median.
        first_result_ms: The first call of ``run``, the median.
        resident_mib: Memory of the process after the first result, the median; None where the
            system does not tell.
        peak_mib: Its largest so far, the median; None where the system does not tell.
    """

    name: str
    cold_start_ms: Spread
    open_ms: float
    first_result_ms: float
    resident_mib: float | None
    peak_mib: float | None


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes on disk.

    Attributes:
        bundle_bytes: All files of the bundle, the manifest included.
        engines: Engine to its files; engines of a bundle may share a file, and each counts it.
    """

    bundle_bytes: int
    engines: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Throughput:
    """What an engine does for several callers at a time, end to end.

    Attributes:
        batch: Images per call.
        streams: Callers, a thread each.
        threads: Threads of all inferences together; None where the runtime does not say.
        images_per_s: ``images`` by ``seconds``.
        p50_ms, p99_ms: Of one call.
    """

    name: str
    batch: int
    streams: int
    threads: int | None
    images_per_s: float
    p50_ms: float
    p99_ms: float
    images: int
    seconds: float


@dataclass(frozen=True, slots=True)
class MachineLimit:
    """How fast one large operation runs on this machine.

    Attributes:
        runtime: Target whose runtime ran it.
        precision: ``fp32``, ``bf16`` or ``int8``.
        operation: What it is, in words.
        gflops_per_s: Billions of operations a second; a multiply and an add are two.
        threads: As the engine's; None where the runtime chose.
    """

    runtime: str
    precision: str
    operation: str
    gflops_per_s: float
    threads: int | None


@dataclass(frozen=True, slots=True)
class RooflineRow:
    """How far an engine is from what its products would take at the machine's limit.

    Attributes:
        engine_p50_ms: Of a call in the scope ``engine``.
        floor_ms: Its products, each at the limit of the precision that it computes in.
        share_of_limit: ``floor_ms`` by ``engine_p50_ms``: 1 could not be faster.
    """

    name: str
    precision: str
    engine_p50_ms: float
    floor_ms: float
    share_of_limit: float


@dataclass(frozen=True, slots=True)
class Roofline:
    """What this machine reaches, and how near the engines come.

    Attributes:
        network_gflop_per_image: Of all products of the FP32 graph.
    """

    limits: tuple[MachineLimit, ...]
    network_gflop_per_image: float
    rows: tuple[RooflineRow, ...]


@dataclass(frozen=True, slots=True)
class Measures:
    """Every part that was measured; empty or None where it was not."""

    startup: tuple[Startup, ...] = ()
    sizes: Sizes | None = None
    throughput: tuple[Throughput, ...] = ()
    roofline: Roofline | None = None

    def to_dict(self) -> dict[str, Any]:
        """The parts that were measured, for the report's document."""
        parts: dict[str, Any] = {"startup": self.startup, "sizes": self.sizes}
        parts |= {"throughput": self.throughput, "roofline": self.roofline}
        return {name: _known(plain(part)) for name, part in parts.items() if part}


def _known(value: Any) -> Any:
    """The same without what is not known."""
    if isinstance(value, dict):
        return {name: _known(each) for name, each in value.items() if each is not None}
    return [_known(each) for each in value] if isinstance(value, list) else value
