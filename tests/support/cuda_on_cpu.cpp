// Runs a CUDA kernel on a CPU. tests/support/cuda_on_cpu.py compiles this file with
//   KERNEL_SOURCE   the path of the .cu file, in quotes
//   KERNEL_ENTRIES  its entries as ENTRY(first) ENTRY(second) ...
//
// One block runs after the other, and the threads of a block take turns as coroutines: each runs
// up to its next barrier or warp operation. So a kernel without a data race gives the same in any
// order of threads and blocks, and a missing barrier shows when the order is turned round.

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <bit>
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __shared__ static
#define __launch_bounds__(...)

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};

#define VECTOR2(name, scalar) struct alignas(2 * sizeof(scalar)) name { scalar x, y; };
#define VECTOR4(name, scalar) struct alignas(4 * sizeof(scalar)) name { scalar x, y, z, w; };
VECTOR2(uchar2, unsigned char)
VECTOR4(uchar4, unsigned char)
VECTOR2(ushort2, unsigned short)
VECTOR4(ushort4, unsigned short)
VECTOR2(int2, int)
VECTOR4(int4, int)
VECTOR2(uint2, unsigned)
VECTOR4(uint4, unsigned)
VECTOR2(float2, float)
VECTOR4(float4, float)
VECTOR2(double2, double)

static dim3 threadIdx, blockIdx, blockDim, gridDim;
constexpr int warpSize = 32;

