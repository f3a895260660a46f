// What goes into a network and what comes out: the spec of docs/bundle-format.md.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mahtrt {

// Values are those of the constants in mahtrt.h.
enum class ColorOrder : std::int32_t { kRgb, kBgr };
enum class Resize : std::int32_t { kLetterbox, kStretch, kCenterCrop };
enum class Interpolation : std::int32_t {
    kArea,
    kLinear,
    kCubic,
    kNearest,
    kNearestFloor,
    kAntialiasedLinear,
    kAntialiasedCubic
};
enum class OutputKind : std::int32_t {
    kHeatmaps,
    kLandmarks,
    kConfidence,
    kSpread,
    kMap,
    kLogits,
    kVisibility
};
enum class Frame { kNone, kNetwork, kHeatmap, kNormalized };
enum class DecodeMethod { kSoftArgmax, kDark, kRegression, kNone };

struct Size {
    std::int32_t height = 0, width = 0;  // pixels
};

// An input that is gray has one channel; its colour order is not used.
struct InputSpec {
    std::string name;
    Size size;
    std::int32_t channels = 0;  // 1 or 3
    ColorOrder color_order = ColorOrder::kRgb;
    std::array<double, 3> mean{}, std{};  // the first `channels` are used
    Resize resize = Resize::kLetterbox;
    Interpolation interpolation = Interpolation::kArea;
    double pad_value = 0;
};

struct OutputSpec {
    std::string name;
    OutputKind kind = OutputKind::kHeatmaps;
    Frame frame = Frame::kNone;
    std::vector<std::string> labels;
    double threshold = 0.5;
};

struct DecodeSpec {
    DecodeMethod method = DecodeMethod::kNone;
    double temperature = 1, sigma = 2;
    std::optional<Size> heatmap_size;
};

struct ModelSpec {
    std::string family;
    std::vector<InputSpec> inputs;
    std::vector<OutputSpec> outputs;
    std::vector<std::string> landmarks;
    DecodeSpec decode;

    // The first output of a kind, nullptr where there is none.
    const OutputSpec* output(OutputKind kind) const noexcept {
        for (const OutputSpec& each : outputs)
            if (each.kind == kind) return &each;
        return nullptr;
    }
};

}  // namespace mahtrt
