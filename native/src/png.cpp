// PNG files (ISO/IEC 15948) of colour types 0 and 2 with 8 or 16 bits per sample.
#include "png.h"

#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "bundle.h"
#include "error.h"
#include "inflate.h"

namespace mahtrt {
namespace {

// The limits of golden images (docs/bundle-format.md), which are those of all images.
constexpr std::uint64_t kMostPixels = std::uint64_t{1} << 26;
constexpr std::uint32_t kMostSide = 32767;
constexpr std::size_t kMostChunks = std::size_t{1} << 18;
constexpr std::size_t kMostShrunk = 1032;  // bytes that deflate packs into one
constexpr std::string_view kStart("\x89PNG\r\n\x1a\n", 8);

[[noreturn]] void refuse(const std::string& got, const std::string& expected) {
    throw Error(MAHTRT_BAD_IMAGE, sentence("PNG", got, expected));
}

std::uint32_t number_at(const unsigned char* at) noexcept {
    return std::uint32_t{at[0]} << 24 | std::uint32_t{at[1]} << 16 | std::uint32_t{at[2]} << 8 |
           at[3];
}

// ---- Chunks

// Table k holds the remainders of a byte with k zero bytes behind it, to take four at a time.
using Crc = std::array<std::array<std::uint32_t, 256>, 4>;

Crc crc_tables() noexcept {
    Crc crc{};
    for (std::uint32_t i = 0; i < 256; ++i) {
        std::uint32_t value = i;
        for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ (value & 1 ? 0xedb88320u : 0);
        crc[0][i] = value;
    }
    for (std::size_t k = 1; k < crc.size(); ++k)
        for (std::size_t i = 0; i < 256; ++i)
            crc[k][i] = crc[k - 1][i] >> 8 ^ crc[0][crc[k - 1][i] & 255];
    return crc;
}

std::uint32_t crc32(const unsigned char* data, std::size_t bytes) noexcept {
    static const Crc crc = crc_tables();
    std::uint32_t value = 0xffffffff;
    for (; bytes >= 4; bytes -= 4, data += 4)
        value = crc[3][(value ^ data[0]) & 255] ^ crc[2][(value >> 8 ^ data[1]) & 255] ^
                crc[1][(value >> 16 ^ data[2]) & 255] ^ crc[0][(value >> 24 ^ data[3]) & 255];
    for (; bytes > 0; --bytes, ++data) value = value >> 8 ^ crc[0][(value ^ *data) & 255];
    return ~value;
}

struct Chunk {
    std::string_view name;
    const unsigned char* data = nullptr;
    std::size_t size = 0;
};

class Chunks {
  public:
    Chunks(const unsigned char* png, std::size_t bytes) : at_(png), left_(bytes) {
        if (bytes < kStart.size() || std::memcmp(png, kStart.data(), kStart.size()) != 0)
            refuse("another kind of file", "a PNG image");
        skip(kStart.size());
    }

    Chunk next() {
        if (++number_ > kMostChunks)
            refuse("over " + std::to_string(kMostChunks) + " chunks", "an image");
        if (left_ < 12) refuse("a file without its end", "an image that is whole");
        const std::size_t size = number_at(at_);
        if (size > left_ - 12) refuse("a file without its end", "an image that is whole");
        const Chunk chunk{{reinterpret_cast<const char*>(at_ + 4), 4}, at_ + 8, size};
        if (!kFuzzed && crc32(at_ + 4, size + 4) != number_at(at_ + 8 + size))
            refuse("a damaged chunk", "the checksum that it has");
        skip(size + 12);
        return chunk;
    }

  private:
    void skip(std::size_t bytes) noexcept {
        at_ += bytes;
        left_ -= bytes;
    }

