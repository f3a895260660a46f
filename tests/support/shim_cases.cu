// Small kernels that show what the CPU shim does: test_cuda_on_cpu.py runs them.

extern "C" __global__ void where(int* seen) {
    const int block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    const int thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    seen[block * (blockDim.x * blockDim.y * blockDim.z) + thread] += 1 + thread + 1000 * block;
}

// Sum of a block's values by shuffles and shared memory; the last block to arrive adds all up.
extern "C" __global__ void total(const float* values, double scale, float* partial,
                                 unsigned* counter, float* result) {
    __shared__ float of_warp[32];
    __shared__ bool last;
    const int warps = (blockDim.x + 31) / 32;
    float sum = values[blockIdx.x * blockDim.x + threadIdx.x];
    for (int bits = 16; bits > 0; bits /= 2) sum += __shfl_xor_sync(~0u, sum, bits);
    if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int i = 1; i < warps; ++i) sum += of_warp[i];
        partial[blockIdx.x] = sum;
        __threadfence();
        last = atomicInc(counter, gridDim.x - 1) == gridDim.x - 1;
    }
    __syncthreads();
    if (!last || threadIdx.x != 0) return;
    float all = 0;
    for (unsigned i = 0; i < gridDim.x; ++i) all += partial[i];
    *result = float(all * scale);
}

extern "C" __global__ void votes(unsigned* found) {
    const unsigned odd = __ballot_sync(~0u, threadIdx.x % 2);
    const int any = __any_sync(~0u, threadIdx.x == 33), all = __all_sync(~0u, threadIdx.x < 33);
    const float below = __shfl_down_sync(~0u, float(threadIdx.x), 1);
    found[threadIdx.x] = odd == 0xaaaaaaaau ? 100 * any + 1000 * all + unsigned(below) : 0;
}

extern "C" __global__ void race(int* values) {  // a barrier is missing
    __shared__ int shared[64];
    shared[threadIdx.x] = threadIdx.x;
    values[threadIdx.x] = shared[63 - threadIdx.x];
}

extern "C" __global__ void uneven_barrier() {
    if (threadIdx.x != 5) __syncthreads();
}

extern "C" __global__ void beyond(int* values, int count) { values[count] = 1; }

extern "C" __global__ void overflow(int* values) { values[0] = values[1] + values[2]; }

extern "C" __global__ void halves(const float* values, float* back, unsigned short* bits) {
    bits[threadIdx.x] = half_bits_from_float(values[threadIdx.x]);
    back[threadIdx.x] = float_from_half_bits(bits[threadIdx.x]);
}
