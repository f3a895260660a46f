"""The PyTorch reference of an exported network: the same weights, run eagerly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any

from mahtrt.bundle.origin import SourceRecord
from mahtrt.digest import sha256_of_file
from mahtrt.errors import CheckpointError, MissingComponentError, UsageError, require
from mahtrt.spec import ModelSpec

if TYPE_CHECKING:
    from torch import nn

DEMO_CHECKPOINT = "maht-net-nano-phantom.safetensors"


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where a network comes from.

    Attributes:
        model: A family of mahtrt, ``path/file.py:factory`` or ``package.module:factory``.
        checkpoint: Its weights, None for seeded random ones; ``demo`` means those that mahtrt
            ships (:func:`checkpoint_file`).
        kwargs: For a foreign factory, or settings of a family's config.
        spec: Spec file of a foreign network.
        seed: Seed of random weights.
        checkpoint_sha256: Digest that the checkpoint must have; None for any.
    """

    model: str
    checkpoint: Path | None = None
    kwargs: Mapping[str, Any] | None = None
    spec: Path | None = None
    seed: int = 0
    checkpoint_sha256: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "checkpoint", checkpoint_file(self.checkpoint))

    def to_dict(self) -> dict[str, Any]:
        """Provenance for the ONNX: names and digests, no folders."""
        checkpoint = self.checkpoint
        return {
            "model": _file_name_only(self.model),
            "kwargs": {name: _without_folder(value) for name, value in (self.kwargs or {}).items()},
            "checkpoint": checkpoint.name if checkpoint else None,
            "checkpoint_sha256": sha256_of_file(checkpoint) if checkpoint else None,
            "seed": None if checkpoint else self.seed,
        }

    def record(self) -> SourceRecord:
        """The same as a bundle records it."""
        return SourceRecord(**self.to_dict())


def demo_checkpoint() -> Path:
    """The checkpoint that mahtrt ships."""
    return Path(str(files("mahtrt") / "assets" / DEMO_CHECKPOINT))


def checkpoint_file(checkpoint: Path | None) -> Path | None:
    """The file of a checkpoint; ``demo`` is what mahtrt ships, unless a file has that name."""
    if checkpoint == Path("demo") and not checkpoint.exists():
        return demo_checkpoint()
    return checkpoint


def load_model(source: ModelSource) -> tuple[nn.Module, ModelSpec]:
    """Build a network and load its weights.

    Returns:
        The network in eval mode, giving the spec's outputs as a dict, and its spec.

    Raises:
        ModelError: The network cannot be built, or does not do what its spec says.
        CheckpointError: The checkpoint cannot be read, or does not fit.
        UsageError: A foreign network without a spec.
    """
    torch: Any = require("torch", extra="export", needed_for=f"building {source.model}")
    from mahtrt.models.families import is_known

    torch.manual_seed(source.seed)
    return _known(source) if is_known(source.model) else _foreign(source)


def find_reference(
    spec: ModelSpec,
    source: SourceRecord,
    *,
    checkpoint: Path | None = None,
    model: ModelSource | None = None,
    folders: Sequence[Path] = (),
) -> tuple[nn.Module, str] | None:
    """The PyTorch network that an exported graph came from, where it can be had.

    A network of mahtrt is rebuilt from the spec. Its weights are the checkpoint given, or a file
    of the recorded name *and* digest in one of ``folders`` or among those mahtrt ships. A foreign
    network is code, and code is only run when the caller names it; its weights are found likewise.
    A graph that says neither checkpoint nor seed has weights that nobody can make again.

    Args:
        spec: The exported graph's spec.
        source: The network that was exported, as the graph or the bundle says.
        checkpoint: Given by the user.
        model: A foreign network, given by the user.
        folders: Where to look for the recorded checkpoint.

    Returns:
        The network in eval mode and what its weights are; None where weights, code or PyTorch
        are not at hand.

    Raises:
        CheckpointError: The checkpoint given has another digest than the exported one.
        MissingComponentError: PyTorch is not installed, although a reference was asked for.
    """
    from mahtrt.models.families import FAMILIES

    asked_for = checkpoint is not None or model is not None
    if model is None and spec.family not in FAMILIES:
        if checkpoint is None:
            return None
        raise UsageError(
            "--reference",
            got=f"a checkpoint for {spec.family}, whose code mahtrt does not have",
            expected="the code beside it",
            fix="Add --model path/file.py:factory and its --spec.",
        )
    recorded, seed = source.checkpoint_sha256, source.seed
    checkpoint = checkpoint_file(checkpoint) or (model.checkpoint if model else None)
    if checkpoint is None and recorded is not None:
        checkpoint = _find(str(source.checkpoint), recorded, folders)
        if checkpoint is None:
            return None
    if checkpoint is None and seed is None:
        return None
    rebuilt = ModelSource("", checkpoint, seed=int(seed or 0), checkpoint_sha256=recorded)
    try:
        module = _rebuilt(spec, rebuilt, model)
    except MissingComponentError:
        if asked_for:
            raise
        return None
    return module, checkpoint.name if checkpoint else f"random weights, seed {seed}"


