#include "inflate.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <string>

#include "error.h"

namespace mahtrt {
namespace {

constexpr int kLongestCode = 15;
constexpr int kFastBits = 10;  // codes up to so many bits are found by one look
constexpr std::size_t kMostSymbols = 288, kMostLengths = 286, kMostDistances = 30;

[[noreturn]] void refuse(const std::string& got) {
    throw Error(MAHTRT_BAD_IMAGE, sentence("packed data", got, "zlib data that are whole"));
}

// Bits from the lowest of each byte on. Behind the end there are zeros, at most 8 bytes of them.
class Bits {
  public:
    Bits(const unsigned char* data, std::size_t bytes) : at_(data), end_(data + bytes) {}

    // At least 48 bits are there afterwards.
    void fill() {
        while (count_ <= 56) {
            if (at_ != end_)
                held_ |= std::uint64_t{*at_++} << count_;
            else if (++missing_ > 8)
                refuse("an end before the last block's");
            count_ += 8;
        }
    }

    std::uint32_t peek() const noexcept { return static_cast<std::uint32_t>(held_); }

    void drop(int bits) noexcept {
        held_ >>= bits;
        count_ -= bits;
    }

    // Up to 16 bits of those that are there.
    std::uint32_t take(int bits) noexcept {
        const std::uint32_t value = peek() & ((std::uint32_t{1} << bits) - 1);
        drop(bits);
        return value;
    }

    // The bytes from the next whole one on.
    const unsigned char* take_bytes(std::size_t bytes) {
        drop(count_ % 8);
        const auto held = static_cast<std::size_t>(count_ / 8);  // those behind the end come last
        if (missing_ > held) refuse("an end before the last block's");
        at_ -= held - missing_;
        held_ = 0, count_ = 0, missing_ = 0;
        if (static_cast<std::size_t>(end_ - at_) < bytes) refuse("an end before the last block's");
        at_ += bytes;
        return at_ - bytes;
    }

  private:
    const unsigned char *at_, *end_;
    std::uint64_t held_ = 0;
    int count_ = 0;
    std::size_t missing_ = 0;
};

// A canonical code (RFC 1951, 3.2.2): short codes by a table, the others by counting.
class Code {
  public:
    // lengths: bits of each symbol's code, 0 for a symbol that has none.
    // single: whether one code alone may leave others unused.
    void make(const std::uint8_t* lengths, std::size_t symbols, bool single) {
        counts_.fill(0);
        for (std::size_t i = 0; i < symbols; ++i) ++counts_[lengths[i]];
        counts_[0] = 0;
        check_counts(single);
        std::array<std::uint16_t, kLongestCode + 2> starts{};
        for (std::size_t i = 1; i <= kLongestCode; ++i)
            starts[i + 1] = static_cast<std::uint16_t>(starts[i] + counts_[i]);
        for (std::size_t i = 0; i < symbols; ++i)
            if (lengths[i] != 0) symbols_[starts[lengths[i]]++] = static_cast<std::uint16_t>(i);
        make_fast();
    }

    std::uint32_t read(Bits& bits) const {
        const std::uint16_t found = fast_[bits.peek() & (fast_.size() - 1)];
        if (found == 0) return read_long(bits);
        bits.drop(found & 15);
        return found >> 4;
    }

  private:
    void check_counts(bool single) const {
        int left = 1, longest = 0;
        for (int i = 1; i <= kLongestCode; ++i) {
            const int count = counts_[static_cast<std::size_t>(i)];
            left = 2 * left - count;
            if (left < 0) refuse("more codes than there can be");
            if (count > 0) longest = i;
        }
        if (left > 0 && longest > (single ? 1 : 0)) refuse("fewer codes than there have to be");
    }

    // Every end of the table that begins with a short code, its bits reversed.
    void make_fast() {
        fast_.fill(0);
        std::uint32_t code = 0, number = 0;
        for (int length = 1; length <= kFastBits; ++length, code <<= 1) {
            for (int i = 0; i < counts_[static_cast<std::size_t>(length)]; ++i, ++code, ++number) {
                std::uint32_t reversed = 0;
                for (int bit = 0; bit < length; ++bit)
                    reversed |= (code >> bit & 1) << (length - 1 - bit);
                const auto entry = static_cast<std::uint16_t>(symbols_[number] << 4 | length);
                for (std::size_t at = reversed; at < fast_.size(); at += std::size_t{1} << length)
                    fast_[at] = entry;
            }
        }
    }

