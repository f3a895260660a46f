// The bodies of Kernels: resample_kernels.cpp includes this file once per set of instructions,
// within a namespace of its own, with MAHTRT_KERNEL saying which instructions functions may use.
// No function of the standard library is used: its copy could be shared with code for other CPUs.
// Loops are plain, so that the compiler makes vector code of them.

template <bool kWide>
MAHTRT_KERNEL inline std::uint32_t sample(const unsigned char* row, std::size_t x) {
    if constexpr (kWide) {
        std::uint16_t value;
        __builtin_memcpy(&value, row + 2 * x, sizeof value);
        return value;
    } else {
        return row[x];
    }
}

template <bool kWide>
MAHTRT_KERNEL inline void store(unsigned char* row, std::size_t x, std::uint32_t value) {
    if constexpr (kWide) {
        const auto narrow = static_cast<std::uint16_t>(value);
        __builtin_memcpy(row + 2 * x, &narrow, sizeof narrow);
    } else {
        row[x] = static_cast<unsigned char>(value);
    }
}

// ---- Rows of the image to sums per column --------------------------------------------------

// Rows kFirst to kEnd - 1. Sums over a fixed number of things are templates here rather than loops:
// a loop around them becomes vector code at any level of optimisation.
template <bool kWide, class Sum, int kFirst, int kEnd>
MAHTRT_KERNEL inline Sum sum_of_rows(const unsigned char* const* rows, std::size_t x) {
    auto sum = static_cast<Sum>(sample<kWide>(rows[kFirst], x));
    if constexpr (kFirst + 1 < kEnd)
        sum = static_cast<Sum>(sum + sum_of_rows<kWide, Sum, kFirst + 1, kEnd>(rows, x));
    return sum;
}

// Inner rows have the same weight: they are added first. Six samples of 8 bits fit into 16.
template <bool kWide, int kCount>
MAHTRT_KERNEL void add_equal(std::uint32_t* __restrict out, const WeightedRows& from,
                             std::size_t samples) {
    using Sum = std::uint32_t;
    using Inner = std::conditional_t<kWide, std::uint32_t, std::uint16_t>;
    const WeightedRows copy = from;  // which `out` cannot be
    const Sum first = static_cast<Sum>(copy.weights[0]);
    const Sum inner = static_cast<Sum>(copy.weights[1]);
    const Sum last = static_cast<Sum>(copy.weights[kCount - 1]);
    const Sum keep = copy.accumulate ? ~Sum{0} : Sum{0};
    for (std::size_t x = 0; x < samples; ++x)
        out[x] = (out[x] & keep) + first * sample<kWide>(copy.rows[0], x) +
                 inner * sum_of_rows<kWide, Inner, 1, kCount - 1>(copy.rows, x) +
                 last * sample<kWide>(copy.rows[kCount - 1], x);
}

template <bool kWide, class Sum, int kCount>
MAHTRT_KERNEL inline Sum weighted(const WeightedRows& from, std::size_t x) {
    Sum sum = static_cast<Sum>(from.weights[kCount - 1]) *
              static_cast<Sum>(sample<kWide>(from.rows[kCount - 1], x));
    if constexpr (kCount > 1) sum += weighted<kWide, Sum, kCount - 1>(from, x);
    return sum;
}

template <bool kWide, class Sum, int kCount>
MAHTRT_KERNEL void add_weighted(Sum* __restrict out, const WeightedRows& from,
                                std::size_t samples) {
    const WeightedRows copy = from;
    const Sum keep = copy.accumulate ? ~Sum{0} : Sum{0};
    for (std::size_t x = 0; x < samples; ++x)
        out[x] = (out[x] & keep) + weighted<kWide, Sum, kCount>(copy, x);
}

// How many rows are added in one loop. Sums of 64 bits are rare, and their loops are large.
template <class Sum>
constexpr int kMostRows = sizeof(Sum) == 8 ? 2 : 4;

template <bool kWide, class Sum>
MAHTRT_KERNEL void add_few(Sum* out, const WeightedRows& from, std::size_t samples) {
    if (from.count == 1) return add_weighted<kWide, Sum, 1>(out, from, samples);
    if (kMostRows<Sum> == 2 || from.count == 2)
        return add_weighted<kWide, Sum, 2>(out, from, samples);
    if constexpr (kMostRows<Sum> == 4) {
        if (from.count == 3) return add_weighted<kWide, Sum, 3>(out, from, samples);
        add_weighted<kWide, Sum, 4>(out, from, samples);
    }
}

// Rows of different weights, a few at a time.
template <bool kWide, class Sum>
MAHTRT_KERNEL void add_any(Sum* out, const WeightedRows& from, std::size_t samples) {
    WeightedRows part;
    part.accumulate = from.accumulate;
    for (int done = 0; done < from.count; done += part.count) {
        const int rest = from.count - done;
        part.count = rest < kMostRows<Sum> ? rest : kMostRows<Sum>;
        for (int k = 0; k < part.count; ++k) {
            part.rows[k] = from.rows[done + k];
            part.weights[k] = from.weights[done + k];
        }
        add_few<kWide, Sum>(out, part, samples);
        part.accumulate = true;
    }
}

