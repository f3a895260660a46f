// UTF-8, and which characters of a text cannot be seen.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace mahtrt {

struct Utf8Character {
    std::uint32_t code = 0;
    std::size_t bytes = 0;  // 0: no UTF-8
};

// The first character of [at, end), which is not empty. Too long forms, halves of UTF-16 and codes
// beyond 0x10ffff are no UTF-8.
Utf8Character read_utf8(const char* at, const char* end) noexcept;

// Appends a code below 0x110000 that is no half of UTF-16.
void append_utf8(std::string& text, std::uint32_t code);

// Control characters, line and paragraph separators, marks that turn the direction of reading,
// characters without width other than joiners, tags.
bool is_hidden(std::uint32_t code) noexcept;

}  // namespace mahtrt
