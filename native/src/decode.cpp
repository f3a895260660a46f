#include "decode.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "error.h"

namespace mahtrt {
namespace {

constexpr double kWide = 3.0;             // times the usual spread
constexpr double kLeastUsualCells = 0.5;  // below, a spread says where in its cell a peak sits
constexpr float kUnknown = std::numeric_limits<float>::quiet_NaN();

}  // namespace

Decoder::Decoder(const ModelSpec& spec, const std::vector<TensorInfo>& outputs,
                 const std::vector<LandmarkAccuracy>& usual)
    : input_(spec.inputs.at(0).size) {
    if (spec.decode.method == DecodeMethod::kNone) return;
    landmarks_ = spec.landmarks.size();
    has_heatmap_ = spec.decode.heatmap_size.has_value();
    if (has_heatmap_) heatmap_ = *spec.decode.heatmap_size;
    points_ = number_of(OutputKind::kLandmarks, spec);
    if (points_ < 0)
        throw Error(MAHTRT_FAILED, sentence("network " + spec.family,
                                            "a decoding and no output of kind landmarks",
                                            "the decoding inside the graph"));
    frame_ = spec.outputs[static_cast<std::size_t>(points_)].frame;
    confidence_ = number_of(OutputKind::kConfidence, spec);
    spread_ = number_of(OutputKind::kSpread, spec);
    visibility_ = number_of(OutputKind::kVisibility, spec);
    if (visibility_ >= 0)
        threshold_ = spec.outputs[static_cast<std::size_t>(visibility_)].threshold;
    unit_ = unit_of(spread_ < 0 ? Frame::kNetwork
                                : spec.outputs[static_cast<std::size_t>(spread_)].frame);
    spread_scale_ = static_cast<float>(std::sqrt(unit_.x * unit_.y));
    check_sizes(outputs);
    find_usual(spec, usual);
}

int Decoder::number_of(OutputKind kind, const ModelSpec& spec) {
    for (std::size_t i = 0; i < spec.outputs.size(); ++i) {
        if (spec.outputs[i].kind != kind) continue;
        needed_.push_back(i);
        return static_cast<int>(i);
    }
    return -1;
}

void Decoder::check_sizes(const std::vector<TensorInfo>& outputs) const {
    for (const int number : {points_, confidence_, spread_, visibility_}) {
        if (number < 0) continue;
        const TensorInfo& output = outputs.at(static_cast<std::size_t>(number));
        const std::size_t wanted = landmarks_ * (number == points_ ? 2 : 1) *
                                   static_cast<std::size_t>(output.shape.at(0));
        if (output.floats() != wanted)
            throw Error(MAHTRT_FAILED, sentence("output " + quoted(output.name),
                                                std::to_string(output.floats()) + " values",
                                                std::to_string(wanted)));
    }
}

void Decoder::find_usual(const ModelSpec& spec, const std::vector<LandmarkAccuracy>& usual) {
    double cell_px = 1;
    if (has_heatmap_)
        cell_px = std::sqrt(static_cast<double>(std::int64_t{input_.height} * input_.width) /
                            static_cast<double>(std::int64_t{heatmap_.height} * heatmap_.width));
    bool known = false;
    std::vector<double> least;
    for (const std::string& name : spec.landmarks) {
        double spread_px = std::numeric_limits<double>::quiet_NaN();
        for (const LandmarkAccuracy& each : usual)
            if (each.name == name) spread_px = each.usual_spread_px;
        known = known || std::isfinite(spread_px);
        const double floored =
            std::isnan(spread_px) ? spread_px : std::max(spread_px, kLeastUsualCells * cell_px);
        least.push_back(kWide * floored);
    }
    if (known) least_wide_px_ = std::move(least);
}

// Products and sums of 32 bits, as NumPy computes them.
void Decoder::network_from_output(Frame frame, float& x, float& y) const {
    if (frame == Frame::kNormalized) {
        x = x * static_cast<float>(input_.width) - 0.5F;
        y = y * static_cast<float>(input_.height) - 0.5F;
    } else if (frame == Frame::kHeatmap && has_heatmap_) {
        const double width = input_.width, height = input_.height;
        x = (x + 0.5F) * static_cast<float>(width / heatmap_.width) - 0.5F;
        y = (y + 0.5F) * static_cast<float>(height / heatmap_.height) - 0.5F;
    }
}

Decoder::Unit Decoder::unit_of(Frame frame) const {
    float x0 = 0, y0 = 0, x1 = 1, y1 = 1;
    network_from_output(frame, x0, y0);
    network_from_output(frame, x1, y1);
    return {static_cast<double>(x1 - x0), static_cast<double>(y1 - y0)};
}

std::vector<float> Decoder::points_px(const float* points) const {
    std::vector<float> found(points, points + 2 * landmarks_);
    for (std::size_t k = 0; k < landmarks_; ++k)
        network_from_output(frame_, found[2 * k], found[2 * k + 1]);
    return found;
}

int Decoder::two_peaks(std::size_t landmark, float spread_px) const {
    if (least_wide_px_.empty()) return -1;
    return std::isfinite(spread_px) && double{spread_px} > least_wide_px_[landmark] ? 1 : 0;
}

void Decoder::decode(const std::vector<const float*>& outputs, const Placement& placement,
                     const Spacing& spacing, mahtrt_landmark* landmarks) const {
    const auto value = [&](int output, std::size_t k) {
        return output < 0 ? kUnknown : outputs[static_cast<std::size_t>(output)][k];
    };
    if (landmarks_ == 0) return;
    const std::vector<float> points = points_px(outputs[static_cast<std::size_t>(points_)]);
    const double mean_scale = std::sqrt(placement.scale_x * placement.scale_y);
    for (std::size_t k = 0; k < landmarks_; ++k) {
        mahtrt_landmark& found = landmarks[k];
        found.x_px = static_cast<float>(placement.x_image(double{points[2 * k]}));
        found.y_px = static_cast<float>(placement.y_image(double{points[2 * k + 1]}));
        found.confidence = value(confidence_, k);
        const float spread = value(spread_, k);
        const float spread_px = spread * spread_scale_;
        found.spread_px = static_cast<float>(double{spread_px} / mean_scale);
        // Both axes make up the spread: of a round heatmap each has half of its square.
        const double root = std::sqrt(2.0);
        found.spread_x_px = static_cast<float>(spread * (unit_.x / placement.scale_x / root));
        found.spread_y_px = static_cast<float>(spread * (unit_.y / placement.scale_y / root));
        found.x_mm = found.y_mm = kUnknown;
        if (spacing.known()) {
            found.x_mm = found.x_px * static_cast<float>(spacing.column_mm);
            found.y_mm = found.y_px * static_cast<float>(spacing.row_mm);
        }
        found.visibility = value(visibility_, k);
        found.visible = visibility_ < 0 ? -1 : double{found.visibility} >= threshold_;
        found.two_peaks = two_peaks(k, spread_px);
    }
}

}  // namespace mahtrt
