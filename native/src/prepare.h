// An image as a tensor: docs/preprocessing.md, version 3, bit for bit.
#pragma once

#include <cstddef>
#include <cstdint>

#include "mahtrt.h"
#include "spec.h"

namespace mahtrt {

// The version of docs/preprocessing.md that is implemented.
constexpr std::int64_t kPreprocessVersion = 3;

struct Placement {
    double scale_x = 1, scale_y = 1;    // network pixels per image pixel
    double offset_x = 0, offset_y = 0;  // network pixels, negative where the image is cropped

    double x_image(double x_network) const noexcept {
        return (x_network - offset_x + 0.5) / scale_x - 0.5;
    }
    double y_image(double y_network) const noexcept {
        return (y_network - offset_y + 0.5) / scale_y - 0.5;
    }
};

// An image of the caller that was checked: sizes within limits, rows long enough.
struct Image {
    const unsigned char* data = nullptr;
    std::size_t row_bytes = 0;
    std::int32_t width = 0, height = 0;
    std::int32_t samples = 1;  // per pixel in memory: 1, 3 or 4
    bool wide = false;         // 16 bits per sample
    bool bgr = false;          // order of the colours in memory

    bool rgb() const noexcept { return samples > 1; }
};

// Throws Error: MAHTRT_USAGE (sizes of structs, null), MAHTRT_BAD_IMAGE.
Image checked_image(const mahtrt_image& image);

// An input of the caller. Throws Error MAHTRT_USAGE.
InputSpec checked_input(const mahtrt_input& input);

// Where an image lies on an input. Throws Error MAHTRT_BAD_IMAGE as prepare() does.
Placement placement_of(const InputSpec& input, const Image& image);

// Writes (channels, height, width) floats. Safe from several threads.
// Throws Error: MAHTRT_BAD_IMAGE (it would be resized to too many pixels), MAHTRT_OUT_OF_MEMORY.
Placement prepare(const InputSpec& input, const Image& image, float* tensor);

}  // namespace mahtrt
