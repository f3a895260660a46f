"""What a bench asks of a peer: something else that runs the same network as the engines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from mahtrt.data.subset import NetworkTensors
from mahtrt.spec import ModelSpec
from mahtrt.targets.backend import Backend


@dataclass(frozen=True, slots=True)
class PeerCalibration:
    """What a peer that quantises does it with.

    Attributes:
        images: Gives the images, prepared as for the engines; it raises a DataError where there are
            none that may be used.
        budget_px: How far a quantiser that checks itself may move landmarks from FP32 in the mean,
            in pixels of the network's input.
        minutes: How long its search may take.
    """

    images: Callable[[], NetworkTensors]
    budget_px: float = 0.25
    minutes: float = 10.0


@dataclass(frozen=True, slots=True)
class PeerSetting:
    """How peers run.

    Attributes:
        device: ``cpu`` or ``cuda``.
        batch: Images per inference.
        threads: CPU threads of one inference; None leaves their number to the peer.
        calibration: What peers that quantise do it with.
    """

    device: str = "cpu"
    batch: int = 1
    threads: int | None = None
    calibration: PeerCalibration | None = None


class Peer(Protocol):
    """What else runs a network.

    Attributes:
        backend: What reports call what runs it, ``pytorch``.
    """

    backend: str

    def precision(self, device: str) -> str:
        """What it computes in on a device: ``fp32``, ``fp16``."""

    def open(self, network: Any, spec: ModelSpec, setting: PeerSetting) -> Backend:
        """Make a network ready, with one inference at least.

        Args:
            network: The PyTorch network, which the peer copies before it changes it.

        Raises:
            Exception: Whatever makes it impossible; its first line is the reason of the report.
        """
