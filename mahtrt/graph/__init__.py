"""ONNX graphs: read, described, rewritten, run."""
