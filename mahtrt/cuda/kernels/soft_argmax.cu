// Soft-argmax of heatmaps in one pass over memory: landmarks, confidence and spread. What it
// computes is defined in mahtrt/runtime/soft_argmax.py.
//
// A map is read by one block, or in parts by several; the last of them to arrive puts the parts
// together, always in the same order, so that results are the same bits on every run. Each thread
// reads 16 bytes at a time and keeps sums of the weights 2^((value - peak) * scale), of the
// weighted distances to an origin, and of their squares. Peak and origin are the warp's: the
// highest value so far and its cell. Where a higher one comes (a handful of times per map) all sums
// are rescaled and moved. With the origin at the highest cell nothing cancels where it matters: a
// narrow peak has its weight there, and for a wide one the squares are not much larger than their
// variance.
//
// The logits entries read a network's full maps instead, and apply the sigmoid and the bilinear
// resize on the way to the heatmap's cells.

#include "gpu.cuh"

#define BLOCK_THREADS 256
#define WARP_THREADS 32
#define WARPS (BLOCK_THREADS / WARP_THREADS)
#define ALL_LANES 0xffffffffu
#define MOST_PARTS 32  // the last block merges them with one warp
// Blocks that a multiprocessor is to have at a time, which leaves each thread 64 registers.
#define RESIDENT_BLOCKS 4
// Up to here value * scale - peak * scale in one operation is 2^4 off at most, for all values
// alike. Beyond, the difference comes first.
#define MOST_EXPONENT 268435456.0f

__device__ __forceinline__ float infinity() { return __int_as_float(0x7f800000); }

// Weights, and weighted distances to an origin in cells.
struct Sums {
    float weight = 0.0f, x = 0.0f, y = 0.0f, xx = 0.0f, yy = 0.0f;

    // Count distances from another origin, which lies (-dx, -dy) from the old one.
    __device__ __forceinline__ void move(float dx, float dy) {
        xx = fmaf(dx, fmaf(dx, weight, 2.0f * x), xx);
        yy = fmaf(dy, fmaf(dy, weight, 2.0f * y), yy);
        x = fmaf(dx, weight, x);
        y = fmaf(dy, weight, y);
    }

    __device__ __forceinline__ void scale(float factor) {
        weight *= factor, x *= factor, y *= factor, xx *= factor, yy *= factor;
    }

    // The sums of all lanes, in all lanes, added in one order.
    __device__ __forceinline__ void add_lanes() {
        for (int bit = WARP_THREADS / 2; bit > 0; bit /= 2) {
            weight += __shfl_xor_sync(ALL_LANES, weight, bit);
            x += __shfl_xor_sync(ALL_LANES, x, bit);
            y += __shfl_xor_sync(ALL_LANES, y, bit);
            xx += __shfl_xor_sync(ALL_LANES, xx, bit);
            yy += __shfl_xor_sync(ALL_LANES, yy, bit);
        }
    }
};

__device__ __forceinline__ float highest_of_lanes(float value) {
    for (int bit = WARP_THREADS / 2; bit > 0; bit /= 2)
        value = fmaxf(value, __shfl_xor_sync(ALL_LANES, value, bit));
    return value;
}

// The sums over a part of a map: weights are relative to the peak's, distances to the peak's cell.
struct Partial {
    float peak = -infinity(), origin_x = 0.0f, origin_y = 0.0f;
    Sums sums;

    __device__ __forceinline__ void store(float4* place) const {
        place[0] = float4{peak, origin_x, origin_y, sums.weight};
        place[1] = float4{sums.x, sums.y, sums.xx, sums.yy};
    }

    __device__ __forceinline__ void set(float4 low, float4 high) {
        peak = low.x, origin_x = low.y, origin_y = low.z;
        sums = {low.w, high.x, high.y, high.z, high.w};
    }
};

// Every lane's partial as one, in all lanes.
__device__ __forceinline__ Partial merged(Partial own, float log2_per_unit) {
    Partial all;
    all.peak = highest_of_lanes(own.peak);
    const int winner = __ffs(__ballot_sync(ALL_LANES, own.peak == all.peak)) - 1;
    all.origin_x = __shfl_sync(ALL_LANES, own.origin_x, winner);
    all.origin_y = __shfl_sync(ALL_LANES, own.origin_y, winner);
    own.sums.move(own.origin_x - all.origin_x, own.origin_y - all.origin_y);
    // Equal peaks may be infinite, and have no difference then.
    own.sums.scale(own.peak == all.peak
                       ? 1.0f
                       : exp2_approximate((own.peak - all.peak) * log2_per_unit));
    own.sums.add_lanes();
    all.sums = own.sums;
    return all;
}

