#include "utf8.h"

namespace mahtrt {
namespace {

struct Range {
    std::uint32_t first, last;
};
constexpr Range kHidden[] = {
    {0x00, 0x1f},     {0x7f, 0x9f},     {0xad, 0xad},      {0x61c, 0x61c},   {0x180e, 0x180e},
    {0x200b, 0x200b}, {0x200e, 0x200f}, {0x2028, 0x202e},  {0x2060, 0x206f}, {0xfeff, 0xfeff},
    {0xfff9, 0xfffb}, {0xd800, 0xdfff}, {0xe0000, 0xe007f}};

char byte_of(std::uint32_t value) noexcept {
    return static_cast<char>(static_cast<unsigned char>(value));
}

}  // namespace

Utf8Character read_utf8(const char* at, const char* end) noexcept {
    const auto first = static_cast<unsigned char>(*at);
    if (first < 0x80) return {first, 1};
    const std::size_t bytes = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || static_cast<std::size_t>(end - at) < bytes) return {};
    std::uint32_t code = first & (0x7fu >> bytes);
    for (std::size_t i = 1; i < bytes; ++i) {
        const auto byte = static_cast<unsigned char>(at[i]);
        if ((byte & 0xc0) != 0x80) return {};
        code = (code << 6) | (byte & 0x3fu);
    }
    const std::uint32_t least = bytes == 4 ? 0x10000 : bytes == 3 ? 0x800 : 0x80;
    const bool half = code >= 0xd800 && code <= 0xdfff;
    if (code < least || code > 0x10ffff || half) return {};
    return {code, bytes};
}

void append_utf8(std::string& text, std::uint32_t code) {
    if (code < 0x80) {
        text += byte_of(code);
        return;
    }
    const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    text += byte_of((0xff00u >> (more + 1)) | (code >> (6 * more)));
    for (int i = more - 1; i >= 0; --i) text += byte_of(0x80 | ((code >> (6 * i)) & 0x3f));
}

bool is_hidden(std::uint32_t code) noexcept {
    for (const Range& each : kHidden)
        if (code >= each.first && code <= each.last) return true;
    return false;
}

}  // namespace mahtrt
