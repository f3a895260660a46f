// PNG files of gray and RGB images without palette and interlacing: those of golden vectors.
#pragma once

#include <cstddef>

namespace mahtrt {

struct PngHeader {
    int width = 0, height = 0;
    bool rgb = false, wide = false;  // three samples per pixel; 16 bits per sample

    std::size_t row_bytes() const noexcept {
        return static_cast<std::size_t>(width) * (rgb ? 3 : 1) * (wide ? 2 : 1);
    }
    std::size_t bytes() const noexcept { return row_bytes() * static_cast<std::size_t>(height); }
};

// Throws Error MAHTRT_BAD_IMAGE: no PNG, one of another kind, or larger than images may be.
PngHeader read_png_header(const unsigned char* png, std::size_t bytes);

// Fills header.bytes() bytes of packed rows, samples of 16 bits in the machine's byte order.
void read_png(const unsigned char* png, std::size_t bytes, const PngHeader& header,
              unsigned char* pixels);

}  // namespace mahtrt
