// Preprocessing of an image in one kernel: gray from RGB, resize, letterbox or crop, normalise.
//
// docs/preprocessing.md defines every grey level: a weighted sum of integers over the sum of the
// weights, rounded once. Sums of integers are the same in any order, so this kernel gives the same
// on every GPU, and exactly what mahtrt/data/preprocess.py gives. It knows area and linear.
//
// A block has 256 threads, 32 columns times 8. The threads of a warp make 32 new pixels of one row
// and read neighbouring columns of the same image row: what two of them read of one line comes from
// memory once. Where an axis shrinks by much, the 8 threads of a column share the image rows of a
// new pixel (`shares` of them each) and add up in shared memory; otherwise they make pixels of 8
// rows. Inside of a row the weights of a mean are equal, so only the first and the last pixel need
// a product, and a row has one of 64 bits. One thread writes one value per channel; neighbouring
// threads write neighbouring values.
//
// The image has at most 32,767 pixels on a side, a sum less than 2^60.

#include "gpu.cuh"

#define BLOCK_THREADS 256
#define BLOCK_COLUMNS 32
#define BLOCK_ROWS 8

enum Method { SAME, MEAN, LINEAR };

struct Image {
    const unsigned char* bytes;
    long long pitch;  // bytes
    int height, width;
};

// Which pixels of an axis a new one is made of, and their weights.
struct Span {
    int first, last;
    unsigned first_weight, middle_weight, last_weight;  // the last's is unused where first == last
};

struct Axis {
    int length, count;  // pixels of the image, and new ones
    int method;

    __device__ unsigned whole_weight() const {
        return method == MEAN ? length : method == LINEAR ? 2 * count : 1;
    }

    __device__ Span span(int at) const {
        return method == MEAN ? mean(at) : method == LINEAR ? linear(at) : Span{at, at, 1, 0, 0};
    }

    // New pixel `at` covers at * length to (at + 1) * length, in 1 / count of a pixel.
    __device__ Span mean(int at) const {
        const unsigned begin = unsigned(at) * length, end = begin + length;
        const int first = begin / count, last = (end - 1) / count;
        const unsigned before = begin - unsigned(first) * count;
        const unsigned reached = end - unsigned(last) * count;
        const unsigned first_weight = first == last ? length : count - before;
        return Span{first, last, first_weight, unsigned(count), reached};
    }

    // Between the centres of two pixels, `part` of 2 * count of the way.
    __device__ Span linear(int at) const {
        const unsigned whole = 2 * count;
        // One pixel further, for a quotient that is not negative: -1 is before the first.
        const long long place = (2LL * at + 1) * length - count + whole;
        const int before = int(place / whole) - 1;
        const unsigned part = unsigned(place % whole);
        if (before < 0) return Span{0, 0, whole, 0, 0};
        if (before >= length - 1) return Span{length - 1, length - 1, whole, 0, 0};
        return Span{before, before + 1, whole - part, 0, part};
    }
};

// Of a pixel: its grey level, its three samples, or the grey level made of them.
struct Gray {
    enum { stride = 1, samples = 1 };
    template <typename Sample>
    __device__ static void read(const Sample* pixel, unsigned* values) {
        values[0] = pixel[0];
    }
};

struct Rgb {
    enum { stride = 3, samples = 3 };
    template <typename Sample>
    __device__ static void read(const Sample* pixel, unsigned* values) {
        for (int i = 0; i < 3; ++i) values[i] = pixel[i];
    }
};

struct GrayFromRgb {
    enum { stride = 3, samples = 1 };
    template <typename Sample>
    __device__ static void read(const Sample* pixel, unsigned* values) {
        values[0] = (pixel[0] * 9798u + pixel[1] * 19235u + pixel[2] * 3735u + 16384u) >> 15;
    }
};

template <typename Sample>
__device__ const Sample* row_of(const Image& image, int y) {
    return reinterpret_cast<const Sample*>(image.bytes + y * image.pitch);
}

// Adds the weighted pixels of one image row to the sums.
template <typename Pixel, typename Sample>
__device__ void add_row(const Sample* row, const Span& across, unsigned row_weight,
                        unsigned long long* sums) {
    unsigned first[Pixel::samples], middle[Pixel::samples], last[Pixel::samples];
    Pixel::read(row + across.first * Pixel::stride, first);
    for (int i = 0; i < Pixel::samples; ++i) middle[i] = last[i] = 0;
    for (int x = across.first + 1; x < across.last; ++x) {
        unsigned values[Pixel::samples];
        Pixel::read(row + x * Pixel::stride, values);
        for (int i = 0; i < Pixel::samples; ++i) middle[i] += values[i];
    }
    if (across.last > across.first) Pixel::read(row + across.last * Pixel::stride, last);
    for (int i = 0; i < Pixel::samples; ++i) {
        unsigned long long sum = static_cast<unsigned long long>(first[i]) * across.first_weight;
        sum += static_cast<unsigned long long>(middle[i]) * across.middle_weight;
        sum += static_cast<unsigned long long>(last[i]) * across.last_weight;
        sums[i] += sum * row_weight;
    }
}

