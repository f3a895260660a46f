// The inner loops of preprocessing, compiled for several sets of vector instructions. Results are
// integers, or doubles and floats that are rounded one operation at a time: every set gives the
// same.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mahtrt {

// Rows of the image that are added with weights.
struct WeightedRows {
    static constexpr int kMost = 8;

    const unsigned char* rows[kMost] = {};
    std::int32_t weights[kMost] = {};
    int count = 0;
    bool inner_equal = false;  // all weights but the first and the last are the same
    bool accumulate = false;   // add to what is there
};

// Where new pixels begin along a row of column sums.
struct EdgeTable {
    const std::int32_t* places;     // sample of the row, per edge
    const std::int32_t* fractions;  // of it that lies before the edge, in units of 1 / length
    std::int32_t length;            // new pixels of the whole axis
    std::size_t step;               // samples from one pixel to the next
    std::size_t count;              // new pixels; there is one edge more
};

// First sample of each new pixel's taps along a row, and the weights: `count` of the first tap,
// then those of the second.
struct TapTable {
    const std::int32_t* places;
    const std::int32_t* weights;
    int taps;           // 1, 2 or 4
    std::size_t step;   // samples from one pixel to the next
    std::size_t count;  // new pixels
};

// Samples that each new pixel is made of: `longest` (a multiple of 8) weights per pixel.
struct WindowTable {
    const std::int32_t* places;
    const std::int32_t* weights;
    std::size_t longest;
    std::size_t count;  // new pixels
};

struct Shift {
    int bits;
    std::int32_t range;
};

// Names end with the bits of samples, or the type of sums. Samples of 16 bits may lie at any
// address. `u32` sums wrap around: they serve for `i32` as well.
struct Kernels {
    const char* name;

    // out[x] = sum of weight * row[x].
    void (*add_rows_8_u32)(std::uint32_t* out, const WeightedRows&, std::size_t samples);
    void (*add_rows_16_u32)(std::uint32_t* out, const WeightedRows&, std::size_t samples);
    void (*add_rows_8_i64)(std::int64_t* out, const WeightedRows&, std::size_t samples);
    void (*add_rows_16_i64)(std::int64_t* out, const WeightedRows&, std::size_t samples);

    // out[x] = sum of in[x - step], in[x - 2 step], …: `samples` + `step` numbers. `out` may be
    // `in` - `step` where both have 32 bits; those wrap around.
    void (*prefix_u32)(std::uint32_t* out, const std::uint32_t* in, std::size_t samples,
                       std::size_t step);
    void (*prefix_u64)(std::uint64_t* out, const std::uint32_t* in, std::size_t samples,
                       std::size_t step);
    void (*prefix_i64)(std::uint64_t* out, const std::int64_t* in, std::size_t samples,
                       std::size_t step);
    // Sums over intervals of a row from its prefix sums. What wraps around has to be long enough
    // for each interval.
    void (*means_u32)(std::int64_t* out, const std::uint32_t* prefix, const EdgeTable&);
    void (*means_u64)(std::int64_t* out, const std::uint64_t* prefix, const EdgeTable&);
    void (*taps_u32)(std::int64_t* out, const std::uint32_t* in, const TapTable&);
    void (*taps_i32)(std::int64_t* out, const std::int32_t* in, const TapTable&);
    void (*taps_i64)(std::int64_t* out, const std::int64_t* in, const TapTable&);

    // Levels of sums: sum / divisor, a half to the even one. 0 <= sum < 2^52, divisor < 2^36.
    void (*divide)(float* levels, const std::int64_t* sums, double divisor, std::size_t count);
    // clamp((sum + 2^(bits - 1)) >> bits, 0, range), bits > 0.
    void (*shift_i64)(float* levels, const std::int64_t* sums, const Shift&, std::size_t count);
    void (*shift_i32)(float* levels, const std::int32_t* sums, const Shift&, std::size_t count);
    void (*shift_i32_8)(unsigned char* levels, const std::int32_t* sums, const Shift&,
                        std::size_t count);
    void (*shift_i64_16)(unsigned char* levels, const std::int64_t* sums, const Shift&,
                         std::size_t count);
    // out[x] = level * gain + shift, each rounded.
    void (*normalize)(float* out, const float* levels, float gain, float shift, std::size_t count);

    // Grey levels of an RGB row (weights of its three samples in their order), and a row without
    // its fourth sample.
    void (*gray_8)(unsigned char* out, const unsigned char* row, const std::uint32_t* weights,
                   std::size_t step, std::size_t pixels);
    void (*gray_16)(unsigned char* out, const unsigned char* row, const std::uint32_t* weights,
                    std::size_t step, std::size_t pixels);
    void (*drop_fourth)(unsigned char* out, const unsigned char* row, std::size_t pixels);

    // One plane of a row.
    void (*plane_8)(std::int32_t* out, const unsigned char* row, std::size_t step,
                    std::size_t pixels);
    void (*plane_16)(std::int32_t* out, const unsigned char* row, std::size_t step,
                     std::size_t pixels);
    // Sums of products of a plane. It has to be readable `longest` samples from each place on.
    void (*convolve_i32)(std::int32_t* sums, const std::int32_t* plane, const WindowTable&);
    void (*convolve_i64)(std::int64_t* sums, const std::int32_t* plane, const WindowTable&);
};

// The fastest of them on this CPU.
const Kernels& kernels() noexcept;

// All that this CPU runs, the portable ones first; nullptr behind the last.
const Kernels* const* all_kernels() noexcept;

}  // namespace mahtrt
