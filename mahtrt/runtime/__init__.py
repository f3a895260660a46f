"""Bundle to landmarks, without PyTorch."""

from mahtrt.runtime.landmarks import Landmarks
from mahtrt.runtime.session import Session, open_session

__all__ = ["Landmarks", "Session", "open_session"]
