// Landmarks from smoothed peaks and a Taylor step: mahtrt/runtime/dark.py defines it, and says why.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernel_decode.h"

namespace mahtrt {
namespace {

constexpr double kTie = 1e-5, kLeastFraction = 1e-10, kLeastCurvature = 1e-3, kMostStep = 1.0,
                 kStandsOut = 0.5;

using Line = std::vector<double>;

// Values of a map in double precision, row by row.
struct Map {
    std::size_t rows, columns;
    Line cells;

    double at(std::size_t y, std::size_t x) const { return cells[y * columns + x]; }
};

Line gaussian(double sigma) {
    const int radius = static_cast<int>(std::ceil(2.5 * sigma));
    Line weights;
    double sum = 0;
    for (int i = -radius; i <= radius; ++i) {
        const double distance = static_cast<double>(i);
        weights.push_back(std::exp(-(distance * distance) / (2 * sigma * sigma)));
        sum += weights.back();
    }
    for (double& each : weights) each /= sum;
    return weights;
}

// Adds each tap's product to all cells in turn, which is the order of the definition. `step` cells
// lie between neighbours along the axis, of which there are `length`.
Map smooth_axis(const Map& map, const Line& weights, bool along_rows) {
    Map smoothed{map.rows, map.columns, Line(map.cells.size(), 0.0)};
    const auto radius = static_cast<std::ptrdiff_t>(weights.size() / 2);
    const auto length = static_cast<std::ptrdiff_t>(along_rows ? map.columns : map.rows);
    const std::size_t step = along_rows ? 1 : map.columns,
                      lines = along_rows ? map.rows : map.columns;
    const std::size_t line_step = along_rows ? map.columns : 1;
    for (std::ptrdiff_t tap = -radius; tap <= radius; ++tap) {
        const double weight = weights[static_cast<std::size_t>(tap + radius)];
        const std::ptrdiff_t first = std::max<std::ptrdiff_t>(0, -tap);
        const std::ptrdiff_t end = std::min(length, length - tap);
        for (std::size_t line = 0; line < lines; ++line)
            for (std::ptrdiff_t i = first; i < end; ++i) {
                const std::size_t to = line * line_step + static_cast<std::size_t>(i) * step;
                const std::size_t from =
                    line * line_step + static_cast<std::size_t>(i + tap) * step;
                smoothed.cells[to] += weight * map.cells[from];
            }
    }
    return smoothed;
}

struct Cells {
    double x = 0, y = 0;
};

// From the middle of (3, 3) positive values to the peak between them.
Cells taylor_step(const Map& map, std::size_t y, std::size_t x) {
    double logs[3][3];
    for (std::size_t i = 0; i < 3; ++i)
        for (std::size_t j = 0; j < 3; ++j)
            logs[i][j] =
                std::log(std::max(map.at(y + i - 1, x + j - 1) / map.at(y, x), kLeastFraction));
    const double gx = (logs[1][2] - logs[1][0]) / 2, gy = (logs[2][1] - logs[0][1]) / 2;
    const double xx = logs[1][0] + logs[1][2] - 2 * logs[1][1];
    const double yy = logs[0][1] + logs[2][1] - 2 * logs[1][1];
    const double xy = (logs[2][2] - logs[2][0] - logs[0][2] + logs[0][0]) / 4;
    const double half_difference = (xx - yy) / 2;
    const double larger_eigenvalue =
        (xx + yy) / 2 + std::sqrt(half_difference * half_difference + xy * xy);
    if (!(larger_eigenvalue < -kLeastCurvature)) return {};
    const double determinant = xx * yy - xy * xy;
    const double step_x = -(yy * gx - xy * gy) / determinant;
    const double step_y = -(xx * gy - xy * gx) / determinant;
    return {std::clamp(step_x, -kMostStep, kMostStep), std::clamp(step_y, -kMostStep, kMostStep)};
}

Cells position(const Map& map, double peak) {
    const double least = peak - kTie * std::abs(peak);
    const auto found = std::find_if(map.cells.begin(), map.cells.end(),
                                    [&](double value) { return value >= least; });
    const auto index = static_cast<std::size_t>(found - map.cells.begin());
    const std::size_t y = index / map.columns, x = index % map.columns;
    const bool inside = x > 0 && y > 0 && x + 1 < map.columns && y + 1 < map.rows;
    Cells place{static_cast<double>(x), static_cast<double>(y)};
    if (!inside || !(peak > 0)) return place;
    const Cells step = taylor_step(map, y, x);
    return {place.x + step.x, place.y + step.y};
}

// Standard deviation in cells of what stands out, from the highest value of each line.
double deviation(const Line& highest, double peak) {
    const auto weight = [&](std::size_t i) {
        return peak > 0 ? std::max(highest[i] / peak - kStandsOut, 0.0) : 1.0;
    };
    double sum = 0, mean = 0, variance = 0;
    for (std::size_t i = 0; i < highest.size(); ++i) {
        sum += weight(i);
        mean += weight(i) * static_cast<double>(i);
    }
    mean /= sum;
    for (std::size_t i = 0; i < highest.size(); ++i) {
        const double distance = static_cast<double>(i) - mean;
        variance += weight(i) * (distance * distance);
    }
    return std::sqrt(variance / sum);
}

Cells deviations(const Map& map, double peak) {
    const double none = -std::numeric_limits<double>::infinity();
    Line of_columns(map.columns, none), of_rows(map.rows, none);
    for (std::size_t y = 0; y < map.rows; ++y)
        for (std::size_t x = 0; x < map.columns; ++x) {
            of_columns[x] = std::max(of_columns[x], map.at(y, x));
            of_rows[y] = std::max(of_rows[y], map.at(y, x));
        }
    return {deviation(of_columns, peak), deviation(of_rows, peak)};
}

bool is_finite(const float* map, std::size_t cells) {
    return std::all_of(map, map + cells, [](float value) { return std::isfinite(value); });
}

}  // namespace

DecodedPoint dark(const float* map, std::int64_t rows, std::int64_t columns, double sigma,
                  const Size& input_size) {
    const auto height = static_cast<std::size_t>(rows), width = static_cast<std::size_t>(columns);
    const double nan = std::numeric_limits<double>::quiet_NaN();
    if (!is_finite(map, height * width)) return {nan, nan, nan, nan};  // no heatmap
    const Map given{height, width, Line(map, map + height * width)};
    const Line weights = gaussian(sigma);
    const Map smoothed = smooth_axis(smooth_axis(given, weights, false), weights, true);
    const double peak = *std::max_element(smoothed.cells.begin(), smoothed.cells.end());
    const double scale_x = static_cast<double>(input_size.width) / static_cast<double>(columns);
    const double scale_y = static_cast<double>(input_size.height) / static_cast<double>(rows);
    const Cells place = position(smoothed, peak), widths = deviations(smoothed, peak);
    return {(place.x + 0.5) * scale_x - 0.5, (place.y + 0.5) * scale_y - 0.5,
            *std::max_element(given.cells.begin(), given.cells.end()),
            std::hypot(widths.x * scale_x, widths.y * scale_y)};
}

}  // namespace mahtrt
