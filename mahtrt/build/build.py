"""``build``: an exported ONNX to a bundle of engines that have been measured against PyTorch.

    check -> split_images -> choose_plan -> make_graphs -> compile_engines -> judge_engines -> write

Every stage takes and returns values; the files on the way lie in a workspace, and only the last
stage writes the bundle.
"""

from __future__ import annotations

from collections.abc import Sequence

from mahtrt.build.engines import BuiltEngine, compile_engines
from mahtrt.build.graphs import Graphs, make_graphs
from mahtrt.build.images import split_images
from mahtrt.build.judge import judge_engines
from mahtrt.build.options import BuildOptions
from mahtrt.build.planned import choose_plan
from mahtrt.build.reference import open_reference
from mahtrt.build.request import check
from mahtrt.build.result import BuildResult, write_result
from mahtrt.build.workspace import open_workspace
from mahtrt.progress import StageProgress, silent
from mahtrt.targets.table import find_target


def build(options: BuildOptions, progress: StageProgress = silent) -> BuildResult:
    """Build engines, check each against the reference, and write the bundle.

    Raises:
        UsageError: Options that contradict each other, or a place that cannot be replaced.
        ModelError: The ONNX is not an export of mahtrt.
        DataError: Calibration data that are missing, empty, random or constant.
        BuildError: A target refuses the graph.
        AccuracyError: An engine is over its accuracy budget (exit 3); no bundle is left.
        MissingComponentError: A package for a target or a precision is not installed.
    """
    request = check(options, progress)
    images = split_images(options, request.graph.spec, progress)
    with open_workspace(options.out) as work:
        choice = choose_plan(request, images, progress)
        request = request.following(choice.precisions, choice.planned_halves)
        graphs = make_graphs(request, images, choice, work, progress)
        jobs = [(job, graphs.models[request.graph_kind(job)]) for job in request.jobs]
        progress("opening the reference", 0, 0)
        with open_reference(request, graphs) as reference:
            engines = compile_engines(jobs, options.engine, work, progress)
            _check_layers(engines, graphs)
            judged_by = [(e, graphs.stand_in(e.record.precision, e.files["onnx"])) for e in engines]
            judged = judge_engines(request, images, reference, judged_by, work, progress)
        progress("writing", 0, 0)
        return write_result(request, images, graphs, engines, judged, work)


def _check_layers(engines: Sequence[BuiltEngine], graphs: Graphs) -> None:
    """Hold graphs and layers of engines against the plans; raises GateError where they differ."""
    for engine in engines:
        plan = graphs.plans.get(engine.record.precision)
        if plan is None:
            continue
        import onnx

        from mahtrt.calibration.int8_check import check_int8
        from mahtrt.graph.describe import describe_graph
        from mahtrt.precision.layer_check import check_layers, graph_layers

        described, name = describe_graph(onnx.load(engine.files["onnx"])), engine.record.name
        check_layers(described, plan, graph_layers(described), f"{name}: its graph")
        if engine.network is not None:
            check_layers(described, plan, engine.network, f"{name}: the network that was parsed")
        inspected = find_target(engine.record.target).engine_layers(engine.files)
        if inspected is not None and inspected.detailed:
            check_int8(described, plan, inspected.int8_layers)
            check_layers(described, plan, inspected, f"{name}: the engine")
