"""``pack``: what one engine of a bundle needs, with its verdict, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from mahtrt.bundle.bundle import check_apart, read_bundle, write_bundle
from mahtrt.bundle.golden import copy_golden
from mahtrt.bundle.manifest import SCHEMA, Manifest
from mahtrt.bundle.reference_statistics import copy_reference
from mahtrt.bundle.signature import Trust, notes_on_signature
from mahtrt.progress import StageProgress, silent


@dataclass(frozen=True, slots=True)
class PackOptions:
    """What to pack.

    Attributes:
        bundle: The ``.mahtrt`` folder.
        out: The bundle to write.
        engine: An engine by its name, or a target; None is the bundle's default engine.
        trust: Whose signature the bundle has to have; None asks for none.
    """

    bundle: Path
    out: Path
    engine: str | None = None
    trust: Trust | None = None


@dataclass(frozen=True, slots=True)
class PackResult:
    """A packed bundle.

    Attributes:
        path: The bundle.
        bytes_before, bytes_after: Size of the files of the whole bundle and of the packed one.
        notes: What the user should know, one sentence each.
    """

    path: Path
    manifest: Manifest
    bytes_before: int
    bytes_after: int
    notes: tuple[str, ...] = ()


def pack(options: PackOptions, progress: StageProgress = silent) -> PackResult:
    """Write a bundle that holds one engine, its graph, its verdict, the golden vectors and the
    reference statistics.

    Raises:
        DataError: There is no bundle.
        IntegrityError: The bundle was changed, or is newer than this version reads.
        UsageError: The bundle has no such engine, or the place to write is the bundle itself.
        BuildError: The disk is full, or the place cannot be written.
    """
    check_apart(options.bundle, options.out)
    progress("hashing, MiB", 0, 0)
    bundle = read_bundle(
        options.bundle, trust=options.trust, progress=partial(progress, "hashing, MiB")
    )
    old, engine = bundle.manifest, bundle.engine(options.engine)
    needed = set(engine.files.values())
    progress("writing", 0, 0)
    with write_bundle(options.out) as writer:
        writer.take(bundle, sorted(needed))
        golden = copy_golden(writer, bundle)
        copy_reference(writer, bundle)
        manifest = writer.finish(
            replace(
                old,
                precision=engine.precision,
                graphs=tuple(graph for graph in old.graphs if graph.file in needed),
                engines=(engine,),
                default_engine=engine.name,
                golden=golden,
                files=(),
                schema=SCHEMA,
            )
        )
    before, after = (sum(record.size for record in each.files) for each in (old, manifest))
    return PackResult(options.out, manifest, before, after, notes_on_signature(bundle))
