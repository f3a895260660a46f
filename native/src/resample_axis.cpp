#include "resample_axis.h"

#include <algorithm>
#include <cmath>

namespace mahtrt {
namespace {

constexpr std::int64_t kCubicOne = std::int64_t{1} << 22;

std::int64_t floor_divided(std::int64_t value, std::int64_t by) noexcept {
    return value >= 0 ? value / by : -((by - 1 - value) / by);
}

// Keys' weights with a = -0.75 of a new pixel that lies u behind the second of four.
std::array<std::int32_t, 4> cubic_weights(double u) noexcept {
    const double v = 1.0 - u;
    const double k0 = ((-0.75 * (u + 1.0) + 3.75) * (u + 1.0) - 6.0) * (u + 1.0) + 3.0;
    const double k1 = (1.25 * u - 2.25) * u * u + 1.0;
    const double k2 = (1.25 * v - 2.25) * v * v + 1.0;
    std::array<std::int32_t, 4> weights{};
    std::int64_t rest = kCubicOne;
    const double exact[3] = {k0, k1, k2};
    for (std::size_t k = 0; k < 3; ++k) {
        weights[k] = static_cast<std::int32_t>(std::floor(exact[k] * 4194304.0 + 0.5));
        rest -= weights[k];
    }
    weights[3] = static_cast<std::int32_t>(rest);
    return weights;
}

double filter_linear(double x) noexcept {
    x = std::fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

double filter_cubic(double x) noexcept {
    x = std::fabs(x);
    if (x < 1.0) return (1.5 * x - 2.5) * x * x + 1.0;
    if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5;
    return 0.0;
}

}  // namespace

ExactAxis::ExactAxis(Interpolation interpolation, std::int64_t old_length, std::int64_t new_length)
    : kind_(Kind::kSame), old_(old_length), new_(new_length) {
    if (old_ == new_) return;
    switch (interpolation) {
        case Interpolation::kArea:
            kind_ = new_ < old_ ? Kind::kMean : Kind::kLinear;
            break;
        case Interpolation::kCubic:
            kind_ = Kind::kCubic;
            break;
        case Interpolation::kNearest:
            kind_ = Kind::kNearest;
            break;
        case Interpolation::kNearestFloor:
            kind_ = Kind::kNearestFloor;
            break;
        default:
            kind_ = Kind::kLinear;
    }
}

int ExactAxis::tap_count() const noexcept {
    return kind_ == Kind::kCubic ? 4 : kind_ == Kind::kLinear ? 2 : 1;
}

std::int64_t ExactAxis::sum() const noexcept {
    switch (kind_) {
        case Kind::kMean:
            return old_;
        case Kind::kLinear:
            return 2 * new_;
        case Kind::kCubic:
            return kCubicOne;
        default:
            return 1;
    }
}

Taps ExactAxis::taps(std::int64_t pixel) const noexcept {
    if (kind_ == Kind::kSame) return {pixel, {1}};
    if (kind_ == Kind::kNearestFloor) return {pixel * old_ / new_, {1}};
    const std::int64_t whole = 2 * new_;
    if (kind_ == Kind::kNearest) return {(2 * pixel + 1) * old_ / whole, {1}};
    const std::int64_t place = (2 * pixel + 1) * old_ - new_;
    const std::int64_t first = floor_divided(place, whole);
    const std::int64_t rest = place - first * whole;
    if (kind_ == Kind::kCubic)
        return {first - 1, cubic_weights(static_cast<double>(rest) / static_cast<double>(whole))};
    return {first, {static_cast<std::int32_t>(whole - rest), static_cast<std::int32_t>(rest)}};
}

ExactAxis::Range ExactAxis::range(Kept kept) const noexcept {
    const std::int64_t last = kept.first + kept.count - 1;
    if (is_mean()) return {edge(kept.first) / new_, (edge(last + 1) + new_ - 1) / new_};
    return {std::clamp<std::int64_t>(taps(kept.first).first, 0, old_ - 1),
            std::clamp<std::int64_t>(taps(last).first + tap_count(), 1, old_)};
}

AntialiasedAxis::AntialiasedAxis(Interpolation interpolation, std::int64_t old_length,
                                 std::int64_t new_length, Kept kept) {
    const bool cubic = interpolation == Interpolation::kAntialiasedCubic;
    const auto filter = cubic ? filter_cubic : filter_linear;
    const double scale = static_cast<double>(old_length) / static_cast<double>(new_length);
    const double stretch = std::max(scale, 1.0);
    const double support = (cubic ? 2.0 : 1.0) * stretch;
    const double inverse = 1.0 / stretch;
    const auto centre_of = [&](std::int64_t i) {
        return (static_cast<double>(kept.first + i) + 0.5) * scale;
    };
    for (std::int64_t i = 0; i < kept.count; ++i) {
        const double centre = centre_of(i);
        const auto first = static_cast<std::int64_t>(centre - support + 0.5);
        const auto end = static_cast<std::int64_t>(centre + support + 0.5);
        Window window;
        window.first = std::max<std::int64_t>(0, first);
        window.count = static_cast<std::int32_t>(std::min(old_length, end) - window.first);
        windows.push_back(window);
        longest = std::max(longest, (window.count + 7) / 8 * 8);
    }
    weights.assign(static_cast<std::size_t>(kept.count) * static_cast<std::size_t>(longest), 0);
    std::vector<double> exact(static_cast<std::size_t>(longest));
    for (std::size_t i = 0; i < windows.size(); ++i) {
        const double centre = centre_of(static_cast<std::int64_t>(i));
        const auto count = static_cast<std::size_t>(windows[i].count);
        double total = 0.0;
        for (std::size_t k = 0; k < count; ++k) {
            const auto pixel = static_cast<double>(windows[i].first + static_cast<std::int64_t>(k));
            exact[k] = filter((pixel - centre + 0.5) * inverse);
            total += exact[k];
        }
        std::int32_t* row = weights.data() + i * static_cast<std::size_t>(longest);
        for (std::size_t k = 0; k < count; ++k) {
            const double weight = exact[k] / total;
            row[k] = static_cast<std::int32_t>(weight * 4194304.0 + (weight >= 0.0 ? 0.5 : -0.5));
        }
    }
}

}  // namespace mahtrt
