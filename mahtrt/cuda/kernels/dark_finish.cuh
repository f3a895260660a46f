// What the last block of a map does for DARK: from the highest values of the tiles' rows and columns
// to landmark, confidence and spread. dark.cu includes it, and says how the work is divided. Where
// little time is spent functions are not inlined and loops not unrolled: a driver that compiles the
// PTX takes less time.

#pragma once

#define BLOCK_THREADS 256

#define TIE 1e-5f
#define LEAST_FRACTION 1e-10
#define LEAST_CURVATURE 1e-3
#define STANDS_OUT 0.5

struct Half {
    unsigned short bits;
};

struct Bfloat16 {
    unsigned short bits;
};

__device__ inline float loaded(float value) { return value; }
__device__ inline float loaded(Half value) { return float_from_half_bits(value.bits); }
__device__ inline float loaded(Bfloat16 value) { return __uint_as_float(unsigned(value.bits) << 16); }

__device__ inline float infinity() { return __int_as_float(0x7f800000); }

struct Larger {  // a NaN is larger than everything
    __device__ float operator()(float a, float b) const { return a > b || a != a ? a : b; }
};

struct Smaller {
    __device__ int operator()(int a, int b) const { return a < b ? a : b; }
};

struct Sum {
    __device__ double operator()(double a, double b) const { return a + b; }
};

// What `combine` makes of every thread's value, in the same order on every run. All threads must
// call it; it leaves the scratch free for the next call.
template <typename Combine, typename Value>
__device__ __noinline__ Value over_block(Combine combine, Value value, double* scratch) {
    Value* values = reinterpret_cast<Value*>(scratch);
    const int thread = threadIdx.x;
    values[thread] = value;
    __syncthreads();
#pragma unroll 1
    for (int half = BLOCK_THREADS / 2; half > 0; half /= 2) {
        if (thread < half) values[thread] = combine(values[thread], values[thread + half]);
        __syncthreads();
    }
    const Value result = values[0];
    __syncthreads();
    return result;
}

// The heatmaps, their Gaussian, and the frame of the results.
struct Task {
    int rows, columns;          // cells
    int maps_of_image;
    int height_px, width_px;    // of the network's input
    int radius;                 // cells
    double sigma;               // cells
    const float* affine;        // per image x_scale, x_offset, y_scale, y_offset, or null

    __device__ int taps() const { return 2 * radius + 1; }
};

// What the tiles of one map leave: highest values of rows and columns, tile after tile, with the
// maxima over all tiles behind them, and highest values of the map as it was given.
struct Parts {
    int tiles_down, tiles_across, rows, columns;
    float* base;

    __device__ int tiles() const { return tiles_down * tiles_across; }

    __device__ long long length() const {
        return static_cast<long long>(tiles_across + 1) * rows +
               static_cast<long long>(tiles_down + 1) * columns + tiles();
    }

    __device__ float* row(int tile_across) const {
        return base + static_cast<long long>(tile_across) * rows;
    }

    __device__ float* column(int tile_down) const {
        return row(tiles_across + 1) + static_cast<long long>(tile_down) * columns;
    }

    __device__ float* given() const { return column(tiles_down + 1); }
};

// Maxima over all tiles, written behind the tiles' own; returns the highest of them.
__device__ __noinline__ float merge_tiles(float* parts, int tiles, int length, double* scratch) {
    float peak = -infinity();
#pragma unroll 1
    for (int i = threadIdx.x; i < length; i += BLOCK_THREADS) {
        float highest = -infinity();
#pragma unroll 1
        for (int tile = 0; tile < tiles; ++tile)
            highest = Larger()(__ldcg(parts + static_cast<long long>(tile) * length + i), highest);
        parts[static_cast<long long>(tiles) * length + i] = highest;
        peak = Larger()(highest, peak);
    }
    return over_block(Larger(), peak, scratch);
}

// Number of the first value that is at least `least`; the last one if there is none (a NaN).
__device__ __noinline__ int first_of(const float* values, int length, float least, double* scratch) {
    int first = length - 1;
#pragma unroll 1
    for (int i = threadIdx.x; i < length; i += BLOCK_THREADS)
        if (__ldcg(values + i) >= least) first = Smaller()(i, first);
    return over_block(Smaller(), first, scratch);
}

