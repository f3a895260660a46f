"""What differs between two bundles, from their manifests and plans."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mahtrt.bundle.bundle import Bundle
from mahtrt.bundle.manifest import as_integrity_error
from mahtrt.bundle.plan import plan_from_json, plan_name
from mahtrt.errors import DataError
from mahtrt.schema import plain

BLOCK = "block"


@dataclass(frozen=True, slots=True)
class Difference:
    """One fact of two bundles; None where a bundle does not have it."""

    what: str
    old: Any
    new: Any

    @property
    def changed(self) -> bool:
        """Whether the two differ."""
        return bool(self.old != self.new)

    @property
    def known(self) -> bool:
        """Whether either bundle has it."""
        return not (self.old is None and self.new is None)


def check_same_network(old: Bundle, new: Bundle) -> None:
    """Refuse two bundles whose results cannot be compared point by point.

    Weights, precision, plan and code may differ; the size of the input too, of a network without
    maps.

    Raises:
        DataError: Family, landmarks, inputs, outputs or their labels differ.
    """
    for what, ours, theirs in (
        ("networks", new.spec.family, old.spec.family),
        ("landmarks", list(new.spec.landmarks), list(old.spec.landmarks)),
        ("inputs", list(new.spec.input_names), list(old.spec.input_names)),
        ("outputs", _outputs(new), _outputs(old)),
    ):
        if ours != theirs:
            raise DataError(
                f"--changed-from {old.path}",
                got=f"other {what} ({_short(theirs)}) than {new.path.name} ({_short(ours)})",
                expected="an earlier bundle of the same network",
                fix="A change report compares two versions of one network.",
            )


def differences(old: Bundle, new: Bundle) -> tuple[Difference, ...]:
    """Every fact of the two bundles that a change report names, changed or not."""
    pairs = (dict(_facts(bundle)) for bundle in (old, new))
    ours, theirs = reversed(list(pairs))
    names = list(dict.fromkeys((*ours, *theirs)))
    return tuple(Difference(name, theirs.get(name), ours.get(name)) for name in names)


def _facts(bundle: Bundle) -> Iterator[tuple[str, Any]]:
    manifest = bundle.manifest
    source, spec = manifest.source, manifest.spec
    yield "bundle", bundle.manifest_sha256
    yield "created", manifest.created or None
    yield "weights", source.checkpoint_sha256
    yield "seed of random weights", source.seed
    yield "code of the network", source.model or None
    yield "arguments of the network", plain(source.kwargs) or None
    yield "exported network", manifest.provenance.onnx_sha256 if manifest.provenance else None
    for each in spec.inputs:
        yield f"input {each.name}", plain(each)
    yield "decoding", plain(spec.decode)
    yield "preprocessing version", manifest.preprocess_version
    yield "precision", manifest.precision
    yield "default engine", manifest.default_engine
    for graph in manifest.graphs:
        yield f"graph {graph.name}", bundle.records[graph.file].sha256
    for engine in manifest.engines:
        own = dict.fromkeys(engine.files.values())
        yield f"engine {engine.name}", {path: bundle.records[path].sha256 for path in own}
        yield f"precision of {engine.name}'s float part", engine.device.inference_precision or None
    yield from _plans(bundle)
    yield from _calibration(bundle)
    for name, version in sorted(manifest.versions.items()):
        yield f"version of {name}", version
    yield "host", manifest.host.cpu if manifest.host else None
    yield "size in bytes", sum(record.size for record in manifest.files)


def _plans(bundle: Bundle) -> Iterator[tuple[str, Any]]:
    """The precision of every block, of each plan."""
    for precision in ("int8", "fp16", "bf16"):
        name = plan_name(precision)
        if name not in bundle.records:
            continue
        file = bundle.file(name)
        with as_integrity_error():
            plan = plan_from_json(file.read_bytes(), where=str(file))
        for block in plan.blocks:
            yield f"{BLOCK} {block.name} in {name}", block.precision


def _calibration(bundle: Bundle) -> Iterator[tuple[str, Any]]:
    found = bundle.manifest.calibration
    if found is not None:
        yield "calibration data", found.data
        yield "calibration images", found.card.images
        yield "digest of the calibration images", found.images_digest
        yield "calibration method", found.method


def _outputs(bundle: Bundle) -> Mapping[str, Any]:
    """What has to be the same of each output to be compared value by value.

    A map is compared at its own resolution, which follows the size of the input.
    """
    sizes = [plain(each.size) for each in bundle.spec.inputs]
    return {
        output.name: (output.kind, output.labels, sizes if output.kind == "map" else None)
        for output in bundle.spec.outputs
    }


def _short(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(value)
    return (
        ", ".join(map(str, value))
        if isinstance(value, Sequence) and not isinstance(value, str)
        else str(value)
    )
