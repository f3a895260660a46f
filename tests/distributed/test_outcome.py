"""Errors of workers, as whoever started the run is given them."""

from __future__ import annotations

import errno
import pickle

import pytest

from mahtrt.cuda.device import CudaError
from mahtrt.distributed.outcome import Failure, ended_by_ray, outcome_of, packed, unpacked
from mahtrt.errors import BuildError, ImageError, IntegrityError, MahtrtError


def _raise(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    "error",
    [
        IntegrityError("rows", got="another run", expected="one at a time", fix="Wait."),
        ImageError("a.png", got="no picture", reason="damaged"),
        CudaError("cuMemAlloc", 2, got="out of memory"),
        OSError(errno.ENOSPC, "No space left on device", "rows/part"),
    ],
)
def test_an_error_comes_as_it_was_raised(error: Exception) -> None:
    outcome = outcome_of(lambda: _raise(error))
    with pytest.raises(type(error)) as caught:
        unpacked(packed(outcome))
    facts = dict(vars(caught.value))
    assert "_raise" in facts.pop("__notes__")[0]
    assert (type(caught.value), str(caught.value)) == (type(error), str(error))
    assert facts == {name: value for name, value in vars(error).items() if name != "__notes__"}


def test_an_error_that_nobody_expected_is_named() -> None:
    outcome = outcome_of(lambda: _raise(ValueError("a shape\nand more")))
    assert isinstance(outcome, Failure)
    with pytest.raises(BuildError, match=r"a worker on .* that failed \(ValueError: a shape\)"):
        unpacked(packed(outcome))


def test_a_run_that_ray_itself_ends_names_the_cause() -> None:
    error = RuntimeError("ray::task() (pid=1)")
    assert "(RuntimeError: ray::task() (pid=1))" in str(ended_by_ray(error))
    error.cause = MemoryError("a node is full\nand more")  # type: ignore[attr-defined]
    assert "(MemoryError: a node is full)" in str(ended_by_ray(error))


def test_a_result_is_given() -> None:
    assert unpacked(packed(outcome_of(lambda: 3))) == 3


def test_an_error_of_several_arguments_goes_to_another_process() -> None:
    error: MahtrtError = pickle.loads(pickle.dumps(CudaError("cuInit", 100, got="no device")))
    assert (str(error), error.subject) == (
        "CUDA: cuInit: got no device; expected success",
        "CUDA: cuInit",
    )
