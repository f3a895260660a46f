"""Engines that end at the heatmaps on the fake GPU: the kernel behind them runs from its source."""

from __future__ import annotations

from typing import Any

import onnx
import onnxruntime
from fake_driver import FakeDriver
from fake_tensorrt import make_fake
from kernels_on_fake_gpu import teach
from numpy.typing import NDArray
from soft_argmax_graph import OUTPUTS
from tensorrt_stage import make_plan

from mahtrt.cuda.bindings import open_device
from mahtrt.errors import MahtrtError
from mahtrt.spec import DecodeSpec, InputSpec, ModelSpec, OutputSpec
from mahtrt.targets.kernel_decode.cut import cut_decoding
from mahtrt.targets.kernel_decode.record import KernelDecode
from mahtrt.targets.tensorrt.run import TensorRtBackend


def spec_of(size: tuple[int, int, int, int]) -> ModelSpec:
    return ModelSpec(
        family="test",
        inputs=(InputSpec(size[2:], "x"),),
        outputs=tuple(OutputSpec(name, name) for name in OUTPUTS),  # type: ignore[arg-type]
        landmarks=("a", "b", "c"),
        decode=DecodeSpec("soft_argmax", 0.05, size[2:]),
    )


class DecodeStage:
    """A fake TensorRT whose engine is a graph without its decoding."""

    def __init__(self, model: onnx.ModelProto, spec: ModelSpec) -> None:
        self.model, self.spec = model, spec
        self.cut, self.decode = cut_decoding(model, spec)
        self.trt = make_fake("10.16.1")
        self.trt.state.gpu = self.cuda = FakeDriver()
        self.cuda.keep_calls = True
        teach(self.cuda, self.decode.kernel)
        self.opened: list[TensorRtBackend] = []

    def open(self, decode: KernelDecode | None = None) -> TensorRtBackend:
        plan = make_plan(self.trt, self.cut)
        device = open_device(needed_for="a test", driver=self.cuda)
        record = decode or self.decode
        try:
            made = TensorRtBackend(self.trt, plan, device, self.spec, "test", record)
        except MahtrtError:
            device.close()
            raise
        self.opened.append(made)
        return made

    def whole(self, image: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """What the graph gives that was not cut."""
        session = onnxruntime.InferenceSession(
            self.model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, {"x": image}), strict=True))