// What the weights are relative to. The same in all threads of a warp.
struct Reference {
    float scale;               // log2 of a weight per unit of a value
    float peak = -infinity();  // the highest value so far
    float offset = 0.0f;       // -peak * scale, rounded; infinity where that is too far from 0
    float x = 0.0f, y = 0.0f;  // the peak's cell

    __device__ __forceinline__ bool wide() const { return offset == infinity(); }

    // log2 of the peak's weight: what the rounding of the offset leaves.
    __device__ __forceinline__ float surplus() const {
        return wide() || fabsf(peak) == infinity() ? 0.0f : fmaf(peak, scale, offset);
    }

    // Gives log2 of the factor that turns old weights into new ones.
    __device__ __forceinline__ float raise(float higher) {
        const float before = (peak - higher) * scale - surplus();
        const float product = higher * scale;
        peak = higher;
        offset = fabsf(product) < MOST_EXPONENT ? -product : infinity();
        // An infinite value gets an infinite weight, which no NaN is: they are told apart.
        if (higher == infinity()) offset = 0.0f;
        return before + surplus();
    }

    __device__ __forceinline__ float weight(float value) const {
        return exp2_approximate(fmaf(value, scale, offset));
    }

    __device__ __forceinline__ float any_weight(float value) const {
        return exp2_approximate(wide() ? (value - peak) * scale : fmaf(value, scale, offset));
    }
};

// A place in the map: column and row, whole numbers.
struct Cell {
    float x, y;

    __device__ __forceinline__ void advance(Cell by, float columns) {
        x += by.x;
        y += by.y;
        if (x >= columns) {
            x -= columns;
            y += 1.0f;
        }
    }
};

// VALUES values of neighbouring cells along a row.
template <int VALUES>
__device__ __forceinline__ void add_run(const float* values, Cell first, const Reference& reference,
                                        Sums& sums) {
    // Distances to the first cell: 0 for the first, 1 for the second.
    const float first_weight = reference.weight(values[0]);
    float x = reference.weight(values[1]), xx = x, weight = first_weight + x;
#pragma unroll
    for (int i = 2; i < VALUES; ++i) {
        const float each = reference.weight(values[i]);
        weight += each;
        x = fmaf(each, float(i), x);
        xx = fmaf(each, float(i * i), xx);
    }
    const float dx = first.x - reference.x, dy = first.y - reference.y;
    const float weighted_dy = weight * dy;
    sums.xx += fmaf(dx, fmaf(dx, weight, 2.0f * x), xx);
    sums.yy = fmaf(weighted_dy, dy, sums.yy);
    sums.x += fmaf(dx, weight, x);
    sums.y += weighted_dy;
    sums.weight += weight;
}

// The same for any values and cells, one by one: also where a row ends between them, and exact
// beside the origin.
template <int VALUES>
__device__ void add_each(const float* values, Cell cell, float columns, const Reference& reference,
                         Sums& sums) {
#pragma unroll
    for (int i = 0; i < VALUES; ++i) {
        const float each = reference.any_weight(values[i]);
        const float dx = cell.x - reference.x, dy = cell.y - reference.y;
        const float weighted_dx = each * dx, weighted_dy = each * dy;
        sums.weight += each;
        sums.x += weighted_dx;
        sums.y += weighted_dy;
        sums.xx = fmaf(weighted_dx, dx, sums.xx);
        sums.yy = fmaf(weighted_dy, dy, sums.yy);
        cell.advance({1.0f, 0.0f}, columns);
    }
}

