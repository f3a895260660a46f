"""The accuracy of a bench over large sets of images, on a cluster.

Each worker opens the same engines and references and runs parts of the images through all of them.
What they find is put together here in the order of the images, and every number is computed once,
from all of it: so the numbers are those of one process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mahtrt.benchmarks.accuracy_pass import AccuracyPart, AccuracyPass
from mahtrt.benchmarks.options import BenchOptions
from mahtrt.benchmarks.reference import Reference, torch_as_set
from mahtrt.bundle.bundle import Bundle, read_bundle
from mahtrt.data.datasets import is_phantom
from mahtrt.data.subset import Subset, spread_out
from mahtrt.distributed.cluster import joined_cluster
from mahtrt.distributed.mapping import Mapping as ClusterMapping
from mahtrt.distributed.working_folder import files_of_trust
from mahtrt.errors import DataError, IntegrityError, UsageError
from mahtrt.runtime.opening import open_engine
from mahtrt.targets.table import find_target

if TYPE_CHECKING:
    from mahtrt.benchmarks.compare import Contender

IMAGES_PER_PART = 64


@dataclass(frozen=True, slots=True)
class AccuracyWork:
    """What every worker is told.

    Attributes:
        options: As the bench was asked; nodes read bundle, data and checkpoint from these paths.
        bundle_sha256: Digest of the bundle's manifest.
        engines: Names of the engines, in order; the references come first.
        torch: How each PyTorch reference runs; none where the reference is the bundle's ONNX.
        images: How many of the data's images are used.
    """

    options: BenchOptions
    bundle_sha256: str
    engines: tuple[str, ...]
    torch: tuple[Mapping[str, Any], ...]
    images: int


def check_cluster(options: BenchOptions) -> None:
    """Refuse what a cluster does not do.

    Raises:
        UsageError: Peers, images to leave out, or data that no other process can open.
    """
    if options.ray is None:
        return
    is_named = isinstance(options.data, (str, Path))
    for name, asked, fix in (
        ("--peer", bool(options.peers), "Measure peers in a bench of their own."),
        ("--skip-bad", options.skip_bad, "Leave the images out of the data."),
        ("no --data", not is_named, "Give DATA that every node can open."),
    ):
        if asked:
            raise UsageError("--ray", got=name, expected="accuracy of engines on --data", fix=fix)


def parts_on_cluster(
    bundle: Bundle,
    contenders: Sequence[Contender],
    references: Sequence[Reference],
    options: BenchOptions,
) -> Callable[[int, int], Iterator[AccuracyPart]]:
    """What finds the landmarks of all images on a cluster, in their order.

    Args:
        contenders: What was opened here.
        references: Those of them that are references.
    """
    engines = tuple(each.name for each in contenders if not each.is_reference)
    torch = tuple(each.facts for each in references if each.facts)

    def parts(images: int, step: int) -> Iterator[AccuracyPart]:
        assert options.ray is not None
        work = AccuracyWork(options, bundle.manifest_sha256, engines, torch, images)
        size = -(-IMAGES_PER_PART // step) * step
        places = [(start, min(start + size, images)) for start in range(0, images, size)]
        gpus = int(any(each.on_gpu for each in contenders))
        tasks = [(start, stop, step) for start, stop in places]
        mapping = ClusterMapping(
            partial(_runner, work),
            tasks,
            _locations(options),
            threads=options.threads or 1,
            gpus=gpus,
        )
        with joined_cluster(options.ray) as cluster:
            yield from mapping.results(cluster)

    return parts


def _locations(options: BenchOptions) -> list[str]:
    """What workers open; a network's code may be a package, which is found without its path."""
    named = [str(options.bundle), *files_of_trust(options.trust)]
    if isinstance(options.data, (str, Path)) and not is_phantom(options.data):
        named.append(str(options.data))
    if options.reference is not None:
        named.append(str(options.reference))
    return named


def _runner(work: AccuracyWork) -> Callable[[tuple[int, int, int]], AccuracyPart]:
    """What runs the images from a start to an end, some of them at a time."""
    from mahtrt.benchmarks.bench import images_of

    options = replace(work.options, threads=work.options.threads or 1)
    bundle = read_bundle(options.bundle, verify=False, trust=options.trust)
    if bundle.manifest_sha256 != work.bundle_sha256:
        raise IntegrityError(
            str(options.bundle), got="another bundle on a node", expected=work.bundle_sha256[:12]
        )
    dataset = spread_out(images_of(bundle, options, []), work.images)
    if len(dataset) != work.images:
        raise DataError(
            dataset.source, got=f"{len(dataset)} images on a node", expected=f"{work.images}"
        )
    contenders = [*_references(bundle, options, work), *_engines(bundle, options, work)]

    def run(place: tuple[int, int, int]) -> AccuracyPart:
        start, stop, step = place
        found = AccuracyPass(contenders, dataset.source)
        for first in range(start, stop, step):
            found.add([*Subset(dataset, range(first, min(first + step, stop)))])
        return found.part()

    return run


def _references(bundle: Bundle, options: BenchOptions, work: AccuracyWork) -> list[Contender]:
    from mahtrt.benchmarks.bench import named_by_device, network_of, onnx_reference

    if not work.torch:
        return [onnx_reference(bundle, options.threads).contender]
    network = network_of(bundle, options)
    if network is None:
        raise DataError(
            "reference",
            got="no checkpoint on a node",
            expected="the one of where the run was started",
            fix="Give --reference a path that every node reads.",
        )
    version, batch = bundle.manifest.preprocess_version, options.batch or 1
    made = [torch_as_set(network, bundle.spec, batch, each, version) for each in work.torch]
    return named_by_device(made)


def _engines(bundle: Bundle, options: BenchOptions, work: AccuracyWork) -> Iterator[Contender]:
    from mahtrt.benchmarks.compare import Contender

    for name in work.engines:
        record = bundle.engine(name)
        yield Contender(
            name,
            record.target,
            record.precision,
            record.batch,
            open_engine(bundle, engine=name, threads=options.threads),
            is_default=name == bundle.manifest.default_engine,
            device=find_target(record.target).device,
        )
