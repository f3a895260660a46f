"""CUDA without a runtime of its own: the driver, memory, streams, graphs and kernels."""