namespace on_cpu {

enum class State { ready, at_block_barrier, at_warp_barrier, done };

struct Thread {
    ucontext_t context;  // where it starts
    jmp_buf place;       // where it waits
    bool started;
    State state;
    unsigned mask;      // of the warp operation that it waits in
    unsigned parity;    // of its next warp operation: a value stays readable for one more
    uint64_t given[2];  // to the others of its warp
};

constexpr size_t stack_bytes = 65536;
static std::vector<Thread> threads;
static std::vector<char> stacks;
static int current;  // index of the thread that runs

// Changing stacks: the sanitizer knows of swapcontext alone, and jumps take no call of the system.
#ifdef __SANITIZE_ADDRESS__
static ucontext_t scheduler;

static void run_on(Thread& thread) { swapcontext(&scheduler, &thread.context); }
static void back_to_scheduler(Thread& thread) { swapcontext(&thread.context, &scheduler); }
#else
static jmp_buf scheduler;

__attribute__((noinline)) static void run_on(Thread& thread) {
    if (_setjmp(scheduler)) return;
    if (thread.started) _longjmp(thread.place, 1);
    thread.started = true;
    setcontext(&thread.context);
}

__attribute__((noinline)) static void back_to_scheduler(Thread& thread) {
    if (!_setjmp(thread.place)) _longjmp(scheduler, 1);
}
#endif

static void wait(State state) {
    Thread& self = threads[current];
    self.state = state;
    back_to_scheduler(self);
}

// Gives a value to the warp; after the return the others' values can be read.
static unsigned exchange(unsigned mask, uint64_t value) {
    Thread& self = threads[current];
    const unsigned parity = self.parity;
    self.parity ^= 1;
    self.given[parity] = value;
    self.mask = mask;
    wait(State::at_warp_barrier);
    return parity;
}

static unsigned lane() { return current % warpSize; }

static Thread* other_lane(unsigned lane) {
    const unsigned index = current / warpSize * warpSize + lane;
    return lane < warpSize && index < threads.size() ? &threads[index] : nullptr;
}

template <typename T>
static T shuffled(unsigned mask, T value, unsigned from) {
    static_assert(sizeof(T) <= 8);
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    const unsigned parity = exchange(mask, bits);
    // What a lane outside of the mask gives is undefined on a GPU; here it is all ones, a NaN.
    bits = ~uint64_t(0);
    if (const Thread* other = other_lane(from))
        if (mask >> from & 1) bits = other->given[parity];
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

static unsigned ballot(unsigned mask, bool predicate) {
    const unsigned parity = exchange(mask, predicate);
    unsigned votes = 0;
    for (unsigned i = 0; i < warpSize; ++i)
        if (const Thread* other = other_lane(i))
            if ((mask >> i & 1) && other->given[parity]) votes |= 1u << i;
    return votes;
}

}  // namespace on_cpu

// ---- What kernels may call

static void __syncthreads() { on_cpu::wait(on_cpu::State::at_block_barrier); }
static void __syncwarp(unsigned mask = ~0u) { on_cpu::exchange(mask, 0); }
static void __threadfence() {}
static void __threadfence_block() {}

template <typename T>
static T __shfl_sync(unsigned mask, T value, int lane, int = warpSize) {
    return on_cpu::shuffled(mask, value, unsigned(lane) % warpSize);
}
template <typename T>
static T __shfl_xor_sync(unsigned mask, T value, int bits, int = warpSize) {
    return on_cpu::shuffled(mask, value, on_cpu::lane() ^ unsigned(bits));
}
// A lane without a source keeps its own value, as on a GPU.
template <typename T>
static T __shfl_down_sync(unsigned mask, T value, unsigned by, int = warpSize) {
    const unsigned from = on_cpu::lane() + by;
    return on_cpu::shuffled(mask, value, from < warpSize ? from : on_cpu::lane());
}
template <typename T>
static T __shfl_up_sync(unsigned mask, T value, unsigned by, int = warpSize) {
    const unsigned self = on_cpu::lane();
    return on_cpu::shuffled(mask, value, self >= by ? self - by : self);
}
static unsigned __ballot_sync(unsigned mask, int predicate) {
    return on_cpu::ballot(mask, predicate != 0);
}
static int __any_sync(unsigned mask, int predicate) {
    return on_cpu::ballot(mask, predicate != 0) != 0;
}
static int __all_sync(unsigned mask, int predicate) {
    return on_cpu::ballot(mask, predicate == 0) == 0;
}

// Only the running thread touches memory, so plain reads and writes are atomic.
template <typename T>
static T atomicAdd(T* place, std::type_identity_t<T> value) {
    return std::exchange(*place, *place + value);
}
template <typename T>
static T atomicMax(T* place, std::type_identity_t<T> value) {
    return std::exchange(*place, std::max(*place, value));
}
template <typename T>
static T atomicMin(T* place, std::type_identity_t<T> value) {
    return std::exchange(*place, std::min(*place, value));
}
template <typename T>
static T atomicOr(T* place, std::type_identity_t<T> value) {
    return std::exchange(*place, *place | value);
}
template <typename T>
static T atomicExch(T* place, std::type_identity_t<T> value) {
    return std::exchange(*place, value);
}
template <typename T>
static T atomicCAS(T* place, std::type_identity_t<T> old, std::type_identity_t<T> value) {
    return std::exchange(*place, *place == old ? value : *place);
}
static unsigned atomicInc(unsigned* place, unsigned last) {
    return std::exchange(*place, *place >= last ? 0 : *place + 1);
}

template <typename T>
static T __ldg(const T* place) { return *place; }
template <typename T>
static T __ldcs(const T* place) { return *place; }
template <typename T>
static T __ldcg(const T* place) { return *place; }
template <typename T>
static void __stcs(T* place, std::type_identity_t<T> value) { *place = value; }
template <typename T>
static void __stcg(T* place, std::type_identity_t<T> value) { *place = value; }

static float __int_as_float(int bits) { return std::bit_cast<float>(bits); }
static int __float_as_int(float value) { return std::bit_cast<int>(value); }
static float __uint_as_float(unsigned bits) { return std::bit_cast<float>(bits); }
static unsigned __float_as_uint(float value) { return std::bit_cast<unsigned>(value); }
static float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
static float __fadd_rn(float a, float b) { return a + b; }
static float __fmul_rn(float a, float b) { return a * b; }
static float __fdiv_rn(float a, float b) { return a / b; }
static float __fsqrt_rn(float a) { return std::sqrt(a); }
static int __float2int_rn(float value) { return int(std::nearbyint(value)); }
static int __float2int_rd(float value) { return int(std::floor(value)); }
static int __ffs(int bits) { return __builtin_ffs(bits); }
static int __popc(unsigned bits) { return __builtin_popcount(bits); }
static int __clz(int bits) { return bits ? __builtin_clz(unsigned(bits)) : 32; }
static unsigned __umulhi(unsigned a, unsigned b) { return unsigned(uint64_t(a) * b >> 32); }
template <typename T>
static T min(T a, std::type_identity_t<T> b) { return b < a ? b : a; }
template <typename T>
static T max(T a, std::type_identity_t<T> b) { return a < b ? b : a; }

// ---- What mahtrt/cuda/kernels/gpu.cuh has as instructions of a GPU

static float float_from_half_bits(unsigned short bits) {
    const int exponent = (bits >> 10) & 31, fraction = bits & 1023;
    float value = exponent == 31   ? (fraction ? NAN : INFINITY)
                  : exponent == 0 ? std::ldexp(float(fraction), -24)
                                  : std::ldexp(float(fraction + 1024), exponent - 25);
    return bits & 0x8000 ? -value : value;
}

// Rounds to nearest, ties to even; beyond 65504 to infinity.
static unsigned short half_bits_from_float(float value) {
    const unsigned sign = std::signbit(value) ? 0x8000 : 0;
    const float size = std::fabs(value);
    if (std::isnan(value)) return 0x7fff;
    if (size >= 65520.0f) return sign | 0x7c00;
    const int exponent = std::max(size > 0 ? std::ilogb(size) : -15, -14);
    const int steps = int(std::nearbyint(std::ldexp(size, 10 - exponent)));  // of 2^(exponent - 10)
    return sign | (steps < 1024 ? steps : ((exponent + 14) << 10) + steps);
}

static float exp2_approximate(float value) { return std::exp2(value); }
static float reciprocal_approximate(float value) { return 1.0f / value; }

#include KERNEL_SOURCE

// ---- The launch

namespace on_cpu {

static void (*body)(void**);
static void** body_arguments;

static void thread_main() {
    body(body_arguments);
    wait(State::done);
}

static void start_threads() {
    for (size_t i = 0; i < threads.size(); ++i) {
        Thread& thread = threads[i];
        thread.state = State::ready;
        thread.started = false;
        thread.parity = 0;
        getcontext(&thread.context);
        thread.context.uc_stack.ss_sp = stacks.data() + i * stack_bytes;
        thread.context.uc_stack.ss_size = stack_bytes;
        thread.context.uc_link = nullptr;  // no thread returns
        makecontext(&thread.context, thread_main, 0);
    }
}

// Lets a warp go on whose operation all of its mask have come to. A warp that waits with
// different masks, or for a thread that ended, waits for ever, here as on a GPU.
static bool release_warp(int first) {
    const int end = std::min<int>(first + warpSize, threads.size());
    bool released = false;
    for (int i = first; i < end; ++i) {
        if (threads[i].state != State::at_warp_barrier) continue;
        const unsigned mask = threads[i].mask;
        bool all = true;
        for (int j = first; j < end; ++j)
            if (mask >> (j - first) & 1)
                all = all && threads[j].state == State::at_warp_barrier && threads[j].mask == mask;
        if (!all || !(mask >> (i - first) & 1)) continue;
        for (int j = first; j < end; ++j)
            if (mask >> (j - first) & 1) threads[j].state = State::ready;
        released = true;
    }
    return released;
}

static bool release_block() {
    for (const Thread& thread : threads)
        if (thread.state != State::at_block_barrier) return false;
    for (Thread& thread : threads) thread.state = State::ready;
    return true;
}

static void run_ready(bool backwards) {
    const int count = threads.size();
    for (int turn = 0; turn < count; ++turn) {
        current = backwards ? count - 1 - turn : turn;
        if (threads[current].state != State::ready) continue;
        threadIdx.x = current % blockDim.x;
        threadIdx.y = current / blockDim.x % blockDim.y;
        threadIdx.z = current / blockDim.x / blockDim.y;
        run_on(threads[current]);
    }
}

static bool run_block(bool backwards) {
    start_threads();
    for (;;) {
        run_ready(backwards);
        bool released = release_block();
        for (size_t first = 0; first < threads.size(); first += warpSize)
            released = release_warp(first) || released;
        if (!released) break;
    }
    return std::all_of(threads.begin(), threads.end(),
                       [](const Thread& thread) { return thread.state == State::done; });
}

static int run(void (*entry)(void**), void** arguments, const unsigned* sizes, bool backwards) {
    body = entry;
    body_arguments = arguments;
    gridDim = {sizes[0], sizes[1], sizes[2]};
    blockDim = {sizes[3], sizes[4], sizes[5]};
    threads.assign(size_t(sizes[3]) * sizes[4] * sizes[5], Thread{});
    stacks.resize(threads.size() * stack_bytes);
    const long long blocks = 1LL * gridDim.x * gridDim.y * gridDim.z;
    for (long long turn = 0; turn < blocks; ++turn) {
        const long long block = backwards ? blocks - 1 - turn : turn;
        blockIdx.x = block % gridDim.x;
        blockIdx.y = block / gridDim.x % gridDim.y;
        blockIdx.z = block / gridDim.x / gridDim.y;
        if (!run_block(backwards)) return 1;
    }
    return 0;
}

// Arguments come as for cuLaunchKernel: a pointer to each.
template <typename... T>
struct Call {
    template <void (*kernel)(T...), size_t... i>
    static void with(void** arguments, std::index_sequence<i...>) {
        kernel(*static_cast<std::remove_const_t<T>*>(arguments[i])...);
    }
};

template <typename T>
constexpr char kind() {
    if (std::is_pointer_v<T>) return 'P';
    if (std::is_floating_point_v<T>) return 'f';
    return std::is_integral_v<T> ? 'i' : 'S';
}

template <auto kernel>
struct Entry;

template <typename... T, void (*kernel)(T...)>
struct Entry<kernel> {
    static void call(void** arguments) {
        Call<T...>::template with<kernel>(arguments, std::index_sequence_for<T...>());
    }
    // "P8 i4 ": kind and size of each parameter.
    static void describe(char* text) {
        ((*text++ = kind<T>(), *text++ = char('0' + sizeof(T) / 10), *text++ = '0' + sizeof(T) % 10),
         ...);
        *text = 0;
    }
};

}  // namespace on_cpu

#define ENTRY(name)                                                                               \
    extern "C" int run_##name(void** arguments, const unsigned* sizes, int backwards) {          \
        return on_cpu::run(on_cpu::Entry<&name>::call, arguments, sizes, backwards != 0);         \
    }                                                                                             \
    extern "C" void describe_##name(char* text) { on_cpu::Entry<&name>::describe(text); }
KERNEL_ENTRIES