// Makes the highest value of the warp the reference, and its cell the origin.
template <int RUNS, int VALUES>
__device__ __forceinline__ void raise_reference(const float (&values)[RUNS][VALUES],
                                                Cell cell, Cell step, float columns,
                                                float own_highest, Reference& reference,
                                                Sums& sums) {
    const float highest = highest_of_lanes(own_highest);
    Cell found = cell;
    int behind = 0;
#pragma unroll
    for (int run = 0; run < RUNS; ++run) {
#pragma unroll
        for (int i = 0; i < VALUES; ++i)
            if (values[run][i] == highest) found = cell, behind = i;
        cell.advance(step, columns);
    }
    for (; behind > 0; --behind) found.advance({1.0f, 0.0f}, columns);
    const int winner = __ffs(__ballot_sync(ALL_LANES, own_highest == highest)) - 1;
    found.x = __shfl_sync(ALL_LANES, found.x, winner);
    found.y = __shfl_sync(ALL_LANES, found.y, winner);
    sums.move(reference.x - found.x, reference.y - found.y);
    sums.scale(exp2_approximate(reference.raise(highest)));
    reference.x = found.x;
    reference.y = found.y;
}

// A block's values come from a source. It has
//   VALUES, RUNS       how many cells a run has, neighbours in row-major order, and how many runs
//                      a thread reads at a time
//   columns, cells     of the heatmap
//   lead               how many cells of run 0 lie before the map
//   inside, inside_end the runs that have all of their cells in the map and are read fast
//   go_to, advance     sets a run of the thread's, goes that many runs on
//   read_inside        the values of such a run, so many runs ahead
//   read               the values of any run: -infinity for a cell outside of the map, and for
//                      all cells of a run that is not before `end`

struct Bits16 {  // the bits of an FP16 or BF16 number
    unsigned short bits;
};
struct Half : Bits16 {};
struct Bfloat : Bits16 {};

__device__ __forceinline__ float decoded(float value) { return value; }
__device__ __forceinline__ float decoded(Half value) { return float_from_half_bits(value.bits); }
__device__ __forceinline__ float decoded(Bfloat value) {
    return __uint_as_float(static_cast<unsigned>(value.bits) << 16);
}

// 16 aligned bytes.
__device__ __forceinline__ void read_16_bytes(const float* place, float* values) {
    const float4 read = __ldcs(reinterpret_cast<const float4*>(place));
    values[0] = read.x, values[1] = read.y, values[2] = read.z, values[3] = read.w;
}

template <typename Stored>
__device__ __forceinline__ void read_16_bytes(const Stored* place, float* values) {
    const uint4 read = __ldcs(reinterpret_cast<const uint4*>(place));
    const unsigned words[4] = {read.x, read.y, read.z, read.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        Stored low, high;
        low.bits = static_cast<unsigned short>(words[i]);
        high.bits = static_cast<unsigned short>(words[i] >> 16);
        values[2 * i] = decoded(low);
        values[2 * i + 1] = decoded(high);
    }
}

// Heatmaps as they are. Runs are 16 aligned bytes, so the first and the last may be cut.
template <typename Stored>
struct Maps {
    static constexpr int VALUES = 16 / sizeof(Stored), RUNS = 4;
    const Stored *map, *next;
    int columns, cells, lead, inside, inside_end;

    __device__ Maps(const Stored* maps, int index, int rows, int columns_)
        : map(maps + static_cast<long long>(index) * rows * columns_),
          columns(columns_),
          cells(rows * columns_) {
        lead = static_cast<int>(reinterpret_cast<unsigned long long>(map) % 16 / sizeof(Stored));
        inside = lead > 0;
        inside_end = (cells + lead) / VALUES;
    }

    __device__ __forceinline__ void go_to(int run) {
        next = map + (static_cast<long long>(run) * VALUES - lead);
    }
    __device__ __forceinline__ void advance(int runs) { next += runs * VALUES; }

    __device__ __forceinline__ void read_inside(int ahead, Cell, float* values) const {
        read_16_bytes(next + ahead * VALUES, values);
    }

    __device__ void read(int run, Cell, int end, float* values) const {
#pragma unroll
        for (int i = 0; i < VALUES; ++i) {
            const int cell = run * VALUES - lead + i;
            values[i] = run < end && cell >= 0 && cell < cells ? decoded(map[cell]) : -infinity();
        }
    }
};

__device__ __forceinline__ float sigmoid(float logit) {
    return reciprocal_approximate(1.0f + exp2_approximate(-1.44269504f * logit));
}

// Where a heatmap's row or column lies between two of the full map.
struct Between {
    int before, after;
    float share;  // of the one after