// The first column of the peak in row y of a tile, smoothed with the same bits as before.
template <int tile_columns, typename Stored, typename Memory>
__device__ int first_in_row(const Stored* heatmap, const Task& task, int y, int left, float least,
                            Memory& memory) {
#pragma unroll 1
    for (int column = threadIdx.x; column < tile_columns + 2 * task.radius;
         column += BLOCK_THREADS) {
        const int x = left + column - task.radius;
        float sum = 0.0f;
#pragma unroll 1
        for (int tap = 0; tap < task.taps(); ++tap) {
            const int line = y + tap - task.radius;
            const bool inside = line >= 0 && line < task.rows && x >= 0 && x < task.columns;
            const long long cell = static_cast<long long>(line) * task.columns + x;
            sum = __fmaf_rn(memory.weights[tap], inside ? loaded(heatmap[cell]) : 0.0f, sum);
        }
        memory.lines[column] = sum;
    }
    __syncthreads();
    int first = task.columns - 1;
    const int column = threadIdx.x;
    if (column < tile_columns && left + column < task.columns) {
        float sum = 0.0f;
#pragma unroll 1
        for (int tap = 0; tap < task.taps(); ++tap)
            sum = __fmaf_rn(memory.weights[tap], memory.lines[column + tap], sum);
        if (sum >= least) first = left + column;
    }
    return over_block(Smaller(), first, memory.scratch);
}

// Not divided by their sum: only fractions of the smoothed peak are used.
__device__ __noinline__ double exact_weight(double distance, double sigma) {
    return exp(-distance * distance / (2 * sigma * sigma));
}

// The nine smoothed cells around (x, y), in FP64.
template <typename Stored, typename Memory>
__device__ void smooth_around(const Stored* heatmap, const Task& task, int y, int x,
                              Memory& memory) {
    const int thread = threadIdx.x, width = task.taps() + 2;
    if (thread < task.taps())
        memory.exact_weights[thread] = exact_weight(thread - task.radius, task.sigma);
    __syncthreads();
#pragma unroll 1
    for (int item = thread; item < 3 * width; item += BLOCK_THREADS) {
        const int line = item / width, column = x - 1 - task.radius + item % width;
        double sum = 0.0;
#pragma unroll 1
        for (int tap = 0; tap < task.taps(); ++tap) {
            const int row = y - 1 + line + tap - task.radius;
            const bool inside =
                row >= 0 && row < task.rows && column >= 0 && column < task.columns;
            if (inside)
                sum += memory.exact_weights[tap] *
                       loaded(heatmap[static_cast<long long>(row) * task.columns + column]);
        }
        memory.exact_lines[item] = sum;
    }
    __syncthreads();
    if (thread < 9) {
        double sum = 0.0;
#pragma unroll 1
        for (int tap = 0; tap < task.taps(); ++tap)
            sum += memory.exact_weights[tap] *
                   memory.exact_lines[thread / 3 * width + thread % 3 + tap];
        memory.around[thread] = sum;
    }
    __syncthreads();
}

__device__ inline double clamped(double step) { return step < -1.0 ? -1.0 : step > 1.0 ? 1.0 : step; }

// From the middle of nine cells to the peak between them, x and y in cells.
__device__ __noinline__ void taylor_step(const double* around, double* step) {
    double logs[9];
    step[0] = step[1] = 0.0;
    if (!(around[4] > 0.0)) return;
#pragma unroll 1
    for (int i = 0; i < 9; ++i) {
        const double fraction = around[i] / around[4];
        logs[i] = log(fraction > LEAST_FRACTION ? fraction : LEAST_FRACTION);
    }
    const double gx = (logs[5] - logs[3]) / 2, gy = (logs[7] - logs[1]) / 2;
    const double xx = logs[3] + logs[5] - 2 * logs[4], yy = logs[1] + logs[7] - 2 * logs[4];
    const double xy = (logs[8] - logs[6] - logs[2] + logs[0]) / 4;
    const double difference = (xx - yy) / 2;
    const double largest = (xx + yy) / 2 + sqrt(difference * difference + xy * xy);  // eigenvalue
    if (!(largest < -LEAST_CURVATURE)) return;
    const double determinant = xx * yy - xy * xy;
    step[0] = clamped((xy * gy - yy * gx) / determinant);
    step[1] = clamped((xy * gx - xx * gy) / determinant);
}

