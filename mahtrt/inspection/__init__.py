"""What is inside an ONNX graph, a bundle or a plan, without running it."""
