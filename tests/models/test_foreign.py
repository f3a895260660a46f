from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import HEATMAPS, LANDMARKS, MAP, SIZE, SqueezeExciteNet, Transformer, UNet, spec_for
from torch import nn

from mahtrt.errors import MissingComponentError, ModelError, UsageError
from mahtrt.models.foreign import adapt, complete_spec, load_foreign
from mahtrt.models.soft_argmax import SoftArgmax2d
from mahtrt.runtime.dark import decode_dark
from mahtrt.spec import OutputSpec

CODE = """
import torch
from layers import WIDTH

class Net(torch.nn.Module):
    def __init__(self, width=WIDTH):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, width, 1)
    def forward(self, x):
        return self.conv(x)

def factory(**kwargs):
    from more import TWICE
    return Net(**kwargs) if kwargs else Net(TWICE)

def broken():
    raise ValueError("no weights here")

def number():
    return 3

ready = Net(5)
"""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    return write_code(tmp_path, 7)


def write_code(folder: Path, width: int) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "net.py").write_text(CODE)
    (folder / "layers.py").write_text(f"WIDTH = {width}")
    (folder / "more").mkdir()
    (folder / "more" / "__init__.py").write_text("from more.numbers import TWICE")
    (folder / "more" / "numbers.py").write_text(f"TWICE = {2 * width}")
    return folder / "net.py"


def channels(module: nn.Module) -> int:
    return module.conv.out_channels  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("attribute", "kwargs", "expected"),
    [
        ("Net", {}, 7),
        ("Net", {"width": 4}, 4),
        ("factory", {}, 14),
        ("factory", {"width": 6}, 6),
        ("ready", {}, 5),
    ],
)
def test_file(code: Path, attribute: str, kwargs: dict[str, Any], expected: int) -> None:
    assert channels(load_foreign(f"{code}:{attribute}", kwargs)) == expected


def test_two_folders_with_files_of_the_same_name_do_not_meet(tmp_path: Path) -> None:
    path = list(sys.path)
    first = load_foreign(f"{write_code(tmp_path / 'a', 3)}:factory", {})
    second = load_foreign(f"{write_code(tmp_path / 'b', 4)}:factory", {})
    assert (channels(first), channels(second)) == (6, 8)
    assert type(first) is not type(second)
    assert sys.path == path
    assert not {"layers", "more", "more.numbers"} & set(sys.modules)


def test_module_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "their_package"
    package.mkdir()
    (package / "nets.py").write_text("import torch\ndef make(n):\n    return torch.nn.Linear(n, 2)")
    monkeypatch.chdir(tmp_path)
    module = load_foreign("their_package.nets:make", {"n": 3})
    assert isinstance(module, nn.Linear)
    sys.modules.pop("their_package.nets")
    sys.modules.pop("their_package")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (
            "{code}:Missing",
            r"no 'Missing' there; expected one of Net, factory, broken, number, ready",
        ),
        ("{code}:broken", "got ValueError: no weights here"),
        ("{code}:number", r"got a int; expected a torch\.nn\.Module"),
        ("{folder}/absent.py:Net", "got no such file"),
        ("{folder}/syntax.py:Net", "got SyntaxError"),
        ("{folder}/exits.py:Net", "got SystemExit: 3"),
        ("{folder}/notes.txt:Net", "a file of another type"),
        ("no_such_package_xyz.nets:Net", "got ModuleNotFoundError: No module named"),
    ],
)
def test_each_mistake_is_named(code: Path, reference: str, message: str) -> None:
    folder = code.parent
    (folder / "syntax.py").write_text("def (")
    (folder / "exits.py").write_text("import sys; sys.exit(3)")
    (folder / "notes.txt").write_text("")
    with pytest.raises(ModelError, match=message):
        load_foreign(reference.format(code=code, folder=folder), {})


