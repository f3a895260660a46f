// Runs the soft-argmax kernel on a CPU: one block after the other, the threads of a block as
// coroutines that take turns at every __syncthreads(). KERNEL_SOURCE is the path of the .cu file.

#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#define __global__
#define __device__
#define __shared__ static
#define __launch_bounds__(threads)

struct Index {
    int x;
};

static Index threadIdx, blockIdx;
static ucontext_t scheduler;
static std::vector<ucontext_t> threads;
static std::vector<bool> done;

static void __syncthreads() { swapcontext(&threads[threadIdx.x], &scheduler); }

static float __int_as_float(int bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

static float float_from_half_bits(unsigned short bits) {
    const int exponent = (bits >> 10) & 31, fraction = bits & 1023;
    float value = exponent == 31   ? (fraction ? NAN : INFINITY)
                  : exponent == 0 ? std::ldexp(float(fraction), -24)
                                  : std::ldexp(float(fraction + 1024), exponent - 25);
    return bits & 0x8000 ? -value : value;
}

#include KERNEL_SOURCE

namespace {

struct Launch {
    const void* heatmaps;
    int rows, columns, height_px, width_px, temperature_bits;
    float *landmarks, *confidence, *spread;
    bool half;
};

const Launch* launch;

void thread_main() {
    const Launch& l = *launch;
    if (l.half)
        mahtrt_soft_argmax_f16(static_cast<const unsigned short*>(l.heatmaps), l.rows, l.columns,
                               l.height_px, l.width_px, l.temperature_bits, l.landmarks,
                               l.confidence, l.spread);
    else
        mahtrt_soft_argmax_f32(static_cast<const float*>(l.heatmaps), l.rows, l.columns,
                               l.height_px, l.width_px, l.temperature_bits, l.landmarks,
                               l.confidence, l.spread);
    done[threadIdx.x] = true;
}

// Every thread runs up to its next barrier. Returns false when only some of them ended: on a GPU
// the others would wait at that barrier for ever.
bool run_block(bool backwards) {
    constexpr int count = BLOCK_THREADS;
    constexpr size_t stack_bytes = 32768;
    const std::unique_ptr<char[]> stacks(new char[count * stack_bytes]);
    threads.assign(count, ucontext_t{});
    done.assign(count, false);
    for (int i = 0; i < count; ++i) {
        getcontext(&threads[i]);
        threads[i].uc_stack.ss_sp = stacks.get() + i * stack_bytes;
        threads[i].uc_stack.ss_size = stack_bytes;
        threads[i].uc_link = &scheduler;
        makecontext(&threads[i], thread_main, 0);
    }
    for (int ended = 0; ended == 0;) {
        for (int turn = 0; turn < count; ++turn) {
            threadIdx.x = backwards ? count - 1 - turn : turn;
            swapcontext(&scheduler, &threads[threadIdx.x]);
            ended += done[threadIdx.x];
        }
        if (ended != 0 && ended != count) return false;
    }
    return true;
}

}  // namespace

extern "C" int run_soft_argmax(const void* heatmaps, int half, int maps, int rows, int columns,
                               int height_px, int width_px, int temperature_bits, float* landmarks,
                               float* confidence, float* spread, int backwards) {
    const Launch l{heatmaps,  rows,       columns, height_px, width_px, temperature_bits,
                   landmarks, confidence, spread,  half != 0};
    launch = &l;
    for (blockIdx.x = 0; blockIdx.x < maps; ++blockIdx.x)
        if (!run_block(backwards != 0)) return 1;
    return 0;
}
