"""What the parts of the fake TensorRT share: its state, and the manners of bound C++ classes."""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

API = json.loads(Path(__file__).with_name("tensorrt_api.json").read_text(encoding="utf-8"))
PLAN_MAGIC, CACHE_MAGIC = b"FAKEPLAN", b"FAKETIMING"
RTX_CAPABILITIES = {"NONE": 0, "CURRENT": 1, "SM75": 75, "SM80": 80, "SM86": 86} | {
    "SM89": 89,
    "SM120": 120,
    "SM121": 121,
}


@dataclass
class FakeError:
    """What a ParserError says."""

    code: str = "UNSUPPORTED_NODE"
    desc: str = "the node is not supported"
    node: int = 0
    node_name: str = ""
    node_operator: str = ""
    file: str = "ModelImporter.cpp"
    func: str = "parseNode"
    line: int = 100


@dataclass
class FakeState:
    """What was done with a fake, and what it is to do."""

    driver: bool = True
    calls: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    runtimes: int = 0
    parse_errors: list[list[FakeError]] = field(default_factory=list)
    build_errors: list[tuple[str, str]] = field(default_factory=list)
    on_execute: Callable[[Any], bool] = lambda context: True
    build_seconds: float = 0.0
    infer_shapes_missing: list[str] = field(default_factory=list)
    refuse_timing_cache: bool = False
    refuse_contexts: bool = False
    layer_ms: Callable[[dict[str, Any]], float] = lambda layer: 0.125

    def fail_parse(self, *errors: FakeError, **fields: Any) -> None:
        """Let the next parse fail with these errors, or with one of these fields."""
        self.parse_errors.append(list(errors) or [FakeError(**fields)])

    def fail_build(self, message: str = "no kernel found", severity: str = "ERROR") -> None:
        """Let the next build log this and return None."""
        self.build_errors.append((severity, message))

    def called(self, name: str) -> list[tuple[Any, ...]]:
        """The arguments of each call of that name."""
        return [arguments for each, arguments in self.calls if each == name]


class PybindEnum(enum.Enum):
    """As the bindings' enums: turns into an int, but is never equal to one."""

    def __int__(self) -> int:
        return int(self.value)

    __index__ = __int__

    def __lt__(self, other: Any) -> bool:
        return int(self) < int(other)

    def __le__(self, other: Any) -> bool:
        return int(self) <= int(other)

    def __gt__(self, other: Any) -> bool:
        return int(self) > int(other)

    def __ge__(self, other: Any) -> bool:
        return int(self) >= int(other)


# The real integers where they matter: 10.x still counts EXPLICIT_BATCH, which has no name here.
REAL_INTEGERS: dict[str, dict[int, dict[str, int]]] = {
    "Severity": {
        major: {"INTERNAL_ERROR": 0, "ERROR": 1, "WARNING": 2, "INFO": 3, "VERBOSE": 4}
        for major in (1, 10, 11)
    },
    "NetworkDefinitionCreationFlag": {
        1: {"STRONGLY_TYPED": 0},
        10: {
            "STRONGLY_TYPED": 1,
            "PREFER_JIT_PYTHON_PLUGINS": 2,
            "PREFER_AOT_PYTHON_PLUGINS": 3,
        },
        11: {
            "STRONGLY_TYPED": 0,
            "PREFER_JIT_PYTHON_PLUGINS": 1,
            "PREFER_AOT_PYTHON_PLUGINS": 2,
        },
    },
}


def integers(name: str, names: Sequence[str], major: int) -> dict[str, int]:
    if name in REAL_INTEGERS:
        return REAL_INTEGERS[name][major]
    shift = 0 if major == 10 else 1
    return {each: (i + shift) % max(len(names), 2) for i, each in enumerate(sorted(names))}


class IHostMemory(bytearray):
    """A buffer with ``nbytes`` and ``dtype``, as the builder and the timing cache give it."""

    dtype: Any = None

    @property
    def nbytes(self) -> int:
        return len(self)


class Strict:
    """As a bound C++ class: setting an attribute that it does not have is an error."""

    def __setattr__(self, name: str, value: Any) -> None:
        known = any(
            name in vars(base) or name in getattr(base, "ATTRIBUTES", ())
            for base in type(self).__mro__
        )
        if not name.startswith("_") and not known:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        object.__setattr__(self, name, value)


class Overridable:
    """As a class meant to be derived from: its __init__ has to be called."""

    _bound = False

    def __init__(self) -> None:
        object.__setattr__(self, "_bound", True)


def check_bound(instance: Any, kind: type) -> None:
    if not isinstance(instance, kind) or not instance._bound:
        raise TypeError(f"{kind.__name__}.__init__() must be called when overriding __init__")


def check_enum(value: Any, kind: Any) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"incompatible function arguments: {value!r} is no {kind.__name__}")