// The sums over image rows first + share, first + share + shares, ...
template <typename Pixel, typename Sample>
__device__ void add_rows(const Image& image, const Span& down, const Span& across, int share,
                         int shares, unsigned long long* sums) {
#pragma unroll 1
    for (int y = down.first + share; y <= down.last; y += shares) {
        const unsigned weight = y == down.first  ? down.first_weight
                                : y == down.last ? down.last_weight
                                                 : down.middle_weight;
        add_row<Pixel>(row_of<Sample>(image, y), across, weight, sums);
    }
}

// The nearest quotient, and of two as near the even one.
__device__ __noinline__ unsigned rounded(unsigned long long sum, unsigned long long whole) {
    const unsigned long long twice = 2 * sum + whole;
    const unsigned long long level = twice / (2 * whole);
    const bool tie = level * (2 * whole) == twice;
    return unsigned(level - (tie ? level & 1 : 0));
}

struct Target {
    int top, left;  // of the resized image
    int height, width, channels;
    bool reverse;
    unsigned pad;
    float gain[3], shift[3];
};

__device__ inline void store(float* place, float value) { *place = value; }

__device__ inline void store(unsigned short* place, float value) {
    *place = half_bits_from_float(value);
}

template <int samples, typename Value>
__device__ void write(const unsigned* levels, const Target& target, int y, int x, Value* tensor) {
    const long long plane = static_cast<long long>(target.height) * target.width;
    Value* place = tensor + static_cast<long long>(y) * target.width + x;
#pragma unroll
    for (int channel = 0; channel < 3; ++channel) {  // known numbers keep arrays in registers
        if (channel >= target.channels) break;
        unsigned level = levels[0];
        if (samples == 3) level = target.reverse ? levels[(2 - channel) % samples] : levels[channel % samples];
        const float product = __fmul_rn(float(level), target.gain[channel]);
        store(place + channel * plane, __fadd_rn(product, target.shift[channel]));
    }
}

template <typename Pixel, typename Sample, typename Value>
__device__ void preprocess(const Image& image, const Axis& down, const Axis& across, int shares,
                           const Target& target, Value* tensor) {
    __shared__ unsigned long long of_thread[Pixel::samples][BLOCK_THREADS];
    const int thread = threadIdx.x, line = thread / BLOCK_COLUMNS;
    const int x = blockIdx.x * BLOCK_COLUMNS + thread % BLOCK_COLUMNS;
    const int y = blockIdx.y * (BLOCK_ROWS / shares) + line / shares;
    const int share = line % shares;
    const int new_x = x - target.left, new_y = y - target.top;
    const bool on_target = x < target.width && y < target.height;
    const bool on_image = on_target && new_x >= 0 && new_x < across.count && new_y >= 0 &&
                          new_y < down.count;
    unsigned levels[Pixel::samples];
    for (int i = 0; i < Pixel::samples; ++i) levels[i] = target.pad;
    unsigned long long sums[Pixel::samples] = {};
    if (on_image)
        add_rows<Pixel, Sample>(image, down.span(new_y), across.span(new_x), share, shares, sums);
    for (int i = 0; i < Pixel::samples; ++i) of_thread[i][thread] = sums[i];
    __syncthreads();
    const unsigned long long whole =
        static_cast<unsigned long long>(down.whole_weight()) * across.whole_weight();
    for (int i = 0; share == 0 && on_image && i < Pixel::samples; ++i) {
        for (int other = 1; other < shares; ++other)
            sums[i] += of_thread[i][thread + other * BLOCK_COLUMNS];
        levels[i] = rounded(sums[i], whole);
    }
    if (on_target && share == 0) write<Pixel::samples>(levels, target, y, x, tensor);
}

// Sizes are in pixels, those of the image, of the resized image and of the tensor's plane.
#define KERNEL(name, Sample, Value)                                                                \
    extern "C" __global__ void __launch_bounds__(BLOCK_THREADS)                                    \
        name(const unsigned char* bytes, long long pitch, int height, int width, int samples,      \
             int new_height, int new_width, int top, int left, int target_height,                  \
             int target_width, int channels, int reverse, int method_down, int method_across,      \
             int shares, int pad, float gain_0, float gain_1, float gain_2,          \
             float shift_0, float shift_1, float shift_2, Value* tensor) {                         \
        const Image image{bytes, pitch, height, width};                                            \
        const Axis down{height, new_height, method_down};                                          \
        const Axis across{width, new_width, method_across};                                        \
        const Target target{top,                                                                   \
                            left,                                                                  \
                            target_height,                                                         \
                            target_width,                                                          \
                            channels,                                                              \
                            reverse != 0,                                                          \
                            unsigned(pad),                                                         \
                            {gain_0, gain_1, gain_2},                                              \
                            {shift_0, shift_1, shift_2}};                                          \
        if (samples == 1)                                                                          \
            preprocess<Gray, Sample>(image, down, across, shares, target, tensor);       \
        else if (channels == 1)                                                                    \
            preprocess<GrayFromRgb, Sample>(image, down, across, shares, target, tensor);\
        else                                                                                       \
            preprocess<Rgb, Sample>(image, down, across, shares, target, tensor);        \
    }

KERNEL(mahtrt_preprocess_u8_f32, unsigned char, float)
KERNEL(mahtrt_preprocess_u8_f16, unsigned char, unsigned short)
KERNEL(mahtrt_preprocess_u16_f32, unsigned short, float)
KERNEL(mahtrt_preprocess_u16_f16, unsigned short, unsigned short)
