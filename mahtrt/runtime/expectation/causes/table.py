"""Every cause that is tried."""

from __future__ import annotations

from mahtrt.runtime.expectation.causes.cause import Cause
from mahtrt.runtime.expectation.causes.colours import COLOURS
from mahtrt.runtime.expectation.causes.coordinates import COORDINATES
from mahtrt.runtime.expectation.causes.decoding import DECODING
from mahtrt.runtime.expectation.causes.fitting import FITTING
from mahtrt.runtime.expectation.causes.kernels import KERNELS
from mahtrt.runtime.expectation.causes.levels import LEVELS
from mahtrt.runtime.expectation.causes.numbers import NUMBERS
from mahtrt.runtime.expectation.causes.units import UNITS

CAUSES: tuple[Cause, ...] = (
    *COLOURS,
    *NUMBERS,
    *LEVELS,
    *FITTING,
    *KERNELS,
    *DECODING,
    *COORDINATES,
    *UNITS,
)
