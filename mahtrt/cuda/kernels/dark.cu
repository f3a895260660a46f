// DARK in one kernel: the smoothed peak of each heatmap, refined by a Taylor step, and its spread.
//
// mahtrt/runtime/dark.py defines what is computed. Blocks of 256 threads smooth one tile of a map
// each, in FP32: the tile and what lies around it go to shared memory, then the Gaussian runs down
// and across, eight cells to a thread, so that a cell is read from shared memory about once per
// four products. Smoothed maps are not written: of a tile only the highest value of each row and
// column goes to the workspace. The block that comes last of its map finds the first cell of the
// peak in them, smooths that one row of its tile again, with the same operations in the same order
// and hence the same bits, and the nine cells of the Taylor step in FP64.
//
// The order in which blocks end does not matter: what they leave is read in a fixed order. The last
// block sets its map's counter back to zero, so a launch can be repeated as it is (CUDA graphs).
//
// FP32 smoothing is off by about 1e-7 of the peak, a hundredth of the tie rule's TIE. A cell whose
// value is that near to TIE below the peak may be on the other side of it than in FP64. What is
// below 1e-38 after smoothing is no peak in FP32.

#include "gpu.cuh"
#include "dark_finish.cuh"

#define TILE_ROWS 32
#define RUN 8  // cells that a thread smooths at once

template <int tile_columns, int most_radius>
struct Shared {
    float weights[2 * most_radius + 1];
    float cells[(TILE_ROWS + 2 * most_radius) * (tile_columns + 2 * most_radius)];
    float lines[TILE_ROWS * (tile_columns + 2 * most_radius + 1)];
    double scratch[BLOCK_THREADS];
    double exact_weights[2 * most_radius + 1];
    double exact_lines[3 * (2 * most_radius + 3)];
    double around[9];
    bool last;
};

// Products of the weights and eight cells in a row each, `step` apart, in the order of the taps.
__device__ inline void smooth_run(const float* cells, int step, const float* weights, int taps,
                                  float* sums) {
    float window[RUN];
#pragma unroll
    for (int i = 0; i < RUN; ++i) sums[i] = 0.0f;
#pragma unroll
    for (int i = 0; i < RUN - 1; ++i) window[i + 1] = cells[i * step];
#pragma unroll 4
    for (int tap = 0; tap < taps; ++tap) {
#pragma unroll
        for (int i = 0; i < RUN - 1; ++i) window[i] = window[i + 1];
        window[RUN - 1] = cells[(tap + RUN - 1) * step];
        const float weight = weights[tap];
#pragma unroll
        for (int i = 0; i < RUN; ++i) sums[i] = __fmaf_rn(weight, window[i], sums[i]);
    }
}

// The tile with `radius` cells around it, zeros outside of the map. Returns the highest value that
// this thread met in the map.
template <int tile_columns, typename Stored>
__device__ float load_tile(const Stored* heatmap, const Task& task, int top, int left,
                           float* cells) {
    const int width = tile_columns + 2 * task.radius, height = TILE_ROWS + 2 * task.radius;
    float highest = -infinity();
    for (int line = threadIdx.x / 32; line < height; line += BLOCK_THREADS / 32)
        for (int column = threadIdx.x % 32; column < width; column += 32) {
            const int y = top + line - task.radius, x = left + column - task.radius;
            const bool inside = y >= 0 && y < task.rows && x >= 0 && x < task.columns;
            float value = 0.0f;
            if (inside) {
                value = loaded(heatmap[static_cast<long long>(y) * task.columns + x]);
                highest = Larger()(value, highest);
            }
            cells[line * width + column] = value;
        }
    return highest;
}

// Cells, smoothed in place, with tile_columns + 1 from row to row.
template <int tile_columns>
__device__ void smooth_tile(const Task& task, const float* weights, float* cells, float* lines) {
    const int width = tile_columns + 2 * task.radius, pitch = width | 1;  // odd: no bank conflicts
    float sums[RUN];
    for (int item = threadIdx.x; item < width * (TILE_ROWS / RUN); item += BLOCK_THREADS) {
        const int column = item % width, line = item / width * RUN;
        smooth_run(cells + line * width + column, width, weights, task.taps(), sums);
#pragma unroll
        for (int i = 0; i < RUN; ++i) lines[(line + i) * pitch + column] = sums[i];
    }
    __syncthreads();
    for (int item = threadIdx.x; item < TILE_ROWS * (tile_columns / RUN); item += BLOCK_THREADS) {
        const int line = item % TILE_ROWS, column = item / TILE_ROWS * RUN;
        smooth_run(lines + line * pitch + column, 1, weights, task.taps(), sums);
#pragma unroll
        for (int i = 0; i < RUN; ++i) cells[line * (tile_columns + 1) + column + i] = sums[i];
    }
    __syncthreads();
}

