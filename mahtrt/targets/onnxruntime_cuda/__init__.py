"""The target ``onnxruntime-cuda``: NVIDIA GPUs, by ONNX Runtime's CUDA execution provider."""
