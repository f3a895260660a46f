// SHA-256 against the vectors of NIST (FIPS 180-4 examples), and its two ways against each other.
#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "check.h"
#include "sha256.h"

using mahtrt::sha256_hex;
using mahtrt::sha256_hex_portable;

namespace {

void check_both(const std::string& text, const std::string& wanted) {
    CHECK_EQUAL(sha256_hex(text.data(), text.size()), wanted);
    CHECK_EQUAL(sha256_hex_portable(text.data(), text.size()), wanted);
}

void check_vectors() {
    check_both("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    check_both("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    check_both("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
               "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    check_both(
        "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklm"
        "nopqrlmnopqrsmnopqrstnopqrstu",
        "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
    check_both(std::string(1000000, 'a'),
               "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

// Every length around the ends of a block, at every alignment.
void check_lengths() {
    std::vector<unsigned char> bytes(400);
    unsigned state = 1;
    for (unsigned char& each : bytes) {
        state = state * 1664525u + 1013904223u;
        each = static_cast<unsigned char>(state >> 24);
    }
    for (std::size_t start = 0; start < 16; ++start)
        for (std::size_t size = 0; size <= 300; ++size)
            CHECK_EQUAL(sha256_hex(bytes.data() + start, size),
                        sha256_hex_portable(bytes.data() + start, size));
}

// The same bytes in parts of every two sizes.
void check_parts() {
    std::string text;
    for (int i = 0; i < 1000; ++i) text += std::to_string(i * i);
    const std::string whole = sha256_hex(text.data(), text.size());
    for (std::size_t first = 0; first < 200; ++first)
        for (std::size_t part : {std::size_t{1}, std::size_t{63}, std::size_t{64}, first + 1}) {
            mahtrt::Sha256 digest;
            digest.add(text.data(), first);
            for (std::size_t at = first; at < text.size(); at += part)
                digest.add(text.data() + at, std::min(part, text.size() - at));
            CHECK_EQUAL(digest.hex(), whole);
        }
}

double megabytes_per_second(std::string (*hash)(const void*, std::size_t)) {
    const std::vector<unsigned char> bytes(16 << 20, 7);
    const auto start = std::chrono::steady_clock::now();
    CHECK_EQUAL(hash(bytes.data(), bytes.size()).size(), std::size_t{64});
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    return static_cast<double>(bytes.size()) / 1e6 / seconds.count();
}

}  // namespace

int main() {
    check_vectors();
    check_lengths();
    check_parts();
    std::printf("SHA-256: %.0f MB/s (%s), %.0f MB/s portable\n", megabytes_per_second(sha256_hex),
                mahtrt::sha256_is_accelerated() ? "instructions of the CPU" : "portable",
                megabytes_per_second(sha256_hex_portable));
    return 0;
}
