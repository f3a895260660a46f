// PNG files, and the packed data in them alone.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "error.h"
#include "inflate.h"
#include "png.h"

namespace {

constexpr std::size_t kMostBytes = std::size_t{1} << 22;  // of an image that is unpacked here

template <class Call>
void guarded(Call call) {
    try {
        call();
    } catch (const mahtrt::Error& error) {
        if (error.status() != MAHTRT_BAD_IMAGE || *error.what() == 0) std::abort();
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    guarded([&] {
        const mahtrt::PngHeader header = mahtrt::read_png_header(data, size);
        if (header.bytes() > kMostBytes) return;
        std::vector<unsigned char> pixels(header.bytes());
        mahtrt::read_png(data, size, header, pixels.data());
    });
    if (size < 2) return 0;
    guarded([&] {
        std::vector<unsigned char> out(std::size_t{data[0]} * 16 + data[1] % 16);
        mahtrt::inflate_zlib(data + 2, size - 2, out.data(), out.size());
    });
    return 0;
}
