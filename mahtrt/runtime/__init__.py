"""Bundle to landmarks, without PyTorch."""

from mahtrt.runtime.landmarks import Landmarks
from mahtrt.runtime.opening import open_session
from mahtrt.runtime.session import Session

__all__ = ["Landmarks", "Session", "open_session"]
