// One axis of a resize: which pixels of the image a new pixel is made of, and with what weights.
// docs/preprocessing.md defines them; every number here is exact.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "spec.h"

namespace mahtrt {

// The new pixels `first` to `first + count - 1` of an axis: those that the tensor keeps.
struct Kept {
    std::int64_t first = 0, count = 0;
};

// Up to four pixels from `first` on, which may lie outside of the image by two pixels.
struct Taps {
    std::int64_t first = 0;
    std::array<std::int32_t, 4> weights{};
};

// An axis of N pixels that becomes n long, of every interpolation that is not antialiased.
class ExactAxis {
  public:
    ExactAxis(Interpolation interpolation, std::int64_t old_length, std::int64_t new_length);

    // Means over intervals; otherwise `tap_count` pixels have weights of their own.
    bool is_mean() const noexcept { return kind_ == Kind::kMean; }
    int tap_count() const noexcept;
    // The weights of a new pixel together. A power of two for cubic: see `is_rounded_down`.
    std::int64_t sum() const noexcept;
    bool is_cubic() const noexcept { return kind_ == Kind::kCubic; }

    // Of a new pixel; not for means.
    Taps taps(std::int64_t pixel) const noexcept;
    // Where the interval of a new pixel begins, in units of 1/n of a pixel of the image.
    std::int64_t edge(std::int64_t pixel) const noexcept { return pixel * old_; }

    // Pixels of the image, `first` to `end - 1`, that the kept new pixels are made of.
    struct Range {
        std::int64_t first = 0, end = 0;
    };
    Range range(Kept kept) const noexcept;

    std::int64_t old_length() const noexcept { return old_; }
    std::int64_t new_length() const noexcept { return new_; }

  private:
    enum class Kind { kSame, kMean, kLinear, kCubic, kNearest, kNearestFloor };

    Kind kind_;
    std::int64_t old_, new_;
};

// The weights of an antialiased axis, in units of 2^-22, of the kept new pixels.
struct AntialiasedAxis {
    static constexpr int kBits = 22;

    AntialiasedAxis(Interpolation interpolation, std::int64_t old_length, std::int64_t new_length,
                    Kept kept);

    struct Window {
        std::int64_t first = 0;  // pixel of the image
        std::int32_t count = 0;
    };
    std::vector<Window> windows;
    std::int32_t longest = 0;           // the largest count, rounded up to a multiple of 8
    std::vector<std::int32_t> weights;  // `longest` per new pixel, zeros behind its count
};

}  // namespace mahtrt
