"""Networks that mahtrt does not know: loaded by reference, fitted to a spec.

A reference is code that is run: give only references you trust.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import itertools
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from mahtrt.errors import MahtrtError, MissingComponentError, ModelError, UsageError
from mahtrt.models.dark import Dark2d
from mahtrt.models.network import Network
from mahtrt.models.outputs import check_outputs, named_outputs
from mahtrt.models.soft_argmax import SoftArgmax2d
from mahtrt.models.wrapping import WRAPPED, device_of, empty_images, evaluating
from mahtrt.spec import DECODING, ModelSpec, OutputSpec

_numbers = itertools.count()

_IMPORTABLE = "code that can be imported"
_RUN_IT = "Run it with Python on its own, and install what it needs."
_DECODED = (
    OutputSpec("landmarks", "landmarks", frame="network"),
    OutputSpec("confidence", "confidence"),
    OutputSpec("spread", "spread", frame="network"),
)


class AdaptedModule(Network):
    """A foreign network that returns the spec's outputs by name, decoded where the spec says so.

    Attributes:
        spec: Complete: with heatmap size, and with the outputs that decoding adds.
    """

    def __init__(self, module: nn.Module, declared: ModelSpec, spec: ModelSpec) -> None:
        super().__init__()
        setattr(self, WRAPPED, module)
        self.spec, self._declared = spec, declared
        self._decoder = ""
        if _wants_decoding(declared):
            self._decoder, decoder = _make_decoder(spec)
            self.add_module(self._decoder, decoder)

    def forward(self, *images: Tensor) -> dict[str, Tensor]:
        """(B, C, H, W) of each input to the outputs of ``spec`` by name."""
        outputs = named_outputs(getattr(self, WRAPPED)(*images), self._declared)
        if not self._decoder:
            return outputs
        heatmaps = self._declared.output("heatmaps")
        assert heatmaps is not None
        decoded = getattr(self, self._decoder)(outputs[heatmaps.name])
        by_name = zip((output.name for output in _DECODED), decoded, strict=True)
        return {**dict(by_name), **outputs}  # what the network gives itself is kept


def adapt(module: nn.Module, spec: ModelSpec) -> AdaptedModule:
    """Fit a network to its spec, after one forward pass on an empty image.

    Args:
        module: Returns a tensor, tuple, list or dict; with its checkpoint already loaded.
        spec: What its user wrote. ``decode.heatmap_size`` may be left out. With
            ``decode.method`` ``soft_argmax`` or ``dark`` and heatmaps but no landmarks among the
            outputs, landmarks, confidence and spread are computed from the heatmaps.

    Returns:
        A module like mahtrt's own: ``.spec``, and a dict from forward.

    Raises:
        ModelError: The network fails, or its outputs do not fit the spec.
    """
    outputs = _dry_run(module, spec)
    check_outputs(outputs, spec, batch=1)
    heatmaps = spec.output("heatmaps")
    size = None
    if heatmaps is not None:
        rows, columns = outputs[heatmaps.name].shape[2:]
        size = (rows, columns)
    return AdaptedModule(module, spec, complete_spec(spec, size))


def complete_spec(spec: ModelSpec, heatmap_size: tuple[int, int] | None) -> ModelSpec:
    """The spec with the heatmap size filled in and the outputs that decoding adds.

    Args:
        spec: As its user wrote it.
        heatmap_size: (h, w) as measured, None where there are no heatmaps.

    Raises:
        ModelError: An output already has a name that decoding needs.
    """
    decode = dataclasses.replace(spec.decode, heatmap_size=heatmap_size or spec.decode.heatmap_size)
    outputs = spec.outputs
    if _wants_decoding(spec):
        added = [output for output in _DECODED if spec.output(output.kind) is None]
        taken = {output.name: output for output in spec.outputs}
        for output in added:
            if output.name in taken:
                raise ModelError(
                    f"output {output.name!r}",
                    got=f"kind {taken[output.name].kind}",
                    expected=f"another name, since {spec.decode.method} adds {output.name}",
                )
        outputs = (*outputs, *added)
    return dataclasses.replace(spec, decode=decode, outputs=outputs)


def load_foreign(reference: str, kwargs: Mapping[str, Any]) -> nn.Module:
    """The network that a factory outside of mahtrt makes.

    Args:
        reference: ``path/file.py:factory`` or ``package.module:factory``; the factory is a
            function, or an ``nn.Module`` class.
        kwargs: Given to the factory.

    Raises:
        UsageError: Not a reference.
        ModelError: The file, module or factory is missing, fails, or makes something else.
        MissingComponentError: The code imports a module that is not installed (exit 6).
    """
    location, _, attribute = reference.rpartition(":")
    if not location or not attribute.isidentifier():
        raise UsageError(
            f"model {reference!r}",
            got="no factory",
            expected="package.module:factory or path/file.py:factory",
        )
    is_file = location.endswith(".py") or "/" in location or "\\" in location
    folder = Path(location).resolve().parent if is_file else Path.cwd()
    with _on_path(folder, forget=is_file):
        code = _import_file(Path(location)) if is_file else _import_module(location)
        factory = _factory(code, attribute, reference)
        return _made(factory, kwargs, reference)


def _wants_decoding(spec: ModelSpec) -> bool:
    """Whether landmarks are to be read from heatmaps that the network leaves as they are."""
    return (
        spec.decode.method in ("soft_argmax", "dark")
        and spec.output("heatmaps") is not None
        and spec.output("landmarks") is None
    )


def _make_decoder(spec: ModelSpec) -> tuple[str, nn.Module]:
    """What reads landmarks from the heatmaps of a complete spec, and its name in the network."""
    decode = spec.decode
    assert decode.heatmap_size is not None
    if decode.method == "dark":
        return DECODING, Dark2d(decode.sigma, decode.heatmap_size, spec.input.size)
    return "soft_argmax", SoftArgmax2d(decode.temperature, decode.heatmap_size, spec.input.size)


def _dry_run(module: nn.Module, spec: ModelSpec) -> dict[str, Tensor]:
    images = empty_images(spec, 1, device_of(module))
    with evaluating(module), torch.no_grad():
        try:
            returned = module(*images)
        except Exception as error:
            shapes = " and ".join(str(tuple(image.shape)) for image in images)
            expected = f"a forward pass on input of shape {shapes}"
            fix = "Check size and channels of the inputs in the spec."
            raise _failed(f"network {spec.family}", error, expected, fix) from error
    return named_outputs(returned, spec)


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ModelError(str(path), got="no such file", expected="a Python file with a factory")
    # A name of its own per load: two files called model.py do not meet.
    name = f"mahtrt_foreign_{next(_numbers)}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ModelError(str(path), got="a file of another type", expected="a Python file (.py)")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _failed(str(path), error, _IMPORTABLE, _RUN_IT) from error
    return module


def _import_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and f"{name}.".startswith(f"{missing}."):  # not an import of it, but itself
            raise _wrong(name, error, _IMPORTABLE, _RUN_IT) from error
        raise _failed(name, error, _IMPORTABLE, _RUN_IT) from error


def _failed(subject: str, error: BaseException, expected: str, fix: str) -> MahtrtError:
    """The error for code that failed: an import that is missing is named, to be installed."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        return MissingComponentError(
            subject,
            got=f"an import of {error.name!r}, which Python does not find",
            expected="it to be installed, or to lie beside the network's file",
            fix="Install the package that provides it with pip.",
        )
    return _wrong(subject, error, expected, _RUN_IT if isinstance(error, ImportError) else fix)


