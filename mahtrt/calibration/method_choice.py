"""Which calibration method each class of tensors gets, decided by the landmarks themselves.

No method is best for every tensor: clipping what is rare pays where large values are noise, and
costs landmarks where they are the peaks of a map. Nor does the error of a tensor tell, since not
every error reaches the landmarks. So the tensors are put into a few classes, by what reads and
makes them, and one class after another tries the methods while the others stay (coordinate
descent); each trial is a quantised graph whose landmarks are compared with FP32's.

``minmax`` is left only for a gain beyond the margin, because differences of a few percent on a few
images are noise. The same inputs give the same choice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import onnx

from mahtrt.bundle.origin import MethodChoiceRecord
from mahtrt.bundle.plan import Plan
from mahtrt.calibration.methods import DEFAULT_METHOD, METHODS, Method
from mahtrt.calibration.plan import check_plan
from mahtrt.calibration.qdq import quantize, quantized_inputs
from mahtrt.calibration.ranges import Ranges
from mahtrt.graph.index import SCOPE_KEY, GraphIndex, scope_of

# Another method is taken where it lowers the error by more than this share.
MARGIN = 0.05
# How often all classes are gone through; fewer times when nothing changes any more.
SWEEPS = 2
# The search ends after so many graphs.
MAX_EVALUATIONS = 64

_CONVOLUTIONS = ("Conv", "ConvTranspose")
# Shape and element-wise nodes between a Concat and what reads its channels.
_TRANSPARENT = ("Identity", "Relu", "Reshape", "Transpose")


def tensor_classes(model: onnx.ModelProto, plan: Plan) -> dict[str, str]:
    """The class of each tensor that a plan quantises.

    A class is the reader's part of the network (first component of its scope, nothing where the
    exporter left no scopes) and what the tensor is: ``concat`` if a Concat made it, ``residual``
    if only an Add reads it through INT8, else ``convolution input`` or ``linear input``.

    Raises:
        SpecError: The plan does not fit the model.
        ModelError: The model is quantised already.
    """
    graph = GraphIndex(model)
    check_plan(plan, graph)
    classes: dict[str, str] = {}
    for position, _, tensor in quantized_inputs(graph, plan):
        kind = _kind(graph, graph.nodes[position].op_type, tensor)
        part = _part(graph.nodes[position])
        known = classes.get(tensor, "")
        # The same tensor beside an Add is what the product that reads it too says.
        if not known or known.endswith("residual"):
            classes[tensor] = f"{part} {kind}".strip()
    return classes


def methods_by_tensor(
    classes: Mapping[str, str], methods: Mapping[str, Method]
) -> dict[str, Method]:
    """Tensor -> method, as :func:`mahtrt.calibration.qdq.quantize` takes it."""
    return {tensor: methods.get(name, DEFAULT_METHOD) for tensor, name in classes.items()}


def choose_methods(
    model: onnx.ModelProto,
    ranges: Ranges,
    plan: Plan,
    evaluate: Callable[[onnx.ModelProto], float],
    *,
    weight_bits: int = 8,
    progress: Callable[[int, int], None] | None = None,
) -> MethodChoiceRecord:
    """Choose a method for each class of tensors by measured landmark error.

    Args:
        model: The floating-point model.
        ranges: What was seen of the plan's tensors.
        plan: Which blocks are INT8.
        evaluate: A quantised graph -> its landmark error in pixels, mean displacement against
            FP32 over some images (not those that will judge the result).
        weight_bits: As the result will be built with.
        progress: Called with the evaluations done and the most there can be.

    Raises:
        SpecError: Plan, ranges and model do not fit each other.
    """

    def error_of(methods: Mapping[str, Method]) -> float:
        chosen = methods_by_tensor(classes, methods)
        return evaluate(quantize(model, ranges, plan, method=chosen, weight_bits=weight_bits))

    classes = tensor_classes(model, plan)
    order = list(dict.fromkeys(classes.values()))
    tried = [method for method in METHODS if method != DEFAULT_METHOD]
    most = min(MAX_EVALUATIONS, 1 + SWEEPS * len(order) * len(tried))
    search = _Search(error_of, classes, ranges, most, progress)
    best: dict[str, Method] = dict.fromkeys(order, DEFAULT_METHOD)
    uniform = search.error(best)
    assert uniform is not None
    error = uniform
    for _ in range(SWEEPS):
        before = dict(best)
        for name in order:
            best, error = _best_for_class(search, best, error, name, tried)
        if best == before:
            break
    return MethodChoiceRecord(best, error, uniform, len(search.known), search.complete)


def _best_for_class(
    search: _Search,
    current: dict[str, Method],
    error: float,
    name: str,
    tried: Sequence[Method],
) -> tuple[dict[str, Method], float]:
    """The best method of one class while the others stay, ``minmax`` unless another is better."""
    plain = search.error({**current, name: DEFAULT_METHOD})
    if plain is None:
        return current, error
    trials = [
        ({**current, name: method}, search.error({**current, name: method})) for method in tried
    ]
    known = [(methods, e) for methods, e in trials if e is not None]
    best = min(known, key=lambda pair: pair[1], default=(current, plain))
    if best[1] < plain * (1 - MARGIN):
        return best
    return {**current, name: DEFAULT_METHOD}, plain


class _Search:
    """Evaluates methods per class, each distinct set of scales once, up to a bound."""

    def __init__(
        self,
        error_of: Callable[[Mapping[str, Method]], float],
        classes: Mapping[str, str],
        ranges: Ranges,
        most: int,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.error_of, self.classes, self.seen = error_of, classes, ranges.tensors
        self.most, self.progress = most, progress
        self.known: dict[tuple[float, ...], float] = {}
        self.complete = True

    def error(self, methods: Mapping[str, Method]) -> float | None:
        """The landmark error with a method per class; None where it would be one too many."""
        chosen = methods_by_tensor(self.classes, methods)
        # Methods that give the same scales are the same graph.
        key = tuple(self.seen[t].amax[m] for t, m in chosen.items() if t in self.seen)
        if key not in self.known:
            if len(self.known) >= self.most:
                self.complete = False
                return None
            error = float(self.error_of(methods))
            self.known[key] = error if error == error else float("inf")  # NaN never wins
            if self.progress:
                self.progress(len(self.known), self.most)
        return self.known[key]


def _kind(graph: GraphIndex, reader: str, tensor: str) -> str:
    if reader == "Add":
        return "residual"
    maker = graph.maker(tensor)
    while maker is not None and maker.op_type in _TRANSPARENT:
        maker = graph.maker(maker.input[0])
    if maker is not None and maker.op_type == "Concat":
        return "concat"
    return "convolution input" if reader in _CONVOLUTIONS else "linear input"


def _part(node: onnx.NodeProto) -> str:
    scoped = any(entry.key == SCOPE_KEY for entry in node.metadata_props)
    return scope_of(node).partition(".")[0] if scoped else ""