    std::uint32_t read_long(Bits& bits) const {
        std::uint32_t code = 0, first = 0, number = 0;
        const std::uint32_t held = bits.peek();
        for (int length = 1; length <= kLongestCode; ++length) {
            const std::uint32_t count = counts_[static_cast<std::size_t>(length)];
            code |= held >> (length - 1) & 1;
            if (code < first + count) {
                bits.drop(length);
                return symbols_[number + code - first];
            }
            number += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        refuse("a code that stands for nothing");
    }

    std::array<std::uint16_t, kLongestCode + 1> counts_{};
    std::array<std::uint16_t, kMostSymbols> symbols_{};
    std::array<std::uint16_t, std::size_t{1} << kFastBits> fast_{};
};

// RFC 1951, 3.2.5: least length or distance of a symbol, and how many bits are added to it.
struct Range {
    std::uint16_t least, bits;
};
constexpr Range kLengths[29] = {
    {3, 0},  {4, 0},  {5, 0},  {6, 0},   {7, 0},   {8, 0},   {9, 0},   {10, 0},  {11, 1}, {13, 1},
    {15, 1}, {17, 1}, {19, 2}, {23, 2},  {27, 2},  {31, 2},  {35, 3},  {43, 3},  {51, 3}, {59, 3},
    {67, 4}, {83, 4}, {99, 4}, {115, 4}, {131, 5}, {163, 5}, {195, 5}, {227, 5}, {258, 0}};
constexpr Range kDistances[30] = {{1, 0},     {2, 0},     {3, 0},      {4, 0},      {5, 1},
                                  {7, 1},     {9, 2},     {13, 2},     {17, 3},     {25, 3},
                                  {33, 4},    {49, 4},    {65, 5},     {97, 5},     {129, 6},
                                  {193, 6},   {257, 7},   {385, 7},    {513, 8},    {769, 8},
                                  {1025, 9},  {1537, 9},  {2049, 10},  {3073, 10},  {4097, 11},
                                  {6145, 11}, {8193, 12}, {12289, 12}, {16385, 13}, {24577, 13}};

class Inflater {
  public:
    Inflater(const unsigned char* data, std::size_t bytes, unsigned char* out, std::size_t size)
        : bits_(data, bytes), out_(out), size_(size) {}

    void run() {
        read_header();
        for (bool last = false; !last;) {
            bits_.fill();
            last = bits_.take(1) != 0;
            switch (bits_.take(2)) {
                case 0:
                    copy_stored();
                    break;
                case 1:
                    make_fixed(), read_block();
                    break;
                case 2:
                    read_codes(), read_block();
                    break;
                default:
                    refuse("a block of an unknown kind");
            }
        }
        if (done_ != size_)
            refuse(std::to_string(done_) + " of " + std::to_string(size_) + " bytes");
        check_sum();
    }

  private:
    void read_header() {
        bits_.fill();
        const std::uint32_t method = bits_.take(8), flags = bits_.take(8);
        if ((method & 15) != 8 || method >> 4 > 7 || (method << 8 | flags) % 31 != 0)
            refuse("no zlib header");
        if ((flags & 0x20) != 0) refuse("data that need a dictionary");
    }

    void check_room(std::size_t bytes) const {
        if (bytes > size_ - done_) refuse("more than " + std::to_string(size_) + " bytes");
    }

    void copy_stored() {
        const unsigned char* sizes = bits_.take_bytes(4);
        const std::uint32_t size = sizes[0] | std::uint32_t{sizes[1]} << 8;
        const std::uint32_t inverse = sizes[2] | std::uint32_t{sizes[3]} << 8;
        if ((size ^ inverse) != 0xffff) refuse("a size that is not its complement's");
        check_room(size);
        const unsigned char* from = bits_.take_bytes(size);
        if (size > 0) std::memcpy(out_ + done_, from, size);
        done_ += size;
    }

    void make_fixed() {
        std::array<std::uint8_t, kMostSymbols> lengths;
        for (std::size_t i = 0; i < lengths.size(); ++i)
            lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
        literals_.make(lengths.data(), lengths.size(), false);
        lengths.fill(5);
        distances_.make(lengths.data(), 32, false);
    }