// Writes the highest of `count` lines: cell i of line j is at cells[j * of_line + i * of_cell].
// `most` lines have BLOCK_THREADS / most threads each.
template <int most, int length>
__device__ void highest_of_lines(const float* cells, int of_line, int of_cell, int count, int valid,
                                 float* scratch, float* result) {
    constexpr int parts = BLOCK_THREADS / most, each = length / parts;
    const int line = threadIdx.x % most, part = threadIdx.x / most;
    float highest = -infinity();
    for (int i = part * each; i < (part + 1) * each && i < valid; ++i)
        highest = Larger()(cells[line * of_line + i * of_cell], highest);
    scratch[part * most + line] = highest;
    __syncthreads();
    if (part == 0 && line < count) {
        for (int other = 1; other < parts; ++other)
            highest = Larger()(scratch[other * most + line], highest);
        result[line] = highest;
    }
    __syncthreads();
}

template <int tile_columns, int most_radius, typename Stored>
__device__ void dark(const Stored* heatmaps, const Task& task, float* workspace, unsigned* counters,
                     const Results& results) {
    __shared__ Shared<tile_columns, most_radius> memory;
    Parts parts{(task.rows + TILE_ROWS - 1) / TILE_ROWS,
                (task.columns + tile_columns - 1) / tile_columns, task.rows, task.columns, nullptr};
    const int map = blockIdx.x / parts.tiles(), tile = blockIdx.x % parts.tiles();
    parts.base = workspace + map * parts.length();
    const Stored* heatmap = heatmaps + static_cast<long long>(map) * task.rows * task.columns;
    const int tile_down = tile / parts.tiles_across, tile_across = tile % parts.tiles_across;
    const int top = tile_down * TILE_ROWS, left = tile_across * tile_columns;
    const int thread = threadIdx.x;

    if (thread < task.taps()) {
        const float distance = thread - task.radius, sigma = task.sigma;
        const float sum = sigma < 0.4f ? 1.0f : 2.5066283f * sigma;  // nearly; no factor matters
        memory.weights[thread] = expf(-distance * distance / (2 * sigma * sigma)) / sum;
    }
    const float own = load_tile<tile_columns>(heatmap, task, top, left, memory.cells);
    const float given = over_block(Larger(), own, memory.scratch);
    smooth_tile<tile_columns>(task, memory.weights, memory.cells, memory.lines);
    const int rows = Smaller()(task.rows - top, TILE_ROWS);
    const int columns = Smaller()(task.columns - left, tile_columns);
    float* scratch = reinterpret_cast<float*>(memory.scratch);
    highest_of_lines<TILE_ROWS, tile_columns>(memory.cells, tile_columns + 1, 1, rows, columns,
                                              scratch, parts.row(tile_across) + top);
    highest_of_lines<tile_columns, TILE_ROWS>(memory.cells, 1, tile_columns + 1, columns, rows,
                                              scratch, parts.column(tile_down) + left);
    if (thread == 0) parts.given()[tile] = given;

    __syncthreads();
    if (thread == 0) {
        __threadfence();  // what the block wrote is seen before its count is
        memory.last = atomicAdd(counters + map, 1u) == unsigned(parts.tiles() - 1);
        __threadfence();  // and from here on what the blocks wrote that counted before
    }
    __syncthreads();
    if (!memory.last) return;
    if (thread == 0) counters[map] = 0;
    finish<tile_columns>(heatmap, task, parts, map, results, memory);
}

#define KERNEL(name, tile_columns, most_radius, Stored)                                            \
    extern "C" __global__ void __launch_bounds__(BLOCK_THREADS, 2)                                 \
        name(const Stored* heatmaps, int rows, int columns, int maps_of_image, int height_px,      \
             int width_px, int radius, double sigma, const float* affine, float* workspace,        \
             unsigned* counters, float* landmarks, float* confidence, float* spread) {             \
        const Task task{rows,   columns, maps_of_image, height_px,                                 \
                        width_px, radius, sigma,         affine};                                  \
        dark<tile_columns, most_radius>(heatmaps, task, workspace, counters,                       \
                                        Results{landmarks, confidence, spread});                   \
    }

KERNEL(mahtrt_dark_f32, 64, 8, float)
KERNEL(mahtrt_dark_f16, 64, 8, Half)
KERNEL(mahtrt_dark_bf16, 64, 8, Bfloat16)
KERNEL(mahtrt_dark_wide_f32, 32, 28, float)
KERNEL(mahtrt_dark_wide_f16, 32, 28, Half)
KERNEL(mahtrt_dark_wide_bf16, 32, 28, Bfloat16)
