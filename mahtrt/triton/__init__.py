"""Model repositories for NVIDIA Triton Inference Server, and the models that run inside it."""
