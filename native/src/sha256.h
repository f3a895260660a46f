// SHA-256 (FIPS 180-4), with the SHA instructions of x86 where the CPU has them.
#pragma once

#include <cstddef>
#include <string>

namespace mahtrt {

// 64 lower-case hexadecimal digits.
std::string sha256_hex(const void* data, std::size_t bytes);

// Whether this CPU's own instructions are used. `portable` in place of them is for tests.
bool sha256_is_accelerated() noexcept;
std::string sha256_hex_portable(const void* data, std::size_t bytes);

}  // namespace mahtrt
