// Landmarks as the mean position under a softmax: mahtrt/runtime/soft_argmax.py defines it.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernel_decode.h"

namespace mahtrt {
namespace {

constexpr double kLeastVariance = 1e-12;  // square pixels

// NaN where one of the values is.
double highest(const float* map, std::size_t cells) {
    double peak = -std::numeric_limits<double>::infinity();
    for (std::size_t i = 0; i < cells; ++i) {
        const double value = static_cast<double>(map[i]);
        if (std::isnan(value)) return value;
        peak = std::max(peak, value);
    }
    return peak;
}

struct Moments {
    double mean = 0, variance = 0;  // pixels, square pixels
};

Moments moments(const std::vector<double>& weights, double total, std::int32_t pixels) {
    const auto count = static_cast<double>(weights.size());
    const double step = static_cast<double>(pixels) / count;
    const auto position = [&](std::size_t i) {
        return (static_cast<double>(i) + 0.5) * step - 0.5;
    };
    Moments found;
    for (std::size_t i = 0; i < weights.size(); ++i) found.mean += weights[i] / total * position(i);
    for (std::size_t i = 0; i < weights.size(); ++i) {
        const double distance = position(i) - found.mean;
        found.variance += weights[i] / total * (distance * distance);
    }
    return found;
}

}  // namespace

DecodedPoint soft_argmax(const float* map, std::int64_t rows, std::int64_t columns,
                         double temperature, const Size& input_size) {
    const auto height = static_cast<std::size_t>(rows), width = static_cast<std::size_t>(columns);
    const double peak = highest(map, height * width);
    const double divisor = static_cast<double>(static_cast<float>(temperature));
    std::vector<double> of_columns(width, 0), of_rows(height, 0);
    double total = 0;
    for (std::size_t y = 0; y < height; ++y) {
        double sum = 0;
        for (std::size_t x = 0; x < width; ++x) {
            const double weight =
                std::exp((static_cast<double>(map[y * width + x]) - peak) / divisor);
            of_columns[x] += weight;
            sum += weight;
        }
        of_rows[y] = sum;
        total += sum;
    }
    const Moments x = moments(of_columns, total, input_size.width);
    const Moments y = moments(of_rows, total, input_size.height);
    const double variance = x.variance + y.variance;
    // Not std::max, which loses a NaN.
    const double spread = std::sqrt(variance < kLeastVariance ? kLeastVariance : variance);
    return {x.mean, y.mean, peak, spread};
}

}  // namespace mahtrt
