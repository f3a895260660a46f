// Single instructions of a GPU that CUDA C++ has no header-free name for. The kernels include files
// of this folder alone: NVRTC compiles them where no CUDA toolkit is. On the CPU, under test, the
// same functions come from tests/support/cuda_on_cpu.cpp.

#pragma once

#ifdef __CUDACC__

__device__ __forceinline__ float float_from_half_bits(unsigned short bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}

// Rounds to nearest, ties to even; beyond 65504 to infinity.
__device__ __forceinline__ unsigned short half_bits_from_float(float value) {
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}

// 2^value within 2 units in the last place; a result below 2^-126 is 0.
__device__ __forceinline__ float exp2_approximate(float value) {
    float power;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(value));
    return power;
}

// 1 / value within 1 unit in the last place; 0 for infinity.
__device__ __forceinline__ float reciprocal_approximate(float value) {
    float reciprocal;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(reciprocal) : "f"(value));
    return reciprocal;
}

#endif
