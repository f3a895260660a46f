"""Checkpoint to ONNX: tracing, graph passes, parity."""