    const unsigned char* at_;
    std::size_t left_, number_ = 0;
};

PngHeader header_from(const Chunk& chunk) {
    if (chunk.name != "IHDR" || chunk.size != 13) refuse("no header", "a PNG image");
    const std::uint32_t width = number_at(chunk.data), height = number_at(chunk.data + 4);
    const int bits = chunk.data[8], colours = chunk.data[9];
    if (width == 0 || height == 0 || width > kMostSide || height > kMostSide ||
        std::uint64_t{width} * height > kMostPixels)
        refuse(std::to_string(width) + "x" + std::to_string(height) + " pixels",
               "1 to " + std::to_string(kMostSide) + " on a side, and at most " +
                   std::to_string(kMostPixels));
    if ((bits != 8 && bits != 16) || (colours != 0 && colours != 2))
        refuse("colour type " + std::to_string(colours) + " with " + std::to_string(bits) + " bits",
               "gray or RGB (0 or 2) with 8 or 16 bits");
    if (chunk.data[10] != 0 || chunk.data[11] != 0 || chunk.data[12] != 0)
        refuse("interlacing, or an unknown way of packing", "neither");
    return {static_cast<int>(width), static_cast<int>(height), colours == 2, bits == 16};
}

// The parts of the packed image, in their order, up to the image's end.
std::vector<Chunk> packed_parts(Chunks& chunks) {
    std::vector<Chunk> parts;
    for (Chunk chunk = chunks.next(); chunk.name != "IEND"; chunk = chunks.next()) {
        const bool needed = (chunk.name[0] & 0x20) == 0 && chunk.name != "PLTE";
        if (chunk.name == "IDAT")
            parts.push_back(chunk);
        else if (needed)
            refuse("a needed chunk of an unknown kind", "IDAT");
    }
    return parts;
}

Content joined(const std::vector<Chunk>& parts) {
    std::size_t size = 0;
    for (const Chunk& part : parts) size += part.size;
    Content whole = Content::with_room(size);
    unsigned char* to = whole.room();
    for (const Chunk& part : parts)
        if (part.size > 0) std::memcpy(to, part.data, part.size), to += part.size;
    return whole;
}

// ---- Filters (ISO/IEC 15948, 9): a row was replaced by its difference from a prediction

unsigned char paeth(int left, int up, int corner) noexcept {
    const int guess = left + up - corner;
    const int a = std::abs(guess - left), b = std::abs(guess - up), c = std::abs(guess - corner);
    return static_cast<unsigned char>(a <= b && a <= c ? left : b <= c ? up : corner);
}

// row and above: `step` zero bytes lie before each, which stand for the pixel left of the first.
void add_prediction(int filter, unsigned char* row, const unsigned char* above, std::size_t bytes,
                    std::size_t step) {
    const unsigned char *left = row - step, *corner = above - step;
    const auto sum = [](int a, int b) { return static_cast<unsigned char>(a + b); };
    switch (filter) {
        case 0:
            return;
        case 1:
            for (std::size_t i = 0; i < bytes; ++i) row[i] = sum(row[i], left[i]);
            return;
        case 2:
            for (std::size_t i = 0; i < bytes; ++i) row[i] = sum(row[i], above[i]);
            return;
        case 3:
            for (std::size_t i = 0; i < bytes; ++i) row[i] = sum(row[i], (left[i] + above[i]) / 2);
            return;
        case 4:
            for (std::size_t i = 0; i < bytes; ++i)
                row[i] = sum(row[i], paeth(left[i], above[i], corner[i]));
            return;
        default:
            refuse("filter " + std::to_string(filter), "0 to 4");
    }
}

// PNG has the high byte first.
void copy_samples(const unsigned char* from, unsigned char* to, std::size_t bytes, bool wide) {
    if (!wide) {
        std::memcpy(to, from, bytes);
        return;
    }
    for (std::size_t i = 0; i < bytes; i += 2) {
        const auto sample = static_cast<std::uint16_t>(from[i] << 8 | from[i + 1]);
        std::memcpy(to + i, &sample, 2);
    }
}

}  // namespace

PngHeader read_png_header(const unsigned char* png, std::size_t bytes) {
    return header_from(Chunks(png, bytes).next());
}

void read_png(const unsigned char* png, std::size_t bytes, const PngHeader& header,
              unsigned char* pixels) {
    Chunks chunks(png, bytes);
    const PngHeader found = header_from(chunks.next());
    if (found.width != header.width || found.height != header.height || found.rgb != header.rgb ||
        found.wide != header.wide)
        refuse("another image", "the one whose header was read");
    const Content packed = joined(packed_parts(chunks));
    const std::size_t row_bytes = header.row_bytes();
    const auto rows = static_cast<std::size_t>(header.height);
    const std::size_t size = rows * (row_bytes + 1);
    if (size / kMostShrunk > packed.size())
        refuse(std::to_string(packed.size()) + " bytes of samples", "enough for the image");
    Content filtered = Content::with_room(size);
    inflate_zlib(packed.data(), packed.size(), filtered.room(), size);
    const std::size_t step = row_bytes / static_cast<std::size_t>(header.width);
    std::vector<unsigned char> lines[2];
    for (auto& line : lines) line.resize(step + row_bytes);
    for (std::size_t i = 0; i < rows; ++i) {
        const unsigned char* from = filtered.data() + i * (row_bytes + 1);
        unsigned char *row = lines[i % 2].data() + step, *above = lines[1 - i % 2].data() + step;
        std::memcpy(row, from + 1, row_bytes);
        add_prediction(from[0], row, above, row_bytes, step);
        copy_samples(row, pixels + i * row_bytes, row_bytes, header.wide);
    }
}

}  // namespace mahtrt
