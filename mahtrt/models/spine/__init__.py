"""Spine: CNN encoder, transformer bridge, learned queries, full-resolution heatmaps."""
