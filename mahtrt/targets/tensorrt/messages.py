"""What TensorRT's parser and builder say, turned into which node it is, why, and what helps.

TensorRT reports a failed assertion with the name of a C++ function. Behind most of them is one of
a few mistakes in the ONNX. ``CAUSES`` lists those; what is not in it is passed on in TensorRT's own
words, without the places in its source and without the CUDA errors that it logs where no driver is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mahtrt.errors import BuildError


@dataclass(frozen=True, slots=True)
class Cause:
    """One known mistake.

    Attributes:
        pattern: Regular expression for what TensorRT says.
        got: What is in the graph.
        expected: What TensorRT takes.
        fix: What the user can do, as a full sentence.
        operators: Only for these operators; empty: any.
    """

    pattern: str
    got: str
    expected: str
    fix: str
    operators: tuple[str, ...] = ()


_EXPORT = "Export the model again with mahtrt export."
_QUANTIZE = "Quantize it with mahtrt build --int8, which writes what TensorRT takes."
_TYPES = (
    "TensorRT builds strongly typed: a cast has to be in the graph. "
    "Make the precision with mahtrt build --fp16, --bf16 or --int8."
)

CAUSES = (
    Cause(
        r"[Nn]on-zero zero point|shiftIsAllZeros",
        "an asymmetric quantization (zero point other than 0)",
        "symmetric INT8, zero point 0",
        _QUANTIZE,
    ),
    Cause(
        r"input has type Int32 but must have type",
        "a quantized bias (DequantizeLinear of Int32)",
        "a bias in floating point",
        _QUANTIZE,
        ("DequantizeLinear",),
    ),
    Cause(
        r"Plugin not found|[Nn]o importer registered|creator &&",
        "an operator that TensorRT does not know",
        "standard ONNX operators",
        "Rewrite it in standard operators, or register a plugin for it.",
    ),
    Cause(
        r"must have same input types|must be of same type|types? .* (is|are) not (the same|equal)"
        r"|incompatible types|input type mismatch",
        "inputs of different types",
        "one type for all of them",
        _TYPES,
    ),
    Cause(
        r"model->ParseFromCodedStream|MODEL_DESERIALIZE_FAILED|Failed to parse the ONNX",
        "a file that is not a whole ONNX",
        "an ONNX graph",
        "Export or copy it again: it was cut short, or is something else.",
    ),
    Cause(
        r"Failed to import initializer|convertOnnxWeights|WeightsContext",
        "weights that cannot be read",
        "an ONNX with its weights inside",
        "Weights in a file of their own have to lie beside the ONNX; " + _EXPORT.lower(),
    ),
    Cause(
        r"dynamic or shape inputs|no optimization profile",
        "dynamic shapes",
        "static shapes",
        _EXPORT,
    ),
    Cause(
        r"at least one output",
        "a graph without outputs",
        "an ONNX graph",
        _EXPORT,
    ),
    Cause(
        r"Node input was not registered",
        "an input that no node, weight or graph input gives",
        "a connected graph",
        _EXPORT,
    ),
    Cause(
        r"Could not find any implementation|no implementation|No kernel",
        "no kernel for this node on this GPU",
        "one within the limits that were set",
        "Raise or drop the workspace limit, or leave the node in another precision.",
    ),
    Cause(
        r"[Oo]ut of memory|OutOfMemory|FAILED_ALLOCATION",
        "not enough memory",
        "a GPU and a machine with room to build",
        "Raise or drop the workspace limit where one is set; close what else needs memory.",
    ),
    Cause(
        r"\bUNSUPPORTED_NODE(_\w+)?\b",
        "an operator that TensorRT does not take, or not in this form",
        "what its parser supports",
        "Rewrite the node in other operators.",
    ),
)

# TensorRT-RTX logs these for every failure on a machine without a driver; they explain nothing.
_NOISE = re.compile(r"cudaError 35|Thread context has not been set|catchCudaError|ScopedCudaStream")
_PLACE = re.compile(r"\s*\bIn \S+ at /\S+:\d+")
_FRAME = re.compile(
    r"^(\[[\w.:]+\] |I?\w+::\w+: )?(Error Code \d+: )?((API Usage|Internal|Shape) Error )?"
)
# The condition of a failed assertion, and advice for hardware that is not ours.
_FAILED_ASSERTION = re.compile(r"Assertion failed: .*?: (?=[A-Z])|^[\w.]+ && |Please set k[A-Z].*$")
_PARSING = re.compile(r'While parsing node number (\d+) \[\S+ -> "([^"]*)"')
_IN_MESSAGE = re.compile(r"\((?P<node>[^()\s:]+): ")


def parse_error(
    onnx: str, title: str, errors: Sequence[Mapping[str, Any]], log: Sequence[str]
) -> BuildError:
    """The first error of the parser as a message that names the node.

    Args:
        onnx: The file, for the message.
        title: The flavour's.
        errors: As the child collects them: code, node, name, operator, desc.
        log: Errors that the parser logged; they know an unnamed node's output.
    """
    if not errors:
        return _explained(onnx, "", "; ".join(cleaned(log)), title)
    error = errors[0]
    text = "\n".join((error["desc"], error["code"]))
    return _explained(onnx, _node(error, log), text, title, error["operator"])


def build_error(onnx: str, title: str, log: Sequence[str]) -> BuildError:
    """What the builder logged when it gave up."""
    lines = cleaned(log)
    found = next((m for line in log if (m := _IN_MESSAGE.search(line))), None)
    return _explained(onnx, found["node"] if found else "", "\n".join(lines[-3:]), title)


def cleaned(log: Iterable[str]) -> list[str]:
    """Messages without noise, source places and repetitions."""
    lines: list[str] = []
    for message in log:
        for line in message.splitlines():
            if _NOISE.search(line) or line.startswith(("--- ", "While parsing node", "Node name:")):
                continue
            line = _PLACE.sub("", _FRAME.sub("", line)).strip().rstrip(".")
            line = _FAILED_ASSERTION.sub("", line).strip('". ')
            if line.startswith("(") and line.endswith(")"):
                line = line[1:-1].rstrip(". ")
            if line not in ("", "false", *lines):
                lines.append(line)
    return lines


def _explained(onnx: str, node: str, text: str, title: str, operator: str = "") -> BuildError:
    subject = f"{onnx}: {node}" if node else onnx
    cause = next(
        (
            each
            for each in CAUSES
            if re.search(each.pattern, text) and (not each.operators or operator in each.operators)
        ),
        None,
    )
    said = [line for line in cleaned([text]) if not re.match(r"Invalid Node - |[A-Z_]+$", line)]
    if cause is None:
        got = said[0] if said else "no reason given"
        return BuildError(subject, got=got, expected=f"a graph that {title} builds")
    quoted = f" ({title}: {said[0]})" if said else ""
    return BuildError(subject, got=cause.got + quoted, expected=cause.expected, fix=cause.fix)


def _node(error: Mapping[str, Any], log: Sequence[str]) -> str:
    """``node decoder/0/conv (Conv)``; an unnamed node is known by its number and output."""
    operator = f" ({error['operator']})" if error["operator"] else ""
    if error["name"]:
        return f"node {error['name']}{operator}"
    if error["node"] < 0:
        return ""
    outputs = {int(found[1]): found[2] for line in log if (found := _PARSING.search(line))}
    output = outputs.get(error["node"], "")
    made = f", which makes {output}" if output else ""
    return f"node number {error['node']}{operator}{made}"
