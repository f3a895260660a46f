"""The networks of an evaluation: checkpoints through PyTorch, bundles through their engines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mahtrt.errors import CheckpointError, UsageError, require
from mahtrt.evaluation.options import EvaluateOptions
from mahtrt.runtime.engine_choice import check_require, nothing_opened
from mahtrt.runtime.opening import open_session
from mahtrt.runtime.session import Session

WEIGHTS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
_ENGINE_MARK = "@"
_ENDINGS = (*WEIGHTS, ".mahtrt")


@dataclass(frozen=True, slots=True)
class Contestant:
    """One network of an evaluation.

    Attributes:
        path: Place of the checkpoint or the bundle.
        engine: Engine of the bundle; None for its default, and for a checkpoint.
        fold: The part of the data that it is judged on, from 1; None for all of it.
    """

    path: Path
    engine: str | None = None
    fold: int | None = None

    @property
    def name(self) -> str:
        """Short: without folder and ending, with the engine where one was named."""
        mark = f"{_ENGINE_MARK}{self.engine}" if self.engine else ""
        return f"{self.path.stem if self.path.suffix in _ENDINGS else self.path.name}{mark}"

    def open(self, options: EvaluateOptions) -> Session:
        """A session of it.

        Raises:
            CheckpointError: A checkpoint without a spec, or one that cannot be read.
            MissingComponentError: What runs it is not installed.
            MahtrtError: As :func:`mahtrt.runtime.opening.open_session`.
        """
        if is_checkpoint(self.path):
            return _open_checkpoint(self.path, options)
        return open_session(
            self.path,
            engine=self.engine,
            threads=options.threads,
            trust=options.trust,
            require=options.require,
        )


def is_checkpoint(path: Path) -> bool:
    """Whether a name is that of weights, and not of a bundle."""
    return path.suffix in WEIGHTS or (path == Path("demo") and not path.exists())


def groups_of(options: EvaluateOptions) -> list[list[Contestant]]:
    """The networks to compare, each as its checkpoints: one, or one per fold.

    Raises:
        UsageError: No network, not as many as the folds ask for, or an engine of a checkpoint.
    """
    found = [_contestant(str(model)) for model in options.models]
    if not found:
        raise UsageError("models", got="none", expected="a checkpoint or a bundle")
    folds = options.folds
    if folds is None:
        if options.fold is not None:
            raise UsageError("--fold", got="no --folds", expected="the number of parts beside it")
        return [[each] for each in found]
    if options.fold is not None:
        return [[Contestant(each.path, each.engine, options.fold)] for each in found]
    if len(found) % folds:
        raise UsageError(
            "models",
            got=f"{len(found)} for {folds} folds",
            expected=f"{folds} for each network, in the order of the folds",
            fix="Give the others too, or name the part that judges with --fold.",
        )
    numbered = [
        Contestant(each.path, each.engine, place % folds + 1) for place, each in enumerate(found)
    ]
    return [numbered[start : start + folds] for start in range(0, len(numbered), folds)]


def _contestant(given: str) -> Contestant:
    path, mark, engine = given.rpartition(_ENGINE_MARK)
    if not (mark and path) or Path(given).exists():
        return Contestant(Path(given))
    if is_checkpoint(Path(path)):
        expected = "none: a checkpoint runs in PyTorch, and bundles have engines"
        raise UsageError(given, got=f"engine {engine!r}", expected=expected)
    return Contestant(Path(path), engine)


def _open_checkpoint(path: Path, options: EvaluateOptions) -> Session:
    from mahtrt.models.reference import checkpoint_file

    torch = require("torch", extra="export", needed_for=f"running {path.name}")
    if check_require(options.require) == "gpu" and not torch.cuda.is_available():
        raise nothing_opened(options.require, f"no GPU that PyTorch sees, for {path.name}")
    from mahtrt.models.checkpoint import load_checkpoint, load_into
    from mahtrt.models.families import model_from_spec
    from mahtrt.models.torch_reference import TorchBackend, TorchSetting

    checkpoint = load_checkpoint(checkpoint_file(path) or path)
    if checkpoint.spec is None:
        raise CheckpointError(
            str(path),
            got="weights without a spec",
            expected="a checkpoint that mahtrt train wrote",
            fix="Export the network, build a bundle, and give that.",
        )
    module = model_from_spec(checkpoint.spec)
    load_into(module, checkpoint)
    setting = TorchSetting("cuda" if options.require == "gpu" else "cpu", threads=options.threads)
    return Session(TorchBackend(module, checkpoint.spec, setting=setting), checkpoint.spec)
