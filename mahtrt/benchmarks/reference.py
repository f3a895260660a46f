"""What engines are compared with: PyTorch at its best, or the FP32 export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from mahtrt.benchmarks.compare import Contender
from mahtrt.bundle.manifest import EngineRecord
from mahtrt.data.preprocess_version import PREPROCESS_VERSION
from mahtrt.machine import package_version
from mahtrt.reading import Content
from mahtrt.runtime.session import Session
from mahtrt.spec import ModelSpec
from mahtrt.targets.backend import EngineToOpen
from mahtrt.targets.table import find_target, reference_target


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """An open reference.

    Attributes:
        described: What it is, in words.
        facts: How PyTorch runs: device, layout, threads, and the times of what was tried.
    """

    contender: Contender
    described: str
    facts: Mapping[str, Any] = field(default_factory=dict)


def torch_as_reference(
    found: tuple[Any, str], spec: ModelSpec, batch: int, threads: int | None
) -> Reference:
    """PyTorch where the network is, in its own layout: what landmarks are held against.

    Args:
        found: The network and its weights in words, as
            :func:`mahtrt.models.reference.find_reference` gives them.
        batch: Images per inference.
        threads: CPU threads of one inference; None leaves PyTorch's own number.
    """
    from mahtrt.models.torch_reference import TorchBackend, TorchSetting
    from mahtrt.models.wrapping import device_of

    module, weights = found
    setting = TorchSetting(str(device_of(module)), threads=threads)
    session = Session(TorchBackend(module, spec, batch, setting), spec)
    return Reference(_contender("reference", "pytorch", session), _torch_in_words(weights))


def tuned_torch_as_reference(
    found: tuple[Any, str],
    spec: ModelSpec,
    batch: int,
    device: str,
    threads: int | None,
    preprocess_version: int = PREPROCESS_VERSION,
) -> Reference:
    """PyTorch as fast as it runs on a device: what times are held against.

    Args:
        device: Device of PyTorch, ``cpu`` or ``cuda``.
        preprocess_version: The definition of preprocessing of the engines it is compared with.

    The others are those of :func:`torch_as_reference`; without ``threads`` they are tuned too.
    """
    from mahtrt.models.torch_reference import TorchSetting
    from mahtrt.models.torch_tuning import tune_torch

    module, weights = found
    tuned = tune_torch(module, spec, batch, TorchSetting(device, threads=threads))
    session = Session(tuned.backend, spec, preprocess_version=preprocess_version)
    contender = _contender("pytorch", "pytorch", session, device)
    facts = {**asdict(tuned.setting), "tried_ms": dict(tuned.tried_ms)}
    return Reference(contender, f"{_torch_in_words(weights)}, {tuned.setting}", facts)


def torch_as_set(
    found: tuple[Any, str],
    spec: ModelSpec,
    batch: int,
    facts: Mapping[str, Any],
    preprocess_version: int = PREPROCESS_VERSION,
) -> Reference:
    """PyTorch as :func:`tuned_torch_as_reference` found it to be fastest elsewhere.

    Args:
        facts: The ``facts`` of that reference.
    """
    from mahtrt.models.torch_reference import TorchBackend, TorchSetting

    module, weights = found
    setting = TorchSetting(facts["device"], facts["layout"], facts["threads"])
    backend = TorchBackend(module, spec, batch, setting)
    session = Session(backend, spec, preprocess_version=preprocess_version)
    contender = _contender("pytorch", "pytorch", session, setting.device)
    return Reference(contender, f"{_torch_in_words(weights)}, {setting}", facts)


def open_export(
    onnx: Content,
    spec: ModelSpec,
    threads: int | None,
    name: str = "",
    preprocess_version: int = PREPROCESS_VERSION,
) -> Contender:
    """The FP32 export, on the best of the targets that are there.

    Args:
        name: What reports call it; "": the target's name.
        preprocess_version: The definition of preprocessing of the engines it is compared with.
    """
    target = find_target(reference_target())
    record = EngineRecord("reference", target.name, "fp32", {"onnx": onnx.name})
    target.require()
    backend = target.open(EngineToOpen(record, {"onnx": onnx}, spec, threads))
    session = Session(backend, spec, record, preprocess_version=preprocess_version)
    return _contender(name or target.name, target.name, session)


def _torch_in_words(weights: str) -> str:
    return f"PyTorch {package_version('torch')} eager fp32 ({weights})"


def _contender(name: str, backend: str, session: Session, device: str = "cpu") -> Contender:
    return Contender(
        name, backend, "fp32", session.batch, session, is_reference=True, device=device
    )
