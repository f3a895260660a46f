"""What a TensorRT says of this machine's card, tried with its own interface and nothing between.

    python experiments/gpu_try_tensorrt.py MODULE CAPABILITY [--out FILE]

MODULE is ``tensorrt`` or ``tensorrt_rtx_bindings``; CAPABILITY one that the module names, such as
``CURRENT``, or ``-`` for none. Builds a network of one convolution, loads the engine and runs it.
After each stage it writes what the library logged, word for word: a crash leaves the stage it came
in.
mahtrt itself refuses cards that a package has no kernels for; this asks the package.

Exit codes: 0 it ran, and gave the right numbers; 1 it did not; 6 no such module.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from mahtrt.atomic import write_text_atomic  # noqa: E402

SIZE, MOST_MESSAGES = 32, 60
STAGES = ("import", "builder", "build", "load", "run")


class Trial:
    """The stages of one try, kept in a file."""

    def __init__(self, out: Path | None, module: str, capability: str) -> None:
        self._out = out
        self.record: dict[str, Any] = {
            "module": module,
            "capability": capability,
            "version": "",
            "known_capabilities": [],
            "stages": [],
            "log": [],
            "problem": "",
        }

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Note that a stage begins, and how it ends."""
        told = {"name": name, "ended": False, "problem": ""}
        self.record["stages"].append(told)
        self.keep()
        try:
            yield
            told["ended"] = True
        except Exception as error:
            told["problem"] = self.record["problem"] = f"{type(error).__name__}: {error}"
            raise
        finally:
            self.keep()

    def keep(self) -> None:
        """Write what is known."""
        text = json.dumps(self.record, indent=1) + "\n"
        if self._out is not None:
            write_text_atomic(self._out, text)


def try_it(trt: Any, trial: Trial, capability: str) -> None:
    """Build, load and run.

    Raises:
        Exception: Whatever the library or this says; the trial has it.
    """
    with trial.stage("builder"):
        log = _logger(trt, trial)
        builder = trt.Builder(log)
        flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        network = builder.create_network(0 if flag is None else 1 << int(flag))
        kernel = np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3)  # read while it is built
        _define(trt, network, kernel)
        config = builder.create_builder_config()
        if capability != "-":
            config.num_compute_capabilities = 1
            config.set_compute_capability(trt.ComputeCapability.__members__[capability], 0)
    with trial.stage("build"):
        plan = _given(builder.build_serialized_network(network, config), "an engine")
        trial.record["plan_bytes"] = int(plan.nbytes)
    with trial.stage("load"):
        runtime = trt.Runtime(log)
        engine = _given(runtime.deserialize_cuda_engine(plan), "a loaded engine")
        context = _given(engine.create_execution_context(), "an execution context")
    with trial.stage("run"):
        image = np.random.default_rng(0).random((1, 1, SIZE, SIZE), np.float32)
        found, wanted = _run(context, image), _convolved(image, kernel)
        trial.record["largest_error"] = float(np.abs(found - wanted).max())
        if not np.allclose(found, wanted, rtol=2e-3, atol=2e-2):  # FP32 products may be TF32
            raise ValueError(f"wrong numbers: off by {trial.record['largest_error']:.3g}")


def _define(trt: Any, network: Any, kernel: np.ndarray) -> None:
    image = network.add_input("image", trt.float32, (1, 1, SIZE, SIZE))
    layer = network.add_convolution_nd(image, 1, (3, 3), trt.Weights(kernel.ravel()))
    output = layer.get_output(0)
    output.name = "maps"
    network.mark_output(output)


def _run(context: Any, image: np.ndarray) -> np.ndarray:
    from mahtrt.cuda.bindings import open_device

    device = open_device(needed_for="a try of TensorRT")
    maps = np.zeros((1, 1, SIZE - 2, SIZE - 2), np.float32)
    with device:
        stream = device.create_stream()
        memory = [device.allocate(each.nbytes) for each in (image, maps)]
        for name, place in zip(("image", "maps"), memory, strict=True):
            context.set_tensor_address(name, place.address)
        device.copy_to_device(memory[0].address, image, stream)
        done = context.execute_async_v3(stream.handle)
        device.copy_to_host(maps, memory[1].address, stream)
        stream.synchronize()
    _given(done or None, "an inference")
    return maps


def _convolved(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(image[0, 0], (3, 3))
    return np.asarray((windows * kernel[0, 0]).sum((2, 3))[None, None], np.float32)


def _given(found: Any, what: str) -> Any:
    if found is None:
        raise RuntimeError(f"TensorRT gave not {what}; see the log")
    return found


def _logger(trt: Any, trial: Trial) -> Any:
    class Log(trt.ILogger):  # type: ignore[misc]  # which module it is comes from outside
        """Keeps what is said, word for word."""

        def __init__(self) -> None:
            super().__init__()

        def log(self, severity: Any, msg: str) -> None:
            if severity.name != "VERBOSE" and len(trial.record["log"]) < MOST_MESSAGES:
                trial.record["log"].append(f"{severity.name}: {msg}")
                trial.keep()

    return Log()


def main(arguments: Sequence[str] | None = None) -> int:
    """Try."""
    options = _parse(arguments)
    trial = Trial(options.out, options.module, options.capability)
    code = 0
    try:
        with trial.stage("import"):
            trt = importlib.import_module(options.module)
            trial.record["version"] = str(trt.__version__)
            known = getattr(getattr(trt, "ComputeCapability", None), "__members__", {})
            trial.record["known_capabilities"] = list(known)
        try_it(trt, trial, options.capability)
    except ModuleNotFoundError:
        code = 6
    except Exception:  # whatever it is: the trial has it
        code = 1
    print(json.dumps(trial.record, indent=1))
    print(trial.record["problem"], file=sys.stderr)
    return code


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What a TensorRT says of this card.")
    parser.add_argument("module")
    parser.add_argument("capability", help="as the module names it, or - for none")
    parser.add_argument("--out", type=Path)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
