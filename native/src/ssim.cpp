#include "ssim.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace mahtrt {
namespace {

using Plane = std::vector<double>;

constexpr int kWindow = 11, kEdge = kWindow / 2;
constexpr double kSigma = 1.5, kK1 = 0.01, kK2 = 0.03;

std::array<double, kWindow> window() {
    std::array<double, kWindow> weights{};
    double sum = 0;
    for (int i = 0; i < kWindow; ++i) {
        const double x = i - kEdge;
        weights[static_cast<std::size_t>(i)] = std::exp(-x * x / (2 * kSigma * kSigma));
        sum += weights[static_cast<std::size_t>(i)];
    }
    for (double& each : weights) each /= sum;
    return weights;
}

// A place beyond the border is mirrored at the first or the last pixel, as often as it takes.
std::size_t mirrored(long place, std::size_t length) {
    const long last = static_cast<long>(length) - 1;
    if (last == 0) return 0;
    while (place < 0 || place > last) place = place < 0 ? -place : 2 * last - place;
    return static_cast<std::size_t>(place);
}

// Weighted means along one axis: `step` from one value to the next, `lines` of them.
Plane blurred_along(const Plane& plane, std::size_t length, std::size_t step, std::size_t lines,
                    std::size_t line_step) {
    static const std::array<double, kWindow> weights = window();
    Plane means(plane.size());
    for (std::size_t line = 0; line < lines; ++line) {
        for (std::size_t i = 0; i < length; ++i) {
            double sum = 0;
            for (int k = 0; k < kWindow; ++k)
                sum += weights[static_cast<std::size_t>(k)] *
                       plane[line * line_step +
                             step * mirrored(static_cast<long>(i) + k - kEdge, length)];
            means[line * line_step + step * i] = sum;
        }
    }
    return means;
}

Plane blurred(const Plane& plane, std::size_t rows, std::size_t columns) {
    return blurred_along(blurred_along(plane, columns, 1, rows, columns), rows, columns, columns,
                         1);
}

Plane product(const Plane& left, const Plane& right) {
    Plane found(left.size());
    std::transform(left.begin(), left.end(), right.begin(), found.begin(),
                   [](double a, double b) { return a * b; });
    return found;
}

}  // namespace

double ssim(const Plane& ours, const Plane& theirs, std::size_t rows, std::size_t columns,
            double data_range) {
    const double c1 = std::pow(kK1 * data_range, 2), c2 = std::pow(kK2 * data_range, 2);
    const Plane mean_a = blurred(ours, rows, columns), mean_b = blurred(theirs, rows, columns);
    const Plane square_a = blurred(product(ours, ours), rows, columns);
    const Plane square_b = blurred(product(theirs, theirs), rows, columns);
    const Plane cross = blurred(product(ours, theirs), rows, columns);
    const std::size_t row_edge = rows >= kWindow ? kEdge : 0;
    const std::size_t column_edge = columns >= kWindow ? kEdge : 0;
    double sum = 0;
    std::size_t count = 0;
    for (std::size_t y = row_edge; y < rows - row_edge; ++y) {
        for (std::size_t x = column_edge; x < columns - column_edge; ++x, ++count) {
            const std::size_t at = y * columns + x;
            const double a = mean_a[at], b = mean_b[at];
            const double above = (2 * a * b + c1) * (2 * (cross[at] - a * b) + c2);
            const double below =
                (a * a + b * b + c1) * (square_a[at] - a * a + square_b[at] - b * b + c2);
            sum += above / below;
        }
    }
    return std::clamp(sum / static_cast<double>(count), -1.0, 1.0);
}

}  // namespace mahtrt