def _known(source: ModelSource) -> tuple[nn.Module, ModelSpec]:
    from mahtrt.models.checkpoint import load_checkpoint, load_into
    from mahtrt.models.families import build_model, settings_from_checkpoint

    overrides = dict(source.kwargs or {})
    name = source.model
    checkpoint = (
        load_checkpoint(source.checkpoint, source.checkpoint_sha256) if source.checkpoint else None
    )
    if checkpoint and checkpoint.spec:
        family = name.partition("/")[0]
        if checkpoint.spec.family != family:
            raise CheckpointError(
                str(checkpoint.path),
                got=f"weights of {checkpoint.spec.family}",
                expected=family,
                fix="Name the network that the checkpoint belongs to.",
            )
        overrides = {**settings_from_checkpoint(name, checkpoint.spec), **overrides}
    module = build_model(name, **overrides)
    if checkpoint:
        load_into(module, checkpoint)
    return module.eval(), module.spec


def _foreign(source: ModelSource) -> tuple[nn.Module, ModelSpec]:
    from mahtrt.models.checkpoint import load_checkpoint, load_into
    from mahtrt.models.foreign import adapt, load_foreign
    from mahtrt.spec import load_spec

    if source.spec is None:
        raise UsageError(
            source.model,
            got="a network that mahtrt does not know, without a spec",
            expected="--spec spec.toml",
            fix="It says what goes in and what comes out; see docs/foreign-models.md.",
        )
    spec = load_spec(source.spec)
    module = load_foreign(source.model, source.kwargs or {})
    if source.checkpoint:
        load_into(module, load_checkpoint(source.checkpoint, source.checkpoint_sha256))
    adapted = adapt(module.eval(), spec)
    return adapted, adapted.spec


def _rebuilt(spec: ModelSpec, weights: ModelSource, model: ModelSource | None) -> nn.Module:
    torch: Any = require("torch", extra="export", needed_for="the PyTorch reference")
    from mahtrt.models.checkpoint import load_checkpoint, load_into
    from mahtrt.models.families import model_from_spec

    if model is not None:
        return load_model(
            replace(weights, model=model.model, kwargs=model.kwargs, spec=model.spec)
        )[0]
    torch.manual_seed(weights.seed)
    module = model_from_spec(spec)
    if weights.checkpoint:
        load_into(module, load_checkpoint(weights.checkpoint, weights.checkpoint_sha256))
    return module.eval()


def _find(recorded: str, digest: str, folders: Sequence[Path]) -> Path | None:
    name = PureWindowsPath(recorded).name  # a file in one of the folders, whatever was recorded
    for folder in (*folders, demo_checkpoint().parent):
        place = folder / name
        if place.is_file() and sha256_of_file(place) == digest:
            return place
    return None


def _without_folder(value: Any) -> str:
    """A setting as text; of a path only its name."""
    return repr(Path(value).name if isinstance(value, str) and "/" in value else value)


def _file_name_only(reference: str) -> str:
    """``/home/me/net.py:make`` as ``net.py:make``: folders are nobody else's business."""
    place, colon, attribute = reference.rpartition(":")
    return f"{Path(place).name}:{attribute}" if colon and place.endswith(".py") else reference
