"""ONNX to engine, one builder per target, and the bundle that holds the result."""