    // Pixel centres are at whole numbers: ((2 * index + 1) * given / wanted - 1) / 2.
    __device__ Between(int index, int given, int wanted) {
        const int parts = 2 * wanted;
        const long long place = (2LL * index + 1) * given - wanted;  // in parts of a pixel
        const int whole = place < 0 ? 0 : static_cast<int>(place / parts);
        before = min(whole, given - 1);
        after = min(before + 1, given - 1);
        const int rest = static_cast<int>(place - static_cast<long long>(whole) * parts);
        share = place < 0 ? 0.0f : static_cast<float>(rest) / static_cast<float>(parts);
    }
};

// Heatmaps of full maps of logits: sigmoid, then bilinear resize. A run is four cells; where the
// heatmap has half the rows and columns, these are 8 logits in each of two rows.
template <typename Stored>
struct Logits {
    static constexpr int VALUES = 4, RUNS = 2;
    const Stored* map;
    int full_rows, full_columns, rows, columns, cells;
    int lead = 0, inside = 0, inside_end = 0;

    __device__ Logits(const Stored* maps, int index, int full_rows_, int full_columns_, int rows_,
                      int columns_)
        : map(maps + static_cast<long long>(index) * full_rows_ * full_columns_),
          full_rows(full_rows_),
          full_columns(full_columns_),
          rows(rows_),
          columns(columns_),
          cells(rows_ * columns_) {
        const bool halved = full_rows == 2 * rows && full_columns == 2 * columns;
        const bool aligned = reinterpret_cast<unsigned long long>(map) % 16 == 0;
        if (halved && aligned && columns % VALUES == 0) inside_end = cells / VALUES;
    }

    __device__ __forceinline__ void go_to(int) {}
    __device__ __forceinline__ void advance(int) {}

    __device__ __forceinline__ void read_inside(int, Cell first, float* values) const {
        constexpr int read_at_once = 16 / sizeof(Stored);
        const int row = 2 * static_cast<int>(first.y), column = 2 * static_cast<int>(first.x);
        const Stored* corner = map + (row * full_columns + column);
        float upper[2 * VALUES], lower[2 * VALUES];
#pragma unroll
        for (int i = 0; i < 2 * VALUES; i += read_at_once) {
            read_16_bytes(corner + i, upper + i);
            read_16_bytes(corner + full_columns + i, lower + i);
        }
#pragma unroll
        for (int i = 0; i < VALUES; ++i)
            values[i] = 0.25f * ((sigmoid(upper[2 * i]) + sigmoid(upper[2 * i + 1])) +
                                 (sigmoid(lower[2 * i]) + sigmoid(lower[2 * i + 1])));
    }

    __device__ void read(int run, Cell cell, int end, float* values) const {
#pragma unroll 1
        for (int i = 0; i < VALUES; ++i) {
            // Handed on from one to the next, so that they stay in registers.
            values[0] = values[1], values[1] = values[2], values[2] = values[3];
            values[3] = run < end && run * VALUES + i < cells ? resized(cell) : -infinity();
            cell.advance({1.0f, 0.0f}, static_cast<float>(columns));
        }
    }

    __device__ float resized(Cell cell) const {
        const Between y(static_cast<int>(cell.y), full_rows, rows);
        const Between x(static_cast<int>(cell.x), full_columns, columns);
        const float before = along_row(y.before, x), after = along_row(y.after, x);
        return before * (1.0f - y.share) + after * y.share;
    }

    __device__ float along_row(int row, Between x) const {
        const Stored* line = map + row * full_columns;
        return sigmoid(decoded(line[x.before])) * (1.0f - x.share) +
               sigmoid(decoded(line[x.after])) * x.share;
    }
};

