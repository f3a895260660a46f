"""Reads Python source and finds uses of TensorRT that 10.16 and 11.4 do not share.

Nothing is imported or run. What kind of object an expression is, is taken from, in this order:

1. where it comes from: ``trt.Builder(…)``, ``builder.create_network(…)``, ``engine.get_…``;
2. an annotation: a parameter of another type (``engine: EngineRecord``) is none of ours;
3. its name, in files that know ``trt``: ``builder``, ``config``, ``parser``, … (``BY_NAME``).

A variable that is wrongly taken for one of TensorRT's is put right by annotating it.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

API = json.loads(Path(__file__).with_name("tensorrt_api.json").read_text(encoding="utf-8"))

# What only one flavour or version has, and why it may be used all the same.
ALLOWED = {
    ("module", "ComputeCapability"): "TensorRT-RTX only, where the flavour chooses capabilities",
    ("IBuilderConfig", "num_compute_capabilities"): "TensorRT-RTX only, as above",
    ("IBuilderConfig", "set_compute_capability"): "TensorRT-RTX only, as above",
    ("module", "plugin"): "a subpackage of the enterprise flavour, loaded where it has the API",
}
MODULE_NAMES = {"trt", "_trt"}
IMPORTS = {"tensorrt", "tensorrt_rtx_bindings", "tensorrt_rtx"}
BY_NAME = {
    "builder": "Builder",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "config": "IBuilderConfig",
    "builder_config": "IBuilderConfig",
    "runtime": "Runtime",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "execution_context": "IExecutionContext",
    "inspector": "EngineInspector",
    "timing_cache": "ITimingCache",
    "registry": "IPluginRegistry",
    "tensor": "ITensor",
    "layer": "ILayer",
}
# What calls and properties give; enums are "enum:X".
RETURNS = {
    ("Builder", "create_network"): "INetworkDefinition",
    ("Builder", "create_builder_config"): "IBuilderConfig",
    ("Builder", "create_optimization_profile"): "IOptimizationProfile",
    ("Builder", "build_serialized_network"): "IHostMemory",
    ("Builder", "get_plugin_registry"): "IPluginRegistry",
    ("INetworkDefinition", "get_input"): "ITensor",
    ("INetworkDefinition", "get_output"): "ITensor",
    ("INetworkDefinition", "add_input"): "ITensor",
    ("INetworkDefinition", "get_layer"): "ILayer",
    ("ILayer", "get_input"): "ITensor",
    ("ILayer", "get_output"): "ITensor",
    ("ILayer", "type"): "enum:LayerType",
    ("ITensor", "dtype"): "enum:DataType",
    ("OnnxParser", "get_error"): "ParserError",
    ("ParserError", "code"): "enum:ErrorCode",
    ("IBuilderConfig", "create_timing_cache"): "ITimingCache",
    ("IBuilderConfig", "get_timing_cache"): "ITimingCache",
    ("ITimingCache", "serialize"): "IHostMemory",
    ("Runtime", "deserialize_cuda_engine"): "ICudaEngine",
    ("Runtime", "get_plugin_registry"): "IPluginRegistry",
    ("ICudaEngine", "create_execution_context"): "IExecutionContext",
    ("ICudaEngine", "create_engine_inspector"): "EngineInspector",
    ("ICudaEngine", "create_serialization_config"): "ISerializationConfig",
    ("ICudaEngine", "serialize"): "IHostMemory",
    ("ICudaEngine", "get_tensor_dtype"): "enum:DataType",
    ("ICudaEngine", "get_tensor_mode"): "enum:TensorIOMode",
    ("ICudaEngine", "get_tensor_location"): "enum:TensorLocation",
    ("ICudaEngine", "hardware_compatibility_level"): "enum:HardwareCompatibilityLevel",
    ("ICudaEngine", "profiling_verbosity"): "enum:ProfilingVerbosity",
    ("IExecutionContext", "engine"): "ICudaEngine",
    ("module", "get_plugin_registry"): "IPluginRegistry",
    ("module", "get_builder_plugin_registry"): "IPluginRegistry",
}
# Of every object, or of the enums that the bindings make.
_OF_ANY = {"__class__", "__init__", "__doc__", "__members__", "__name__"}
_OF_ENUM_VALUE = {"name"}

Kinds = dict[str, str]


@dataclass(frozen=True)
class Finding:
    """One use that is not shared: ``line``, what was used, and of what."""

    line: int
    kind: str
    attribute: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.kind} has no {self.attribute} in both 10.16 and 11.4"


def check_source(source: str) -> list[Finding]:
    """Every use in a file that 10.16 and 11.4 do not share."""
    tree = ast.parse(source)
    return sorted(_Checker(tree).findings(), key=lambda found: (found.line, found.attribute))


def uses_of(source: str) -> set[tuple[str, str]]:
    """Every (kind, attribute) that was recognised: to see that the check sees anything."""
    checker = _Checker(ast.parse(source))
    checker.findings()
    return checker.seen


class _Checker:
    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.seen: set[tuple[str, str]] = set()
        self._found: set[Finding] = set()
        self._parents = {
            child: parent for parent in ast.walk(tree) for child in ast.iter_child_nodes(parent)
        }
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        names |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
        imported = {
            alias.name.split(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        self._knows_trt = bool(names & MODULE_NAMES or imported & IMPORTS)

    def findings(self) -> set[Finding]:
        self._block(self.tree, {})
        return self._found

    def _block(self, scope: ast.AST, outer: Mapping[str, str]) -> None:
        """One module, class or function: first what its names are, then what is used of them."""
        kinds: Kinds = dict(outer)
        if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            self._parameters(scope.args, kinds)
        # Twice, since a name may be bound below the place where it is used.
        for _ in range(2):
            for node in _own_nodes(scope):
                self._bind(node, kinds)
        for node in _own_nodes(scope):
            self._check(node, kinds)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
                self._block(node, kinds)

    def _parameters(self, arguments: ast.arguments, kinds: Kinds) -> None:
        for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            kinds[each.arg] = self._annotated(each.annotation, each.arg)

    def _annotated(self, annotation: ast.expr | None, name: str) -> str:
        if annotation is None or (isinstance(annotation, ast.Name) and annotation.id == "Any"):
            return self._by_name(name)
        return "other"

    def _by_name(self, name: str) -> str:
        if name in MODULE_NAMES:
            return "module"
        if not self._knows_trt:
            return ""
        return BY_NAME.get(name.lstrip("_"), "")

    def _bind(self, node: ast.AST, kinds: Kinds) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] in IMPORTS:
                    kinds[alias.asname or alias.name] = "module"
        elif isinstance(node, ast.Assign):
            kind = self._kind(node.value, kinds)
            for target in node.targets:
                self._name(target, kind, kinds)
        elif isinstance(node, ast.AnnAssign):
            name = node.target.id if isinstance(node.target, ast.Name) else ""
            kind = self._annotated(node.annotation, name)
            value = self._kind(node.value, kinds) if node.value else ""
            self._name(node.target, kind if kind == "other" else value or kind, kinds)
        elif isinstance(node, ast.NamedExpr):
            self._name(node.target, self._kind(node.value, kinds), kinds)
        elif isinstance(node, ast.For | ast.comprehension):
            self._name(node.target, _element(self._kind(node.iter, kinds)), kinds)
        elif isinstance(node, ast.withitem) and node.optional_vars is not None:
            self._name(node.optional_vars, self._kind(node.context_expr, kinds), kinds)

    def _name(self, target: ast.expr, kind: str, kinds: Kinds) -> None:
        if isinstance(target, ast.Name):
            kinds[target.id] = kind or self._by_name(target.id)
        elif isinstance(target, ast.Attribute) and kind:
            kinds[ast.unparse(target)] = kind

    def _kind(self, node: ast.expr, kinds: Kinds) -> str:
        """``module``, ``class:X``, ``enum:X``, ``iter:X``, a class's name, ``other``, or ""."""
        if isinstance(node, ast.Name):
            return kinds.get(node.id) or self._by_name(node.id)
        if isinstance(node, ast.Attribute):
            return self._kind_of_attribute(node, kinds)
        if isinstance(node, ast.Call):
            return self._kind_of_call(node, kinds)
        if isinstance(node, ast.GeneratorExp | ast.ListComp):
            inner = dict(kinds)
            for each in node.generators:
                self._bind(each, inner)
            kind = self._kind(node.elt, inner)
            return f"iter:{kind}" if kind else ""
        if isinstance(node, ast.Subscript):
            return _element(self._kind(node.value, kinds))
        if isinstance(node, ast.IfExp):
            return self._kind(node.body, kinds) or self._kind(node.orelse, kinds)
        return ""

    def _kind_of_attribute(self, node: ast.Attribute, kinds: Kinds) -> str:
        if (known := kinds.get(ast.unparse(node))) is not None:
            return known
        owner, name = self._kind(node.value, kinds), node.attr
        if owner == "module":
            entry = API.get(name) or {}
            if (owner, name) in ALLOWED:
                return f"enum-class:{name}" if name == "ComputeCapability" else ""
            return f"enum-class:{name}" if "enum" in entry else f"class:{name}"
        if owner.startswith("enum-class:"):
            if name == "__members__":
                return "iter:" + owner.replace("enum-class:", "enum:")
            return owner.replace("enum-class:", "enum:")
        if owner in ("class:Logger", "class:ILogger"):
            return "enum-class:Severity" if name == "Severity" else "enum:Severity"
        if owner:
            return RETURNS.get((owner, name), "other")
        return self._by_name(name) if isinstance(node.value, ast.Name) else ""

    def _kind_of_call(self, node: ast.Call, kinds: Kinds) -> str:
        function = node.func
        if isinstance(function, ast.Name):
            if function.id == "getattr" and len(node.args) >= 2:
                owner = self._kind(node.args[0], kinds)
                return owner.replace("enum-class:", "enum:") if "enum-class" in owner else ""
            if function.id == "load_flavour":
                return "module"
            if function.id == "require" and _text(node.args[0]) in IMPORTS:
                return "module"
            return "other" if function.id[:1].isupper() else ""
        if isinstance(function, ast.Attribute):
            kind = self._kind(function, kinds)
            if kind.startswith("class:"):
                made = kind.removeprefix("class:")
                return RETURNS.get(("module", made), made if made in API else "")
            if not kind and function.attr[:1].isupper():
                return "other"  # argparse.ArgumentParser(…)
            return kind if not kind.startswith("enum-class:") else ""
        return ""

    def _check(self, node: ast.AST, kinds: Kinds) -> None:
        if isinstance(node, ast.GeneratorExp | ast.ListComp | ast.SetComp | ast.DictComp):
            for each in node.generators:
                self._bind(each, kinds)
        if isinstance(node, ast.Attribute):
            self._use(node, self._kind(node.value, kinds), node.attr)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in ("getattr", "hasattr", "setattr") and len(node.args) >= 2:
                name = _text(node.args[1])
                if name is not None and node.func.id != "hasattr":
                    self._use(node, self._kind(node.args[0], kinds), name)
            elif node.func.id == "int" and node.args:
                kind = self._kind(node.args[0], kinds)
                # An enum's integer changes between versions: only as a bit, never to keep.
                if kind.startswith("enum:") and not self._is_shifted(node):
                    self._found.add(Finding(node.lineno, kind, "lasting integer"))

    def _is_shifted(self, node: ast.AST) -> bool:
        parent = self._parents[node]
        return isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.LShift)

    def _use(self, node: ast.expr, owner: str, name: str) -> None:
        if not owner or owner == "other" or owner.startswith("iter:"):
            return
        self.seen.add((owner, name))
        if (owner, name) in ALLOWED or name in _OF_ANY or not _is_ours(owner):
            return
        if not _shared(owner, name):
            self._found.add(Finding(node.lineno, owner, name))


def _is_ours(owner: str) -> bool:
    return owner != "enum-class:ComputeCapability"


def _shared(owner: str, name: str) -> bool:
    if owner == "module":
        return name in API or name in API["functions"]["members"]
    if owner.startswith("enum:"):
        return name in _OF_ENUM_VALUE
    entry = API.get(owner.partition(":")[2] or owner, {})
    return name in entry.get("members", []) or name in entry.get("enum", [])


def _element(kind: str) -> str:
    return kind.removeprefix("iter:") if kind.startswith("iter:") else ""


def _text(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _own_nodes(scope: ast.AST) -> Iterator[ast.AST]:
    """The nodes below a scope, in order, without those of functions and classes inside."""
    for child in ast.iter_child_nodes(scope):
        yield child
        if not isinstance(
            child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda
        ):
            yield from _own_nodes(child)
        elif isinstance(child, ast.ClassDef):
            for base in child.bases:
                yield base
                yield from _own_nodes(base)
