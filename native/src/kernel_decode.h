// What is computed behind an engine that ends at its heatmaps: the file of role `decode`.
//
// docs/bundle-format.md ("KernelDecode") describes the file. Landmarks are computed as
// mahtrt/runtime/soft_argmax.py and mahtrt/runtime/dark.py define it, in double precision.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "spec.h"

namespace mahtrt {

struct KernelDecode {
    enum class Kernel { kSoftArgmax, kDark };

    Kernel kernel = Kernel::kSoftArgmax;
    std::string heatmaps;                       // the engine's output, (B, K, h, w)
    bool is_half = false;                       // float16
    std::array<std::int64_t, 4> shape{};        // (B, K, h, w)
    Size input_size;                            // of the network's input, the frame of landmarks
    std::string landmarks, confidence, spread;  // outputs that are computed
    double temperature = 1;                     // of soft_argmax
    double sigma = 2;                           // of dark, in cells

    std::int64_t maps() const noexcept { return shape[0] * shape[1]; }
    std::int64_t cells() const noexcept { return shape[2] * shape[3]; }
};

// Reads the file. where: what it is, for messages. Throws Error MAHTRT_INTEGRITY.
KernelDecode read_kernel_decode(std::string_view json, const std::string& where);

// A landmark in network pixels; pixel centres are at integers.
struct DecodedPoint {
    double x = 0, y = 0, confidence = 0, spread = 0;
};

// Of one map, (h, w).
DecodedPoint soft_argmax(const float* map, std::int64_t rows, std::int64_t columns,
                         double temperature, const Size& input_size);
DecodedPoint dark(const float* map, std::int64_t rows, std::int64_t columns, double sigma,
                  const Size& input_size);

// All maps (B, K, h, w) to landmarks (B, K, 2) as x, y, confidence (B, K) and spread (B, K).
void decode_heatmaps(const KernelDecode& decode, const float* maps, float* landmarks,
                     float* confidence, float* spread);

// IEEE 754 half precision, exactly.
void widen_halves(const std::uint16_t* halves, float* floats, std::size_t count);

}  // namespace mahtrt