__device__ inline double standing_out(float highest, float peak) {
    if (!(peak > 0.0f)) return 1.0;
    const double weight = double(highest) / peak - STANDS_OUT;
    return weight > 0.0 ? weight : 0.0;
}

// Variance, in cells squared, of the positions along an axis under what stands out.
__device__ __noinline__ double variance_of(const float* highest, int length, float peak,
                                     double* scratch) {
    double total = 0.0, moment = 0.0, square = 0.0;
#pragma unroll 1
    for (int i = threadIdx.x; i < length; i += BLOCK_THREADS) {
        const double weight = standing_out(__ldcg(highest + i), peak);
        total += weight;
        moment += weight * i;
    }
    total = over_block(Sum(), total, scratch);
    const double mean = over_block(Sum(), moment, scratch) / total;
#pragma unroll 1
    for (int i = threadIdx.x; i < length; i += BLOCK_THREADS)
        square += standing_out(__ldcg(highest + i), peak) * (i - mean) * (i - mean);
    return over_block(Sum(), square, scratch) / total;
}

struct Results {
    float *landmarks, *confidence, *spread;
};

// x and y in cells, variances in cells squared.
__device__ inline void write_results(const Task& task, int map, double x, double y,
                                     double variance_x, double variance_y, float peak, float given,
                                     const Results& results) {
    const float identity[4] = {1.0f, 0.0f, 1.0f, 0.0f};
    const float* affine = task.affine ? task.affine + 4LL * (map / task.maps_of_image) : identity;
    const double cell_x = double(task.width_px) / task.columns;
    const double cell_y = double(task.height_px) / task.rows;
    const double x_px = ((x + 0.5) * cell_x - 0.5) * affine[0] + affine[1];
    const double y_px = ((y + 0.5) * cell_y - 0.5) * affine[2] + affine[3];
    const double across = cell_x * affine[0], down = cell_y * affine[2];
    const double variance_px = variance_x * across * across + variance_y * down * down;
    const bool finite = peak - peak == 0.0f;
    const float nan = infinity() - infinity();
    results.landmarks[2LL * map] = finite ? float(x_px) : nan;
    results.landmarks[2LL * map + 1] = finite ? float(y_px) : nan;
    results.confidence[map] = given;
    results.spread[map] = finite ? float(sqrt(variance_px)) : nan;
}

// What the last block of a map does.
template <int tile_columns, typename Stored, typename Memory>
__device__ void finish(const Stored* heatmap, const Task& task, const Parts& parts, int map,
                       const Results& results, Memory& memory) {
    double* scratch = memory.scratch;
    const float peak = merge_tiles(parts.row(0), parts.tiles_across, task.rows, scratch);
    merge_tiles(parts.column(0), parts.tiles_down, task.columns, scratch);
    float given = -infinity();
#pragma unroll 1
    for (int i = threadIdx.x; i < parts.tiles(); i += BLOCK_THREADS)
        given = Larger()(__ldcg(parts.given() + i), given);
    given = over_block(Larger(), given, scratch);

    const float least = peak - TIE * (peak < 0.0f ? -peak : peak);
    const int y = first_of(parts.row(parts.tiles_across), task.rows, least, scratch);
    int tile = 0;
    while (tile < parts.tiles_across - 1 && !(__ldcg(parts.row(tile) + y) >= least)) ++tile;
    const int x = first_in_row<tile_columns>(heatmap, task, y, tile * tile_columns, least, memory);

    double step[2] = {0.0, 0.0};
    const bool inside = x > 0 && x < task.columns - 1 && y > 0 && y < task.rows - 1;
    if (inside && peak > 0.0f) {  // the same for all threads
        smooth_around(heatmap, task, y, x, memory);
        taylor_step(memory.around, step);
    }
    const double variance_x =
        variance_of(parts.column(parts.tiles_down), task.columns, peak, scratch);
    const double variance_y = variance_of(parts.row(parts.tiles_across), task.rows, peak, scratch);
    if (threadIdx.x == 0)
        write_results(task, map, x + step[0], y + step[1], variance_x, variance_y, peak, given,
                      results);
}
