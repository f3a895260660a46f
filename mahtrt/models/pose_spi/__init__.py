"""Pose-SPI: keypoints of a person and whether they can be seen, from 64x64 gray images."""
