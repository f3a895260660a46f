// SHA-256 (FIPS 180-4), with the SHA instructions of x86 where the CPU has them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace mahtrt {

// A digest of bytes that come in parts.
class Sha256 {
  public:
    // portable: without the CPU's own instructions, for tests.
    explicit Sha256(bool portable = false) noexcept;

    void add(const void* data, std::size_t bytes) noexcept;
    // 64 lower-case hexadecimal digits; nothing is added afterwards.
    std::string hex();

  private:
    static constexpr std::size_t kBlock = 64;  // bytes
    using State = std::array<std::uint32_t, 8>;

    void (*compress_)(State&, const unsigned char*, std::size_t);
    State state_;
    std::array<unsigned char, kBlock> held_{};  // of a block that is not whole
    std::uint64_t bytes_ = 0;
};

// 64 lower-case hexadecimal digits.
std::string sha256_hex(const void* data, std::size_t bytes);

// Whether this CPU's own instructions are used. `portable` in place of them is for tests.
bool sha256_is_accelerated() noexcept;
std::string sha256_hex_portable(const void* data, std::size_t bytes);

}  // namespace mahtrt