// The sums over one part of a map, in the lanes of warp 0 at least.
template <typename Source>
__device__ __forceinline__ Partial sums_of_part(Source source, float scale, int part,
                                                int parts) {
    constexpr int VALUES = Source::VALUES, RUNS = Source::RUNS;
    constexpr int STEP = BLOCK_THREADS;  // from one run of a thread to its next
    __shared__ float4 of_warps[2 * WARPS];

    const int runs = (source.cells - 1 + source.lead) / VALUES + 1;
    const int steps = (runs - 1) / STEP + 1;
    const int first = (steps - 1) / parts + 1;  // steps of a part
    const int begin = min(part * first, steps) * STEP;
    const int end = min(min((part + 1) * first, steps) * STEP, runs);
    const float columns = source.columns;
    const bool whole_rows = source.lead == 0 && source.columns % VALUES == 0;

    // Cells are counted from the map's first; those before it are in rows below 0.
    const int start = (begin + static_cast<int>(threadIdx.x)) * VALUES - source.lead;
    const int start_row = start < 0 ? -1 - (-1 - start) / source.columns : start / source.columns;
    Cell cell{static_cast<float>(start - start_row * source.columns),
              static_cast<float>(start_row)};
    const int step_row = STEP * VALUES / source.columns;
    const Cell step{static_cast<float>(STEP * VALUES - step_row * source.columns),
                    static_cast<float>(step_row)};
    const int inside_end = min(source.inside_end, end);

    source.go_to(begin + threadIdx.x);
    Reference reference{scale};
    Sums sums;
    for (int base = begin; base < end;) {
        float values[RUNS][VALUES];
        // All runs at a time, or one where the map or the part begins or ends among them.
        const int count = base >= source.inside && base + RUNS * STEP <= inside_end ? RUNS : 1;
        Cell place = cell;
        if (count == RUNS) {
#pragma unroll
            for (int run = 0; run < RUNS; ++run) {
                source.read_inside(run * STEP, place, values[run]);
                place.advance(step, columns);
            }
        } else {
            const int run = base + threadIdx.x;
            if (run >= source.inside && run < inside_end)
                source.read_inside(0, place, values[0]);
            else
                source.read(run, place, end, values[0]);
            for (int i = VALUES; i < RUNS * VALUES; ++i)
                values[i / VALUES][i % VALUES] = -infinity();
        }
        float highest = values[0][0];
#pragma unroll
        for (int run = 0; run < RUNS; ++run)
#pragma unroll
            for (int i = 0; i < VALUES; ++i) highest = fmaxf(highest, values[run][i]);
        const bool raised = __any_sync(ALL_LANES, highest > reference.peak);
        if (raised) raise_reference(values, cell, step, columns, highest, reference, sums);
        place = cell;
        if (raised || reference.wide() || !whole_rows) {
#pragma unroll 1
            for (int run = 0; run < RUNS; ++run) {
                add_each<VALUES>(values[0], place, columns, reference, sums);
                place.advance(step, columns);
                // Handed on from run to run, so that they stay in registers.
#pragma unroll
                for (int i = VALUES; i < RUNS * VALUES; ++i)
                    values[i / VALUES - 1][i % VALUES] = values[i / VALUES][i % VALUES];
            }
        } else {
#pragma unroll
            for (int run = 0; run < RUNS; ++run) {
                add_run<VALUES>(values[run], place, reference, sums);
                place.advance(step, columns);
            }
        }
        if (count == 1) place = cell, place.advance(step, columns);
        cell = place;
        source.advance(count * STEP);
        base += count * STEP;
    }

    sums.add_lanes();
    sums.scale(exp2_approximate(-reference.surplus()));
    Partial own{reference.peak, reference.x, reference.y, sums};
    if (threadIdx.x % WARP_THREADS == 0) own.store(of_warps + threadIdx.x / WARP_THREADS * 2);
    __syncthreads();
    own = Partial();
    if (threadIdx.x < WARPS) own.set(of_warps[2 * threadIdx.x], of_warps[2 * threadIdx.x + 1]);
    if (threadIdx.x >= WARP_THREADS) return own;
    return merged(own, scale);
}

// What the sums become, and where it goes.
struct Results {
    int maps_per_image, rows, columns, height_px, width_px;
    const float* affine;  // of each image x_scale, x_offset, y_scale, y_offset; null for none
    float *landmarks, *confidence, *spread;