template <bool kWide>
MAHTRT_KERNEL void add_rows(std::uint32_t* out, const WeightedRows& from, std::size_t samples) {
    if (!from.inner_equal || from.count < 4) return add_any<kWide>(out, from, samples);
    switch (from.count) {
        case 4:
            return add_equal<kWide, 4>(out, from, samples);
        case 5:
            return add_equal<kWide, 5>(out, from, samples);
        case 6:
            return add_equal<kWide, 6>(out, from, samples);
        case 7:
            return add_equal<kWide, 7>(out, from, samples);
        default:
            return add_equal<kWide, 8>(out, from, samples);
    }
}

// ---- Along a row of sums -------------------------------------------------------------------

template <class Prefix, class Sum>
MAHTRT_KERNEL void prefix(Prefix* out, const Sum* in, std::size_t samples, std::size_t step) {
    Prefix first = 0, second = 0, third = 0;
    for (std::size_t k = 0; k < step; ++k) out[k] = 0;
    out += step;
    if (step == 1) {
        for (std::size_t x = 0; x < samples; ++x) out[x] = first += static_cast<Prefix>(in[x]);
        return;
    }
    for (std::size_t x = 0; x + 2 < samples; x += 3) {
        out[x] = first += static_cast<Prefix>(in[x]);
        out[x + 1] = second += static_cast<Prefix>(in[x + 1]);
        out[x + 2] = third += static_cast<Prefix>(in[x + 2]);
    }
}

// Prefix sums of 32 bits wrap around: their differences do not.
template <class Prefix>
MAHTRT_KERNEL void means(std::int64_t* __restrict out, const Prefix* __restrict prefixes,
                         const EdgeTable& edges) {
    const auto length = static_cast<std::uint64_t>(edges.length);
    const std::size_t count = edges.count, step = edges.step;
    const std::int32_t *places = edges.places, *fractions = edges.fractions;
    Prefix before = 0;
    std::uint64_t part_before = 0;
    for (std::size_t i = 0; i <= count; ++i) {
        const Prefix* at = prefixes + places[i];
        const Prefix here = *at;
        const std::uint64_t part =
            static_cast<std::uint64_t>(static_cast<Prefix>(at[step] - here)) *
            static_cast<std::uint64_t>(fractions[i]);
        const auto whole = static_cast<std::uint64_t>(static_cast<Prefix>(here - before));
        if (i > 0) out[i - 1] = static_cast<std::int64_t>(whole * length + part - part_before);
        before = here;
        part_before = part;
    }
}

template <class Sum, int kTaps>
MAHTRT_KERNEL inline std::int64_t sum_of_taps(const Sum* from, const std::int32_t* weights,
                                              std::size_t step, std::size_t count) {
    std::int64_t sum = static_cast<std::int64_t>(*from) * *weights;
    if constexpr (kTaps > 1)
        sum += sum_of_taps<Sum, kTaps - 1>(from + step, weights + count, step, count);
    return sum;
}

template <class Sum, int kTaps>
MAHTRT_KERNEL void taps_of_count(std::int64_t* __restrict out, const Sum* __restrict in,
                                 const TapTable& table) {
    const TapTable copy = table;
    for (std::size_t i = 0; i < copy.count; ++i)
        out[i] =
            sum_of_taps<Sum, kTaps>(in + copy.places[i], copy.weights + i, copy.step, copy.count);
}

template <class Sum>
MAHTRT_KERNEL void taps(std::int64_t* out, const Sum* in, const TapTable& table) {
    if (table.taps == 1) return taps_of_count<Sum, 1>(out, in, table);
    if (table.taps == 2) return taps_of_count<Sum, 2>(out, in, table);
    taps_of_count<Sum, 4>(out, in, table);
}

// ---- Sums to levels, and levels to numbers -------------------------------------------------

// The quotient of two doubles is that of the integers, rounded to 53 bits. A half is such a
// double, and a quotient that is none lies at least 1 / (2 divisor) > 2^-37 beside it, which is
// more than a half of the last bit of a level (2^-38): rounding the double rounds the quotient.
MAHTRT_KERNEL void divide(float* __restrict levels, const std::int64_t* __restrict sums,
                          double divisor, std::size_t count) {
    constexpr double kWhole =
        4503599627370496.0;  // 2^52: a sum with it has no bits after the point
    for (std::size_t i = 0; i < count; ++i) {
        const std::int64_t bits = sums[i] | 0x4330000000000000;  // 2^52 + the sum, as a double
        double sum;
        __builtin_memcpy(&sum, &bits, sizeof sum);
        const double quotient = (sum - kWhole) / divisor;
        levels[i] = static_cast<float>((quotient + kWhole) - kWhole);
    }
}

