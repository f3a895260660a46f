// Where the fused soft-argmax has its values from: heatmaps in memory, or full maps of logits.

#pragma once

#include "gpu.cuh"
#include "soft_argmax_sums.cuh"

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