    __device__ void write(int map, const Partial& all) const {
        const float nan = __int_as_float(0x7fffffff);
        const double weight = all.sums.weight;
        const double x = all.sums.x / weight, y = all.sums.y / weight;
        const double cell_width_px = double(width_px) / columns;
        const double cell_height_px = double(height_px) / rows;
        const double variance = (all.sums.xx / weight - x * x) * cell_width_px * cell_width_px +
                                (all.sums.yy / weight - y * y) * cell_height_px * cell_height_px;
        double x_px = (all.origin_x + x + 0.5) * cell_width_px - 0.5;
        double y_px = (all.origin_y + y + 0.5) * cell_height_px - 0.5;
        double spread_px = sqrt(variance < 1e-12 ? 1e-12 : variance);
        if (affine) {
            const float* numbers = affine + 4 * (map / maps_per_image);
            x_px = x_px * numbers[0] + numbers[1];
            y_px = y_px * numbers[2] + numbers[3];
            spread_px *= sqrt(fabs(double(numbers[0]) * numbers[2]));
        }
        // No weight, or an infinite one: there is no mean. A NaN is not comparable.
        const bool defined = weight > 0 && weight < infinity();
        landmarks[2 * map] = defined ? float(x_px) : nan;
        landmarks[2 * map + 1] = defined ? float(y_px) : nan;
        spread[map] = defined ? float(spread_px) : nan;
        confidence[map] = weight == weight ? all.peak : nan;
    }
};

// One part of one map. Workspace is read and written only where there are several parts.
template <typename Source>
__device__ __forceinline__ void soft_argmax(const Source& source, int map, int part, int parts,
                                            float scale, const Results& results, float4* partials,
                                            unsigned* arrived) {
    Partial own = sums_of_part(source, scale, part, parts);
    if (threadIdx.x >= WARP_THREADS) return;
    if (parts > 1) {
        float4* place = partials + 2LL * map * parts;
        int last = 0;
        if (threadIdx.x == 0) {
            own.store(place + 2 * part);
            __threadfence();
            // Counts to parts - 1 and then from 0 again, for the next launch.
            last = atomicInc(arrived + map, parts - 1) == parts - 1;
            __threadfence();
        }
        if (!__shfl_sync(ALL_LANES, last, 0)) return;
        own = Partial();
        if (threadIdx.x < parts)  // past the first-level cache, which is not kept up to date
            own.set(__ldcg(place + 2 * threadIdx.x), __ldcg(place + 2 * threadIdx.x + 1));
        own = merged(own, scale);
    }
    if (threadIdx.x == 0) results.write(map, own);
}

#define RESULTS                                                                                    \
    int maps_per_image, int height_px, int width_px, const float *affine, float *landmarks,        \
        float *confidence, float *spread

// A block for each map and part, the parts of a map beside each other.
#define KERNEL                                                                                     \
    extern "C" __global__ void __launch_bounds__(BLOCK_THREADS, RESIDENT_BLOCKS)

#define MAPS_KERNEL(name, Stored)                                                                  \
    KERNEL name(const Stored* heatmaps, int rows, int columns, float log2_per_unit, int parts,     \
                RESULTS, float4* partials, unsigned* arrived) {                                    \
        const int map = blockIdx.x / parts, part = blockIdx.x - map * parts;                       \
        const Maps<Stored> source(heatmaps, map, rows, columns);                                   \
        const Results results{maps_per_image, rows,      columns,    height_px, width_px,          \
                              affine,         landmarks, confidence, spread};                      \
        soft_argmax(source, map, part, parts, log2_per_unit, results, partials, arrived);          \
    }

#define LOGITS_KERNEL(name, Stored)                                                                \
    KERNEL name(const Stored* logits, int full_rows, int full_columns, int rows, int columns,      \
                float log2_per_unit, int parts, RESULTS, float4* partials, unsigned* arrived) {    \
        const int map = blockIdx.x / parts, part = blockIdx.x - map * parts;                       \
        const Logits<Stored> source(logits, map, full_rows, full_columns, rows, columns);          \
        const Results results{maps_per_image, rows,      columns,    height_px, width_px,          \
                              affine,         landmarks, confidence, spread};                      \
        soft_argmax(source, map, part, parts, log2_per_unit, results, partials, arrived);          \
    }

MAPS_KERNEL(mahtrt_soft_argmax_maps_f32, float)
MAPS_KERNEL(mahtrt_soft_argmax_maps_f16, Half)
MAPS_KERNEL(mahtrt_soft_argmax_maps_bf16, Bfloat)
LOGITS_KERNEL(mahtrt_soft_argmax_logits_f32, float)
LOGITS_KERNEL(mahtrt_soft_argmax_logits_f16, Half)
LOGITS_KERNEL(mahtrt_soft_argmax_logits_bf16, Bfloat)
