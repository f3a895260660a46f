#include "resample_kernels.h"

#include <type_traits>

namespace mahtrt {
namespace {

// On x86 the portable set is for CPUs of before 2013: small code will do there.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("Os", "no-tree-vectorize")
#define MAHTRT_SMALL_PORTABLE
#endif
namespace portable {
#define MAHTRT_KERNEL
#define MAHTRT_KERNEL_NAME "portable"
#include "resample_kernels.inl"
#undef MAHTRT_KERNEL
#undef MAHTRT_KERNEL_NAME
}  // namespace portable
#ifdef MAHTRT_SMALL_PORTABLE
#pragma GCC pop_options
#endif

#if defined(__x86_64__)
// AVX-512 gains nothing over it: what is not memory is look-ups and running sums.
namespace avx2 {
#define MAHTRT_KERNEL __attribute__((target("avx2")))
#define MAHTRT_KERNEL_NAME "avx2"
#include "resample_kernels.inl"
#undef MAHTRT_KERNEL
#undef MAHTRT_KERNEL_NAME
}  // namespace avx2
#endif

struct Available {
    const Kernels* sets[3] = {&portable::kTable, nullptr, nullptr};
    int count = 1;

    Available() noexcept {
#if defined(__x86_64__)
        __builtin_cpu_init();
        if (__builtin_cpu_supports("avx2") != 0) sets[count++] = &avx2::kTable;
#endif
    }
};

const Available& available() noexcept {
    static const Available found;
    return found;
}

}  // namespace

const Kernels& kernels() noexcept { return *available().sets[available().count - 1]; }

const Kernels* const* all_kernels() noexcept { return available().sets; }

}  // namespace mahtrt
