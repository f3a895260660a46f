// Soft-argmax of heatmaps in one kernel: landmarks, confidence and spread.
//
// One block per map, blockIdx.x = image * landmarks + landmark. Three passes over the map, which
// stays in the cache: highest value, mean position, spread around that mean. The highest value is
// subtracted before the division by the temperature, so no temperature overflows; the spread is
// summed around the mean, so nothing cancels.
//
// Positions are counted in cells from the middle of the map (halves, exact in FP32) and turned
// into network pixels at the end: the middle of the map is (pixels - 1) / 2, pixel centres being at
// integers. Each thread's sums are compensated, so that 16,384 cells of equal weight cost no more
// accuracy than 256.
//
// This is what the TensorRT plugin runs: TensorRT gives a kernel its inputs, whole numbers and its
// outputs, but no memory to work in and no floating point numbers. soft_argmax.cu is the faster one
// for launches of our own.

#include "gpu.cuh"

#define BLOCK_THREADS 256

// A sum and what was rounded away from it.
struct CompensatedSum {
    float high = 0.0f;
    float low = 0.0f;

    __device__ void add(float value) {
        const float sum = high + value;
        const float part = sum - high;
        low += (high - (sum - part)) + (value - part);
        high = sum;
    }

    __device__ float total() const { return high + low; }
};

__device__ inline float loaded(const float* heatmap, int cell) { return heatmap[cell]; }

__device__ inline float loaded(const unsigned short* heatmap, int cell) {
    return float_from_half_bits(heatmap[cell]);
}

__device__ inline float larger(float a, float b) { return a > b ? a : b; }

__device__ inline float added(float a, float b) { return a + b; }

// What `combine` makes of every thread's value, in the same order on every run. All threads must
// call it; it leaves the scratch free for the next call.
template <float (*combine)(float, float)>
__device__ float over_block(float value, float* scratch) {
    const int thread = threadIdx.x;
    scratch[thread] = value;
    __syncthreads();
    for (int half = BLOCK_THREADS / 2; half > 0; half /= 2) {
        if (thread < half) scratch[thread] = combine(scratch[thread], scratch[thread + half]);
        __syncthreads();
    }
    const float result = scratch[0];
    __syncthreads();
    return result;
}

template <typename Stored>
__device__ void soft_argmax(const Stored* heatmaps, int rows, int columns, int height_px,
                            int width_px, float temperature, float* landmarks, float* confidence,
                            float* spread) {
    __shared__ float scratch[BLOCK_THREADS];
    const int cells = rows * columns;
    const Stored* heatmap = heatmaps + static_cast<long long>(blockIdx.x) * cells;
    const float middle_x = 0.5f * (columns - 1), middle_y = 0.5f * (rows - 1);

    float own_peak = -__int_as_float(0x7f800000);  // -infinity
    for (int cell = threadIdx.x; cell < cells; cell += BLOCK_THREADS)
        own_peak = larger(loaded(heatmap, cell), own_peak);
    const float peak = over_block<larger>(own_peak, scratch);

    CompensatedSum weights, xs, ys;
    for (int cell = threadIdx.x; cell < cells; cell += BLOCK_THREADS) {
        const float weight = expf((loaded(heatmap, cell) - peak) / temperature);
        weights.add(weight);
        xs.add(weight * (cell % columns - middle_x));
        ys.add(weight * (cell / columns - middle_y));
    }
    const float total = over_block<added>(weights.total(), scratch);
    const float mean_x = over_block<added>(xs.total(), scratch) / total;  // in cells
    const float mean_y = over_block<added>(ys.total(), scratch) / total;

    const float cell_width_px = static_cast<float>(width_px) / columns;
    const float cell_height_px = static_cast<float>(height_px) / rows;
    CompensatedSum squares;
    for (int cell = threadIdx.x; cell < cells; cell += BLOCK_THREADS) {
        const float weight = expf((loaded(heatmap, cell) - peak) / temperature);
        const float dx = (cell % columns - middle_x - mean_x) * cell_width_px;
        const float dy = (cell / columns - middle_y - mean_y) * cell_height_px;
        squares.add(weight * (dx * dx + dy * dy));
    }
    const float variance = over_block<added>(squares.total(), scratch) / total;

    if (threadIdx.x == 0) {
        landmarks[2 * blockIdx.x] = 0.5f * (width_px - 1) + mean_x * cell_width_px;
        landmarks[2 * blockIdx.x + 1] = 0.5f * (height_px - 1) + mean_y * cell_height_px;
        // A comparison drops NaN; the sum of the weights does not.
        confidence[blockIdx.x] = total == total ? peak : total;
        spread[blockIdx.x] = sqrtf(variance < 1e-12f ? 1e-12f : variance);
    }
}

// What TensorRT passes: the inputs, then whole numbers, then the outputs. There are no numbers but
// integers, so the temperature comes as the bits of its FP32 value.
#define KERNEL(name, Stored)                                                                       \
    extern "C" __global__ void __launch_bounds__(BLOCK_THREADS)                                    \
        name(const Stored* heatmaps, int rows, int columns, int height_px, int width_px,           \
             int temperature_bits, float* landmarks, float* confidence, float* spread) {           \
        soft_argmax(heatmaps, rows, columns, height_px, width_px,                                  \
                    __int_as_float(temperature_bits), landmarks, confidence, spread);              \
    }

KERNEL(mahtrt_soft_argmax_f32, float)
KERNEL(mahtrt_soft_argmax_f16, unsigned short)
