"""What a training writes down while it goes on, for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mahtrt.errors import require


class Monitor:
    """Scalars of a training as TensorBoard's event files; without a folder, nothing.

    Args:
        folder: Where to write; None for nowhere.
        first_step: What an interrupted run wrote from here on is left out of view.

    Raises:
        MissingComponentError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path | None, first_step: int) -> None:
        self._writer: Any = None
        if folder is not None:
            require("tensorboard", extra="train", needed_for="--log")
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder), purge_step=first_step)

    def note(self, step: int, group: str, values: Mapping[str, float]) -> None:
        """Write values down, as ``group/name``."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(f"{group}/{name}", value, step)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
