"""Landmarks by a kernel of ours behind the engine, instead of by nodes inside of it.

The graph that the engine is built from ends at the heatmaps. What the cut-off nodes computed is
written beside the engine, as a file of role ``decode``, and a session launches the kernel on the
engine's stream.
"""
