"""Keeping back what pydicom and highdicom say about a file: it may name a patient."""

from mahtrt.data.dicom_damage import silent_dicom as without_remarks

__all__ = ["without_remarks"]
