// PNG files by three writers (native/fuzz/make_seeds.py), and what is refused before it is
// unpacked.
#include <dirent.h>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "check.h"
#include "error.h"
#include "inflate.h"
#include "png.h"

using namespace mahtrt;

namespace {

const std::string kSeeds = "../fuzz/seeds/png/";
using Bytes = std::vector<unsigned char>;

Bytes read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    CHECK(file.good());
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

PngHeader header_of(const Bytes& png) { return read_png_header(png.data(), png.size()); }

Bytes pixels_of(const Bytes& png) {
    const PngHeader header = header_of(png);
    Bytes pixels(header.bytes());
    read_png(png.data(), png.size(), header, pixels.data());
    return pixels;
}

// The picture of make_seeds.py.
int sample(int x, int y, int c, bool wide) {
    const int value = (x * x * 7 + y * 13 * x + c * 50 + ((x * 31) ^ (y * 17)) % 16);
    return wide ? value * 131 % 65536 : value % 256;
}

void check_picture(const std::string& name) {
    const Bytes png = read_file(kSeeds + name);
    const PngHeader header = header_of(png);
    CHECK_EQUAL(header.width, 31);
    CHECK_EQUAL(header.height, 24);
    CHECK_EQUAL(header.rgb, name.find("rgb") == 0);
    CHECK_EQUAL(header.wide, name.find("16") != std::string::npos);
    const Bytes pixels = pixels_of(png);
    std::size_t at = 0;
    for (int y = 0; y < header.height; ++y)
        for (int x = 0; x < header.width; ++x)
            for (int c = 0; c < (header.rgb ? 3 : 1); ++c, at += header.wide ? 2 : 1) {
                std::uint16_t found = pixels[at];
                if (header.wide) std::memcpy(&found, &pixels[at], 2);
                CHECK_EQUAL(int{found}, sample(x, y, c, header.wide));
            }
}

void check_seeds() {
    std::size_t count = 0;
    DIR* folder = opendir(kSeeds.c_str());
    CHECK(folder != nullptr);
    while (const dirent* entry = readdir(folder)) {
        const std::string name = entry->d_name;
        if (name.find(".png") == std::string::npos) continue;
        check_picture(name);
        ++count;
    }
    closedir(folder);
    CHECK(count >= 30);
}

// Checksums of the first chunk made right again after a change in it.
Bytes with_header_byte(std::size_t at, int value) {
    Bytes png = read_file(kSeeds + "gray8-filter0.png");
    png[16 + at] = static_cast<unsigned char>(value);
    std::uint32_t crc = 0xffffffff;
    for (std::size_t i = 12; i < 29; ++i) {
        crc ^= png[i];
        for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    for (std::size_t i = 0; i < 4; ++i)
        png[29 + i] = static_cast<unsigned char>(~crc >> (24 - 8 * i));
    return png;
}

void check_headers() {
    const auto refused = [](std::size_t at, int value, const char* part) {
        CHECK_REFUSED(pixels_of(with_header_byte(at, value)), MAHTRT_BAD_IMAGE, part);
    };
    CHECK_EQUAL(pixels_of(with_header_byte(8, 8)).size(), std::size_t{31 * 24});
    refused(8, 4, "4 bits");
    for (const int colours : {1, 3, 4, 6, 7}) refused(9, colours, "colour type");
    refused(10, 1, "interlacing");
    refused(12, 1, "interlacing");
    refused(3, 0, "0x24 pixels");
    refused(0, 1, "32767 on a side");
    refused(6, 127, "enough for the image");  // 32536 rows, of which the file has 24
    refused(3, 30, "more than");
    refused(3, 32, "792");  // bytes; so many would not do
    const Bytes png = read_file(kSeeds + "gray8-filter0.png");
    CHECK_REFUSED(header_of({}), MAHTRT_BAD_IMAGE, "another kind of file");
    CHECK_REFUSED(header_of(Bytes(png.begin(), png.begin() + 20)), MAHTRT_BAD_IMAGE, "its end");
}

void check_damage() {
    const Bytes whole = read_file(kSeeds + "rgb8-mixed.png");
    for (std::size_t size = 0; size < whole.size(); size += 7)
        CHECK_REFUSED(pixels_of(Bytes(whole.begin(), whole.begin() + std::ptrdiff_t(size))),
                      MAHTRT_BAD_IMAGE, "PNG");
    for (std::size_t at = 0; at < whole.size(); at += 11) {
        Bytes png = whole;
        png[at] ^= 0x10;
        CHECK_REFUSED(pixels_of(png), MAHTRT_BAD_IMAGE, "got");
    }
    Bytes longer = whole;
    longer.push_back('x');  // behind the end
    CHECK(pixels_of(longer) == pixels_of(whole));
    Bytes critical = whole;
    std::memcpy(&critical[37], "TEXT", 4);
    CHECK_REFUSED(pixels_of(critical), MAHTRT_BAD_IMAGE, "damaged chunk");
}

void check_inflate(const Bytes& data, std::size_t size, const std::string& problem) {
    Bytes out(size + 16, 0xaa);
    if (problem.empty())
        inflate_zlib(data.data(), data.size(), out.data(), size);
    else
        CHECK_REFUSED(inflate_zlib(data.data(), data.size(), out.data(), size), MAHTRT_BAD_IMAGE,
                      problem);
    for (std::size_t i = size; i < out.size(); ++i) CHECK_EQUAL(int{out[i]}, 0xaa);
}

// Streams written by hand: what no packer makes.
void check_streams() {
    check_inflate({0x78, 0x01, 0x01, 3, 0, 0xfc, 0xff, 'a', 'b', 'c', 0x02, 0x4d, 0x01, 0x27}, 3,
                  "");
    check_inflate({0x78, 0x01, 0x01, 3, 0, 0xfc, 0xff, 'a', 'b', 'c', 0x02, 0x4d, 0x01, 0x28}, 3,
                  "checksum");
    check_inflate({0x78, 0x01, 0x01, 3, 0, 0xfc, 0xff, 'a', 'b', 'c'}, 3, "an end before");
    check_inflate({0x78, 0x01, 0x01, 3, 0, 0xfc, 0xff, 'a', 'b', 'c'}, 2, "more than 2 bytes");
    check_inflate({0x78, 0x01, 0x01, 3, 0, 0xfd, 0xff, 'a', 'b', 'c'}, 3, "complement");
    check_inflate({0x78, 0x01, 0x03, 0, 0, 0, 0, 1}, 0, "");
    check_inflate({0x78, 0x01, 0x03, 0, 0, 0, 0, 1}, 1, "0 of 1 bytes");
    check_inflate({0x78, 0x01, 0x03, 0}, 0, "an end before");
    check_inflate({0x78, 0x01, 0x07, 0}, 0, "unknown kind");
    check_inflate({0x78, 0x02}, 0, "no zlib header");
    check_inflate({0x79, 0x00}, 0, "no zlib header");
    check_inflate({0x78, 0x20, 0, 0, 0, 0}, 0, "a dictionary");
    check_inflate({}, 0, "no zlib header");
    check_inflate({0x78, 0x01, 0x03, 0x02, 0, 0, 0, 0}, 100, "before the beginning");
    check_inflate({0x78, 0x01, 0xfd, 0xff, 0xff, 0xff}, 0, "too many codes");
}

}  // namespace

int main() {
    check_seeds();
    check_headers();
    check_damage();
    check_streams();
    return 0;
}
