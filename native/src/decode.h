// Outputs of a network to landmarks in the pixels of the image: "From outputs to landmarks" of
// docs/bundle-format.md, with the roundings of mahtrt's Python.
#pragma once

#include <cstddef>
#include <vector>

#include "engine.h"
#include "mahtrt.h"
#include "manifest.h"
#include "prepare.h"
#include "spec.h"

namespace mahtrt {

struct Spacing {
    double row_mm = 0, column_mm = 0;  // 0: not known

    bool known() const noexcept { return row_mm > 0 && column_mm > 0; }
};

class Decoder {
  public:
    // outputs: the engine's, in the order of the spec. usual: the spreads that the build measured.
    // Throws Error MAHTRT_FAILED where the spec promises landmarks that no output holds.
    Decoder(const ModelSpec& spec, const std::vector<TensorInfo>& outputs,
            const std::vector<LandmarkAccuracy>& usual);

    // 0 for a network without landmarks.
    std::size_t landmarks() const noexcept { return landmarks_; }

    // Points (K, 2) of one case as the network gave them, in pixels of its first input.
    std::vector<float> points_px(const float* points) const;

    // The landmarks of one case.
    // outputs: where each output's values of the case begin, in the order of the spec; only those
    // of needed() have to be there.
    void decode(const std::vector<const float*>& outputs, const Placement& placement,
                const Spacing& spacing, mahtrt_landmark* landmarks) const;

    // Numbers of the outputs that decode() reads; of landmarks, confidence, spread, visibility.
    const std::vector<std::size_t>& needed() const noexcept { return needed_; }
    std::size_t points_output() const noexcept { return static_cast<std::size_t>(points_); }

  private:
    struct Unit {
        double x = 1, y = 1;
    };

    int number_of(OutputKind kind, const ModelSpec& spec);
    void check_sizes(const std::vector<TensorInfo>& outputs) const;
    Unit unit_of(Frame frame) const;
    void network_from_output(Frame frame, float& x, float& y) const;
    void find_usual(const ModelSpec& spec, const std::vector<LandmarkAccuracy>& usual);
    int two_peaks(std::size_t landmark, float spread_px) const;

    std::size_t landmarks_ = 0;
    int points_ = -1, confidence_ = -1, spread_ = -1, visibility_ = -1;
    Frame frame_ = Frame::kNetwork;
    Size input_, heatmap_;
    bool has_heatmap_ = false;
    Unit unit_;
    float spread_scale_ = 1;
    double threshold_ = 0.5;
    std::vector<double> least_wide_px_;  // empty where no usual spread is known; NaN where unknown
    std::vector<std::size_t> needed_;
};

}  // namespace mahtrt
