"""What ``mahtrt export-triton`` is asked, and what it made."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from mahtrt.errors import UsageError
from mahtrt.names import text_of_path
from mahtrt.schema import plain

if TYPE_CHECKING:
    from mahtrt.bundle.signature import Trust

TritonBackend = Literal["python", "onnx", "openvino", "tensorrt"]

# Triton takes more, but a name is also a folder and a part of an address.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class TritonOptions:
    """What becomes a model of Triton, and where.

    Attributes:
        bundle: The ``.mahtrt`` folder.
        out: The model repository: a folder that is new, empty, or a model repository already.
        backend: What runs the network: ``python`` is mahtrt's own runtime; the others are Triton's
            backends between a preparing and a decoding model of mahtrt.
        name: The model's name; None is the bundle's.
        version: The model's version, a whole number of at least 1.
        engine: An engine of the bundle by its name, or a target; None is the bundle's default, or
            the one of the target that the backend belongs to.
        instances: How many of each model run at a time, each a process of its own.
        threads: Threads of one inference; None leaves their number to the runtime.
        max_batch: Images of one request, and those that Triton may put together; None is the
            engine's batch.
        queue_delay_us: How long Triton may wait to fill a batch, in microseconds.
        environment: What Triton's Python backend is told as ``EXECUTION_ENV_PATH``: a packed
            environment with mahtrt; None leaves it to the ``python3`` that the server finds.
        trust: Whose signature the bundle has to have; None asks for none.
    """

    bundle: Path
    out: Path
    backend: TritonBackend = "python"
    name: str | None = None
    version: int = 1
    engine: str | None = None
    instances: int = 1
    threads: int | None = None
    max_batch: int | None = None
    queue_delay_us: int = 0
    environment: str | None = None
    trust: Trust | None = None

    @property
    def model_name(self) -> str:
        """The model's name, made from the bundle's where none was given."""
        if self.name is not None:
            return self.name
        return _NOT_IN_NAMES.sub("-", Path(self.bundle).resolve().stem).strip("-.") or "model"


@dataclass(frozen=True, slots=True)
class TritonResult:
    """What was written.

    Attributes:
        repository: The model repository.
        model: The model that is asked for landmarks.
        models: All models of it, the parts of an ensemble included.
        notes: What the user should know, one sentence each.
    """

    repository: Path
    model: str
    version: int
    backend: TritonBackend
    engine: str
    models: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The document of ``mahtrt export-triton --json``."""
        facts = plain(self)
        repository = text_of_path(self.repository)
        return {"schema": "mahtrt.export-triton/1", **facts, "repository": repository}


def check_options(options: TritonOptions) -> None:
    """Refuse what no model can be made with.

    Raises:
        UsageError: An unknown backend, a name that Triton or a folder cannot have, a number that
            is too small, or options that the backend does not have.
    """
    known = get_args(TritonBackend)
    if options.backend not in known:
        raise UsageError("--backend", got=repr(options.backend), expected=f"one of {known}")
    if not _NAME.fullmatch(options.model_name):
        expected = "up to 100 letters, digits, dots, dashes and underscores"
        raise UsageError("--name", got=repr(options.model_name), expected=expected)
    numbers = {
        "--model-version": options.version,
        "--instances": options.instances,
        "--threads": 1 if options.threads is None else options.threads,
        "--max-batch": 1 if options.max_batch is None else options.max_batch,
    }
    for subject, number in numbers.items():
        if not (isinstance(number, int) and number >= 1):
            raise UsageError(subject, got=repr(number), expected="a whole number of at least 1")
    if not (isinstance(options.queue_delay_us, int) and options.queue_delay_us >= 0):
        expected = "a whole number of microseconds, or 0"
        raise UsageError("--queue-delay-us", got=repr(options.queue_delay_us), expected=expected)
    if options.backend != "python" and (options.max_batch is not None or options.queue_delay_us):
        raise UsageError(
            f"--backend {options.backend}",
            got="--max-batch or --queue-delay-us",
            expected="neither: the engine's batch is fixed",
            fix="Use --backend python to have Triton put requests together.",
        )