template <class Sum>
MAHTRT_KERNEL inline std::int32_t shifted(Sum sum, const Shift& how) {
    const Sum level = (sum + (Sum{1} << (how.bits - 1))) >> how.bits;
    const Sum above = level < 0 ? 0 : level;
    return static_cast<std::int32_t>(above > how.range ? how.range : above);
}

template <class Sum>
MAHTRT_KERNEL void shift(float* __restrict levels, const Sum* __restrict sums, const Shift& how,
                         std::size_t count) {
    const Shift copy = how;
    for (std::size_t i = 0; i < count; ++i)
        levels[i] = static_cast<float>(shifted<Sum>(sums[i], copy));
}

template <class Sum, bool kWide>
MAHTRT_KERNEL void shift_to_samples(unsigned char* __restrict levels, const Sum* __restrict sums,
                                    const Shift& how, std::size_t count) {
    const Shift copy = how;
    for (std::size_t i = 0; i < count; ++i)
        store<kWide>(levels, i, static_cast<std::uint32_t>(shifted<Sum>(sums[i], copy)));
}

MAHTRT_KERNEL void normalize(float* __restrict out, const float* __restrict levels, float gain,
                             float shift, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        const float product = levels[i] * gain;
        out[i] = product + shift;
    }
}

// ---- Rows in other forms -------------------------------------------------------------------

template <bool kWide, std::size_t kStep>
MAHTRT_KERNEL void gray_of_step(unsigned char* __restrict out, const unsigned char* __restrict row,
                                const std::uint32_t* weights, std::size_t pixels) {
    const std::uint32_t first = weights[0], second = weights[1], third = weights[2];
    for (std::size_t x = 0; x < pixels; ++x) {
        const std::uint32_t sum = first * sample<kWide>(row, kStep * x) +
                                  second * sample<kWide>(row, kStep * x + 1) +
                                  third * sample<kWide>(row, kStep * x + 2);
        store<kWide>(out, x, (sum + 16384) >> 15);
    }
}

template <bool kWide>
MAHTRT_KERNEL void gray(unsigned char* out, const unsigned char* row, const std::uint32_t* weights,
                        std::size_t step, std::size_t pixels) {
    if (step == 3) return gray_of_step<kWide, 3>(out, row, weights, pixels);
    gray_of_step<kWide, 4>(out, row, weights, pixels);
}

MAHTRT_KERNEL void drop_fourth(unsigned char* __restrict out, const unsigned char* __restrict row,
                               std::size_t pixels) {
    for (std::size_t x = 0; x < pixels; ++x) {
        out[3 * x] = row[4 * x];
        out[3 * x + 1] = row[4 * x + 1];
        out[3 * x + 2] = row[4 * x + 2];
    }
}

template <bool kWide>
MAHTRT_KERNEL void plane(std::int32_t* __restrict out, const unsigned char* __restrict row,
                         std::size_t step, std::size_t pixels) {
    if (step == 1) {
        for (std::size_t x = 0; x < pixels; ++x)
            out[x] = static_cast<std::int32_t>(sample<kWide>(row, x));
    } else {
        for (std::size_t x = 0; x < pixels; ++x)
            out[x] = static_cast<std::int32_t>(sample<kWide>(row, 3 * x));
    }
}

template <class Sum>
MAHTRT_KERNEL void convolve(Sum* __restrict sums, const std::int32_t* __restrict from,
                            const WindowTable& table) {
    const std::size_t longest = table.longest;
    for (std::size_t i = 0; i < table.count; ++i) {
        const std::int32_t* samples = from + table.places[i];
        const std::int32_t* weights = table.weights + i * longest;
        Sum partial[8] = {};
        for (std::size_t k = 0; k < longest; k += 8)
            for (std::size_t lane = 0; lane < 8; ++lane)
                partial[lane] += static_cast<Sum>(samples[k + lane]) * weights[k + lane];
        Sum sum = 0;
        for (std::size_t lane = 0; lane < 8; ++lane) sum += partial[lane];
        sums[i] = sum;
    }
}

constexpr Kernels kTable = {
    MAHTRT_KERNEL_NAME,
    add_rows<false>,
    add_rows<true>,
    add_any<false, std::int64_t>,
    add_any<true, std::int64_t>,
    prefix<std::uint32_t, std::uint32_t>,
    prefix<std::uint64_t, std::uint32_t>,
    prefix<std::uint64_t, std::int64_t>,
    means<std::uint32_t>,
    means<std::uint64_t>,
    taps<std::uint32_t>,
    taps<std::int32_t>,
    taps<std::int64_t>,
    divide,
    shift<std::int64_t>,
    shift<std::int32_t>,
    shift_to_samples<std::int32_t, false>,
    shift_to_samples<std::int64_t, true>,
    normalize,
    gray<false>,
    gray<true>,
    drop_fourth,
    plane<false>,
    plane<true>,
    convolve<std::int32_t>,
    convolve<std::int64_t>,
};
