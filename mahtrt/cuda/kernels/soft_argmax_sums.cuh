// What a thread of the fused soft-argmax keeps: sums of weights about an origin, how a higher value
// changes them, and how the sums of lanes become one.

#pragma once

#include "gpu.cuh"

#define WARP_THREADS 32
#define ALL_LANES 0xffffffffu
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
