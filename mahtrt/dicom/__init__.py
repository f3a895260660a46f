"""Landmarks as DICOM and as 3D Slicer's markups, for the systems that show and keep images."""
