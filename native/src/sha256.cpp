#include "sha256.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__) && defined(__GNUC__)
#define MAHTRT_SHA_NI 1
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace mahtrt {
namespace {

constexpr std::size_t kBlock = 64;  // bytes
using State = std::array<std::uint32_t, 8>;

constexpr State kStart = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                          0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

// FIPS 180-4, 4.2.2: the cube roots of the first 64 primes.
alignas(16) constexpr std::uint32_t kRound[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

std::uint32_t rotated(std::uint32_t value, int bits) noexcept {
    return (value >> bits) | (value << (32 - bits));
}

void schedule(const unsigned char* block, std::uint32_t (&words)[64]) noexcept {
    for (std::size_t i = 0; i < 16; ++i)
        words[i] = (std::uint32_t{block[4 * i]} << 24) | (std::uint32_t{block[4 * i + 1]} << 16) |
                   (std::uint32_t{block[4 * i + 2]} << 8) | std::uint32_t{block[4 * i + 3]};
    for (std::size_t i = 16; i < 64; ++i) {
        const std::uint32_t a = words[i - 15], b = words[i - 2];
        const std::uint32_t low = rotated(a, 7) ^ rotated(a, 18) ^ (a >> 3);
        const std::uint32_t high = rotated(b, 17) ^ rotated(b, 19) ^ (b >> 10);
        words[i] = words[i - 16] + low + words[i - 7] + high;
    }
}

void compress_portable(State& state, const unsigned char* block, std::size_t blocks) noexcept {
    std::uint32_t words[64];
    for (; blocks > 0; --blocks, block += kBlock) {
        schedule(block, words);
        auto [a, b, c, d, e, f, g, h] = state;
        for (std::size_t i = 0; i < 64; ++i) {
            const std::uint32_t sum1 = rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25);
            const std::uint32_t one = h + sum1 + ((e & f) ^ (~e & g)) + kRound[i] + words[i];
            const std::uint32_t sum0 = rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22);
            const std::uint32_t two = sum0 + ((a & b) ^ (a & c) ^ (b & c));
            h = g, g = f, f = e, e = d + one, d = c, c = b, b = a, a = one + two;
        }
        const State add = {a, b, c, d, e, f, g, h};
        for (std::size_t i = 0; i < state.size(); ++i) state[i] += add[i];
    }
}

#ifdef MAHTRT_SHA_NI
// The instructions keep the state as (A, B, E, F) and (C, D, G, H), highest word first, and take
// two rounds each (Intel 64 manual, SHA256RNDS2).
struct Halves {
    __m128i abef, cdgh;
};

__attribute__((target("sha,sse4.1"))) Halves packed(const State& state) noexcept {
    const __m128i dcba = _mm_loadu_si128(reinterpret_cast<const __m128i*>(state.data()));
    const __m128i hgfe = _mm_loadu_si128(reinterpret_cast<const __m128i*>(state.data() + 4));
    const __m128i cdab = _mm_shuffle_epi32(dcba, 0xb1), efgh = _mm_shuffle_epi32(hgfe, 0x1b);
    return {_mm_alignr_epi8(cdab, efgh, 8), _mm_blend_epi16(efgh, cdab, 0xf0)};
}

__attribute__((target("sha,sse4.1"))) void unpack(const Halves& from, State& state) noexcept {
    const __m128i feba = _mm_shuffle_epi32(from.abef, 0x1b);
    const __m128i dchg = _mm_shuffle_epi32(from.cdgh, 0xb1);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(state.data()), _mm_blend_epi16(feba, dchg, 0xf0));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(state.data() + 4), _mm_alignr_epi8(dchg, feba, 8));
}

__attribute__((target("sha,sse4.1"))) void compress_sha_ni(State& state, const unsigned char* block,
                                                           std::size_t blocks) noexcept {
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    Halves now = packed(state);
    for (; blocks > 0; --blocks, block += kBlock) {
        const Halves before = now;
        __m128i words[4];  // the last 16 words of the schedule
        for (std::size_t i = 0; i < 16; ++i) {
            __m128i& word = words[i % 4];
            if (i < 4) {
                const auto* from = reinterpret_cast<const __m128i*>(block + 16 * i);
                word = _mm_shuffle_epi8(_mm_loadu_si128(from), swap);
            } else {
                const __m128i last = words[(i + 3) % 4];
                const __m128i seventh = _mm_alignr_epi8(last, words[(i + 2) % 4], 4);
                word = _mm_add_epi32(_mm_sha256msg1_epu32(word, words[(i + 1) % 4]), seventh);
                word = _mm_sha256msg2_epu32(word, last);
            }
            const auto* constants = reinterpret_cast<const __m128i*>(kRound + 4 * i);
            const __m128i sum = _mm_add_epi32(word, _mm_load_si128(constants));
            now.cdgh = _mm_sha256rnds2_epu32(now.cdgh, now.abef, sum);
            now.abef = _mm_sha256rnds2_epu32(now.abef, now.cdgh, _mm_shuffle_epi32(sum, 0x0e));
        }
        now.abef = _mm_add_epi32(now.abef, before.abef);
        now.cdgh = _mm_add_epi32(now.cdgh, before.cdgh);
    }
    unpack(now, state);
}

bool cpu_has_sha() noexcept {
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSSE3) || !(c & bit_SSE4_1)) return false;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & (1u << 29)) != 0;
}
#endif

}  // namespace

bool sha256_is_accelerated() noexcept {
#ifdef MAHTRT_SHA_NI
    static const bool has = cpu_has_sha();
    return has;
#else
    return false;
#endif
}

Sha256::Sha256(bool portable) noexcept : compress_(compress_portable), state_(kStart) {
#ifdef MAHTRT_SHA_NI
    if (!portable && sha256_is_accelerated()) compress_ = compress_sha_ni;
#else
    static_cast<void>(portable);
#endif
}

void Sha256::add(const void* data, std::size_t bytes) noexcept {
    if (bytes == 0) return;
    const auto* from = static_cast<const unsigned char*>(data);
    const std::size_t held = bytes_ % kBlock;
    bytes_ += bytes;
    if (held > 0) {
        const std::size_t taken = std::min(bytes, kBlock - held);
        std::memcpy(held_.data() + held, from, taken);
        if (held + taken < kBlock) return;
        compress_(state_, held_.data(), 1);
        from += taken;
        bytes -= taken;
    }
    if (bytes >= kBlock) compress_(state_, from, bytes / kBlock);
    if (bytes % kBlock > 0)
        std::memcpy(held_.data(), from + bytes / kBlock * kBlock, bytes % kBlock);
}

std::string Sha256::hex() {
    const std::uint64_t bits = bytes_ * 8;
    // A bit 1, zeros, and the number of bits in the last 8 bytes of a block.
    unsigned char last[kBlock + 8] = {0x80};
    const std::size_t zeros = (2 * kBlock - 9 - bytes_ % kBlock) % kBlock;
    for (std::size_t i = 0; i < 8; ++i)
        last[zeros + 8 - i] = static_cast<unsigned char>(bits >> (8 * i));
    add(last, zeros + 9);
    std::string text;
    for (const std::uint32_t word : state_)
        for (int shift = 28; shift >= 0; shift -= 4)
            text += "0123456789abcdef"[(word >> shift) & 15];
    return text;
}

std::string sha256_hex(const void* data, std::size_t bytes) {
    Sha256 digest;
    digest.add(data, bytes);
    return digest.hex();
}

std::string sha256_hex_portable(const void* data, std::size_t bytes) {
    Sha256 digest(true);
    digest.add(data, bytes);
    return digest.hex();
}

}  // namespace mahtrt