@pytest.mark.parametrize(
    "code",
    [
        "import no_such_package_xyz.parts",
        "def make():\n    from no_such_package_xyz.parts import Net\n    return Net()",
    ],
    ids=["on import", "in the factory"],
)
@pytest.mark.parametrize("by_file", [True, False], ids=["file", "module"])
def test_a_missing_import_is_named(
    code: str, by_file: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "their_net.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    reference = "their_net.py:make" if by_file else "their_net:make"
    with pytest.raises(MissingComponentError, match=r"import of 'no_such_package_xyz.*pip") as told:
        load_foreign(reference, {})
    assert "--kwarg" not in str(told.value)
    sys.modules.pop("their_net", None)


def test_an_import_that_fails_is_not_called_wrong_arguments(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("def make():\n    from math import no_such_name")
    with pytest.raises(ModelError, match=r"cannot import name 'no_such_name'.*Run it with Python"):
        load_foreign(f"{tmp_path}/net.py:make", {})


def test_wrong_keyword_is_named(code: Path) -> None:
    with pytest.raises(ModelError, match=r"unexpected keyword argument 'depth'.*--kwarg"):
        load_foreign(f"{code}:Net", {"depth": 3})


@pytest.mark.parametrize("reference", ["net.py", "net.py:", "a.b", ":Net", "net.py:a b"])
def test_not_a_reference(reference: str) -> None:
    with pytest.raises(UsageError, match=r"or path/file\.py:factory"):
        load_foreign(reference, {})


def test_heatmaps_alone_are_decoded() -> None:
    module = UNet().eval()
    adapted = adapt(module, spec_for(HEATMAPS, method="soft_argmax")).eval()
    assert [output.name for output in adapted.spec.outputs] == [
        "heatmaps",
        "landmarks",
        "confidence",
        "spread",
    ]
    assert adapted.spec.decode.heatmap_size == SIZE
    image = torch.randn(2, 3, *SIZE)
    with torch.no_grad():
        outputs = adapted(image)
        expected = SoftArgmax2d(0.1, SIZE, SIZE)(module(image))
    for name, tensor in zip(("landmarks", "confidence", "spread"), expected, strict=True):
        torch.testing.assert_close(outputs[name], tensor)


def test_adapting_keeps_the_mode_and_changes_no_statistics() -> None:
    module = UNet().train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    adapt(module, spec_for(HEATMAPS))
    assert module.training
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_dark_reads_landmarks_in_the_graph_too() -> None:
    spec = spec_for(HEATMAPS, method="dark")
    adapted = adapt(UNet(), spec).eval()
    assert [output.kind for output in adapted.spec.outputs] == [
        *("heatmaps", "landmarks", "confidence", "spread"),
    ]
    outputs = adapted(torch.rand(1, 3, *SIZE))
    maps = outputs["heatmaps"].detach().numpy()
    points, confidence, spread = decode_dark(maps, spec.decode.sigma, SIZE)
    np.testing.assert_allclose(outputs["landmarks"], points, atol=1e-3)
    np.testing.assert_allclose(outputs["confidence"], confidence, rtol=1e-6)
    np.testing.assert_allclose(outputs["spread"], spread, atol=1e-3)


def test_landmarks_of_the_network_are_left_alone() -> None:
    adapted = adapt(Transformer(), spec_for(LANDMARKS, MAP, method="regression"))
    assert len(list(adapted.children())) == 1  # the network alone
    assert list(adapted.eval()(torch.zeros(1, 3, *SIZE))) == ["points", "features"]


def test_confidence_of_the_network_is_kept() -> None:
    class WithConfidence(UNet):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:  # type: ignore[override]
            heatmaps = super().forward(x)
            return heatmaps, heatmaps.mean((2, 3))

    own = OutputSpec("confidence", "confidence")
    adapted = adapt(WithConfidence(), spec_for(HEATMAPS, own, method="soft_argmax")).eval()
    outputs = adapted(torch.zeros(1, 3, *SIZE))
    torch.testing.assert_close(outputs["confidence"], outputs["heatmaps"].mean((2, 3)))
    names = [output.name for output in adapted.spec.outputs]
    assert names == ["heatmaps", "confidence", "landmarks", "spread"]


def test_a_name_that_decoding_needs() -> None:
    spec = spec_for(HEATMAPS, OutputSpec("spread", "map"), method="soft_argmax")
    with pytest.raises(ModelError, match="output 'spread': got kind map; expected another name"):
        complete_spec(spec, (8, 8))


def test_a_heatmap_size_that_is_not_so() -> None:
    spec = spec_for(HEATMAPS, method="soft_argmax")
    decode = dataclasses.replace(spec.decode, heatmap_size=(8, 8))
    with pytest.raises(ModelError, match=r"output 'heatmaps': got shape \(1, 3, 32, 48\)"):
        adapt(UNet(), dataclasses.replace(spec, decode=decode))


def test_a_network_that_fails() -> None:
    spec = spec_for(HEATMAPS, size=(30, 40))
    with pytest.raises(
        ModelError, match=r"network test-net: got .*expected a forward pass on input of shape"
    ):
        adapt(nn.Linear(3, 3), spec)


def test_dict_with_too_few_landmarks() -> None:
    spec = dataclasses.replace(spec_for(HEATMAPS), landmarks=("a", "b"))
    with pytest.raises(
        ModelError, match=r"got shape \(1, 3, 32, 48\) of float32; expected \(1, 2, "
    ):
        adapt(SqueezeExciteNet(), spec)