    void read_codes() {
        static constexpr std::uint8_t kOrder[19] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                                    11, 4,  12, 3, 13, 2, 14, 1, 15};
        const std::size_t literals = bits_.take(5) + 257, distances = bits_.take(5) + 1;
        const std::size_t used = bits_.take(4) + 4;
        if (literals > kMostLengths || distances > kMostDistances) refuse("too many codes");
        std::array<std::uint8_t, kMostLengths + kMostDistances> lengths{};
        for (std::size_t i = 0; i < used; ++i) {
            bits_.fill();
            lengths[kOrder[i]] = static_cast<std::uint8_t>(bits_.take(3));
        }
        Code& code = distances_;  // until the distances have their own
        code.make(lengths.data(), 19, false);
        lengths.fill(0);
        read_lengths(code, lengths.data(), literals + distances);
        if (lengths[256] == 0) refuse("no code for the end of a block");
        literals_.make(lengths.data(), literals, true);
        distances_.make(lengths.data() + literals, distances, true);
    }

    void read_lengths(const Code& code, std::uint8_t* lengths, std::size_t count) {
        for (std::size_t at = 0; at < count;) {
            bits_.fill();
            const std::uint32_t symbol = code.read(bits_);
            if (symbol < 16) {
                lengths[at++] = static_cast<std::uint8_t>(symbol);
                continue;
            }
            if (symbol == 16 && at == 0) refuse("a repetition of nothing");
            const std::uint8_t value = symbol == 16 ? lengths[at - 1] : std::uint8_t{0};
            const std::size_t times = symbol == 16   ? 3 + bits_.take(2)
                                      : symbol == 17 ? 3 + bits_.take(3)
                                                     : 11 + bits_.take(7);
            if (times > count - at) refuse("too many codes");
            std::memset(lengths + at, value, times);
            at += times;
        }
    }

    void read_block() {
        while (true) {
            bits_.fill();  // the longest of all takes 15 + 5 + 15 + 13 bits
            const std::uint32_t symbol = literals_.read(bits_);
            if (symbol < 256) {
                check_room(1);
                out_[done_++] = static_cast<unsigned char>(symbol);
            } else if (symbol == 256) {
                return;
            } else {
                copy_earlier(symbol - 257);
            }
        }
    }

    void copy_earlier(std::uint32_t symbol) {
        if (symbol >= 29) refuse("a length that does not exist");
        const std::size_t length = kLengths[symbol].least + bits_.take(kLengths[symbol].bits);
        const std::uint32_t which = distances_.read(bits_);
        if (which >= 30) refuse("a distance that does not exist");
        const std::size_t distance = kDistances[which].least + bits_.take(kDistances[which].bits);
        if (distance > done_) refuse("a distance to before the beginning");
        check_room(length);
        unsigned char* to = out_ + done_;
        if (distance >= length) {
            std::memcpy(to, to - distance, length);
        } else if (distance == 1) {
            std::memset(to, *(to - 1), length);
        } else {
            for (std::size_t i = 0; i < length; ++i) to[i] = *(to + i - distance);
        }
        done_ += length;
    }

    // Adler-32 (RFC 1950). So many sums fit into 32 bits before a remainder has to be taken.
    void check_sum() {
        constexpr std::uint32_t kPrime = 65521;
        constexpr std::size_t kAtOnce = 5552;
        std::uint32_t low = 1, high = 0;
        for (std::size_t start = 0; start < size_; start += kAtOnce) {
            const std::size_t end = std::min(size_, start + kAtOnce);
            for (std::size_t i = start; i < end; ++i) low += out_[i], high += low;
            low %= kPrime, high %= kPrime;
        }
        const unsigned char* sum = bits_.take_bytes(4);
        const std::uint32_t wanted = std::uint32_t{sum[0]} << 24 | std::uint32_t{sum[1]} << 16 |
                                     std::uint32_t{sum[2]} << 8 | sum[3];
        if (!kFuzzed && wanted != (high << 16 | low))
            refuse("another checksum than what was unpacked has");
    }

    Bits bits_;
    unsigned char* out_;
    std::size_t size_, done_ = 0;
    Code literals_, distances_;
};

}  // namespace

void inflate_zlib(const unsigned char* data, std::size_t bytes, unsigned char* out,
                  std::size_t size) {
    Inflater(data, bytes, out, size).run();
}

}  // namespace mahtrt