def _wrong(subject: str, error: BaseException, expected: str, fix: str) -> ModelError:
    return ModelError(subject, got=f"{type(error).__name__}: {error}", expected=expected, fix=fix)


def _factory(code: ModuleType, attribute: str, reference: str) -> Any:
    try:
        return getattr(code, attribute)
    except AttributeError as error:
        own = [
            name
            for name, value in vars(code).items()
            if not name.startswith("_")
            and (callable(value) or isinstance(value, nn.Module))
            and getattr(value, "__module__", None) == code.__name__
        ]
        raise ModelError(
            f"model {reference}",
            got=f"no {attribute!r} there",
            expected=f"one of {', '.join(own)}" if own else "a function or nn.Module class",
        ) from error


def _made(factory: Any, kwargs: Mapping[str, Any], reference: str) -> nn.Module:
    if isinstance(factory, nn.Module):
        made: Any = factory
    else:
        try:
            made = factory(**kwargs)
        except (Exception, SystemExit) as error:
            fix = "Give the factory's arguments as --kwarg key=value."
            raise _failed(f"model {reference}", error, "a network", fix) from error
    if not isinstance(made, nn.Module):
        raise ModelError(
            f"model {reference}",
            got=f"a {type(made).__name__}",
            expected="a torch.nn.Module",
            fix="Name a function that returns the network, or its class.",
        )
    return made


@contextmanager
def _on_path(folder: Path, *, forget: bool) -> Iterator[None]:
    """The folder first on ``sys.path``.

    With ``forget``, modules that were found in it are forgotten afterwards: two networks in two
    folders may both have a ``layers.py`` beside them.
    """
    before = set(sys.modules)
    entry = str(folder)
    sys.path.insert(0, entry)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(entry)
        if forget:
            new = set(sys.modules) - before
            tops = {name for name in new if "." not in name and _lies_in(folder, sys.modules[name])}
            for name in new:
                if name.partition(".")[0] in tops:
                    del sys.modules[name]


def _lies_in(folder: Path, module: ModuleType) -> bool:
    """Whether a module is a file or package directly in the folder."""
    if module.__name__.startswith("mahtrt_foreign_") or not getattr(module, "__file__", None):
        return False
    file = Path(str(module.__file__))
    place = file.parent.parent if file.name == "__init__.py" else file.parent
    return place == folder
