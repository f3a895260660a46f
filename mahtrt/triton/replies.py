"""What the models inside Triton share: requests taken apart, answers and errors put together.

``triton_python_backend_utils`` is a module of Triton's Python backend, and there is none of it
outside the server: it is imported when the server makes a model.
"""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mahtrt.errors import InputError, MahtrtError, MissingComponentError
from mahtrt.triton.requests import Arrays

_TRIED = "a request could not be answered"


class Replies:
    """Triton's objects from ours.

    Args:
        outputs: Names of the model's outputs, in the order of the answer.
    """

    def __init__(self, outputs: Sequence[str]) -> None:
        self._triton = importlib.import_module("triton_python_backend_utils")
        self._outputs = tuple(outputs)

    def arrays(self, request: Any) -> Arrays:
        """What a request holds, by name."""
        return {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}

    def answer(self, arrays: Arrays) -> Any:
        """The response with the model's outputs."""
        tensors = [self._triton.Tensor(name, arrays[name]) for name in self._outputs]
        return self._triton.InferenceResponse(output_tensors=tensors)

    def refusal(self, error: Exception) -> Any:
        """The response that says why there is no answer.

        A defect is told by its kind alone, and the places in the code go to the log: its message
        may quote the image.
        """
        kinds = self._triton.TritonError
        if isinstance(error, MahtrtError):
            code = kinds.INTERNAL
            if isinstance(error, InputError):
                code = kinds.INVALID_ARG
            elif isinstance(error, MissingComponentError):
                code = kinds.UNSUPPORTED
            return self._refused(str(error), code)
        places = "".join(traceback.format_tb(error.__traceback__))
        self.log(f"{_TRIED}: {type(error).__name__}\n{places}", is_error=True)
        return self._refused(f"{_TRIED}: {type(error).__name__}, see the log", kinds.INTERNAL)

    def log(self, text: str, *, is_error: bool = False) -> None:
        """A line in the server's log."""
        logger = self._triton.Logger
        (logger.log_error if is_error else logger.log_info)(text)

    def each(self, requests: Sequence[Any], work: Callable[[Arrays], Arrays]) -> list[Any]:
        """The responses to requests that are worked on one by one."""
        return [self._one(request, work) for request in requests]

    def _one(self, request: Any, work: Callable[[Arrays], Arrays]) -> Any:
        try:
            return self.answer(work(self.arrays(request)))
        except Exception as error:  # one bad request is no reason to lose the server
            return self.refusal(error)

    def _refused(self, text: str, code: Any) -> Any:
        return self._triton.InferenceResponse(error=self._triton.TritonError(text, code))


def outputs_of(model_config: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of a model's outputs, in the order of its configuration."""
    return tuple(output["name"] for output in model_config["output"])


def parameter(model_config: Mapping[str, Any], name: str) -> str | None:
    """A parameter of a model's configuration, None where it has none of that name."""
    found = model_config.get("parameters", {}).get(name)
    return None if found is None else str(found["string_value"])
