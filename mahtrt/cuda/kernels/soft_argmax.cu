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
#include "heatmap_sources.cuh"
#include "soft_argmax_sums.cuh"

#define BLOCK_THREADS 256  // at most 32 parts of a map: the last block merges them with one warp
#define WARPS (BLOCK_THREADS / WARP_THREADS)
// Blocks that a multiprocessor is to have at a time, which leaves each thread 64 registers.
#define RESIDENT_BLOCKS 4

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
        __syncwarp();  // a shuffle orders no memory: only now do all lanes see what lane 0 saw
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
