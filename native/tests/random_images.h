// Images of random samples for tests: the generator of docs/preprocessing.md, "Test vectors".
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "mahtrt.h"

namespace mahtrt_tests {

class Generator {
  public:
    explicit Generator(std::uint32_t seed) : state_(seed) {}

    std::uint32_t next() { return state_ = 1664525u * state_ + 1013904223u; }
    // From `least` to `most`.
    std::int32_t between(std::int32_t least, std::int32_t most) {
        return least + static_cast<std::int32_t>((next() >> 8) %
                                                 static_cast<std::uint32_t>(most - least + 1));
    }

  private:
    std::uint32_t state_;
};

inline std::size_t samples_of(std::int32_t format) {
    return format <= MAHTRT_GRAY16 ? 1 : format >= MAHTRT_RGBX8 ? 4 : 3;
}
inline bool is_wide(std::int32_t format) {
    return format == MAHTRT_GRAY16 || format == MAHTRT_RGB16 || format == MAHTRT_BGR16;
}

// An image in memory of its own. `shift`: bytes before the first row, `gap`: between rows.
struct RandomImage {
    std::vector<unsigned char> bytes;
    mahtrt_image image{};

    RandomImage(Generator& random, std::int32_t width, std::int32_t height, std::int32_t format,
                std::size_t shift = 0, std::size_t gap = 0) {
        const std::size_t packed =
            static_cast<std::size_t>(width) * samples_of(format) * (is_wide(format) ? 2 : 1);
        // Not a byte more than is needed: sanitizers see what is read beyond.
        bytes.resize(shift + packed * static_cast<std::size_t>(height) +
                     gap * (static_cast<std::size_t>(height) - 1));
        const bool saturated = random.between(0, 2) == 0;
        for (unsigned char& each : bytes) {
            const std::uint32_t number = random.next();
            each = static_cast<unsigned char>(saturated ? 0 - (number >> 31) : number >> 24);
        }
        image.size = sizeof image;
        image.data = bytes.data() + shift;
        image.row_bytes = gap == 0 ? 0 : packed + gap;
        image.width = width;
        image.height = height;
        image.format = format;
    }
};

inline mahtrt_input input_of(std::int32_t width, std::int32_t height, std::int32_t channels,
                             std::int32_t resize, std::int32_t interpolation) {
    mahtrt_input input{};
    input.size = sizeof input;
    input.height = height;
    input.width = width;
    input.channels = channels;
    input.resize = resize;
    input.interpolation = interpolation;
    for (int channel = 0; channel < 3; ++channel) {
        input.mean[channel] = 0.1 + 0.2 * channel;
        input.std[channel] = 0.3 - 0.05 * channel;
    }
    input.pad_value = 0.35;
    return input;
}

}  // namespace mahtrt_tests
