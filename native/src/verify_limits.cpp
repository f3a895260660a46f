#include "verify_limits.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace mahtrt {
namespace {

// For another machine, which rounds differently: a quarter more than what the build measured.
constexpr double kWidened = 1.25;
constexpr double kUsualPx = 0.25, kUsualWorstLandmarkPx = 1.0;
constexpr double kRounding = 1e-9;  // of a number of decisions

Budgets usual_budgets() {
    Budgets usual;
    usual.budget_px = kUsualPx;
    usual.worst_landmark_px = kUsualWorstLandmarkPx;
    usual.fp32_px = 0.01;
    usual.fp32_max_px = 0.1;
    return usual;
}

// Limits that are narrower than what was found are widened to it, and a quarter more.
void allow(double& limit, double found) {
    if (found == found) limit = std::max(limit, kWidened * found);
}

void allow(std::optional<double>& limit, double found) {
    if (limit) allow(*limit, found);
}

void allow_less(double& least, double found) {
    if (found == found) least = std::min(least, 1 - kWidened * (1 - found));
}

void allow_outputs(Budgets& limits, const AccuracyRecord& golden, bool fp32) {
    for (const MapAccuracy& each : golden.maps) {
        allow(limits.map_max, each.max);
        allow_less(limits.map_ssim, each.ssim);
        if (fp32)
            allow(limits.fp32_map_max, each.max);
        else
            allow(limits.map_mean, each.mean);
    }
    for (const DecisionAccuracy& each : golden.logits) {
        allow(limits.logits_max, each.max);
        allow_less(limits.logits_agreement, each.agreement);
        if (fp32) allow(limits.fp32_logits_max, each.max);
    }
    for (const DecisionAccuracy& each : golden.visibility) {
        allow_less(limits.visibility_agreement, each.agreement);
        if (fp32) allow(limits.fp32_visibility_max, each.max);
    }
}

// What golden images can be held to: they have no annotations, and not always a length.
Budgets limits_for(const Manifest& manifest, const EngineRecord& record, bool has_length) {
    Budgets limits = manifest.budgets.value_or(usual_budgets());
    if (limits.budget_mm && !has_length) {
        limits.budget_mm.reset();
        limits.budget_px = limits.worst_landmark_px;
    }
    if (!record.golden || !record.passed.value_or(false)) return limits;
    const AccuracyRecord& golden = *record.golden;
    const bool fp32 = record.precision == "fp32";
    if (fp32) {
        allow(limits.fp32_px, golden.worst_landmark_mean_px);
        allow(limits.fp32_max_px, golden.max_px);
    } else {
        allow(limits.budget_px, golden.mean_px);
        allow(limits.budget_mm, golden.mean_mm);
        allow(limits.worst_landmark_px, golden.worst_landmark_mean_px);
    }
    allow_outputs(limits, golden, fp32);
    return limits;
}

class Reasons {
  public:
    void above(const std::string& what, double value, double most, const char* unit) {
        if (value <= most) return;  // NaN fails too
        char text[96];
        std::snprintf(text, sizeof text, " %.3g%s is over its budget of %g%s", value, unit, most,
                      unit);
        add(what + text);
    }

    void above(const std::string& what, double value, const std::optional<double>& most) {
        if (most) above(what, value, *most, "");
    }

    void below(const std::string& what, double value, double least) {
        if (value >= least) return;
        char text[96];
        std::snprintf(text, sizeof text, " %.6g is below its least of %g", value, least);
        add(what + text);
    }

    void disagreeing(const FoundOutput& found, double least) {
        const double allowed =
            std::ceil((1 - least) * static_cast<double>(found.decisions) - kRounding);
        if (static_cast<double>(found.disagreements) <= allowed) return;
        add("agreement of " + found.name + ": " + std::to_string(found.disagreements) + " of " +
            std::to_string(found.decisions) + " decisions differ");
    }

    const std::string& text() const noexcept { return text_; }

  private:
    void add(const std::string& reason) { text_ += (text_.empty() ? "" : "; ") + reason; }

    std::string text_;
};

void judge_landmarks(const Found& found, const Budgets& limits, bool fp32, Reasons& reasons) {
    if (fp32) {
        reasons.above("worst landmark's mean displacement", found.worst_landmark_px,
                      limits.fp32_px, " px");
        reasons.above("largest displacement", found.max_px, limits.fp32_max_px, " px");
        return;
    }
    if (limits.budget_mm)
        reasons.above("mean displacement", found.mean_mm, *limits.budget_mm, " mm");
    else
        reasons.above("mean displacement", found.mean_px, limits.budget_px, " px");
    reasons.above("worst landmark's mean displacement", found.worst_landmark_px,
                  limits.worst_landmark_px, " px");
}

void judge_output(const FoundOutput& found, const Budgets& limits, bool fp32, Reasons& reasons) {
    const std::string largest = "largest difference of " + found.name;
    if (found.kind == OutputKind::kMap) {
        if (fp32)
            reasons.above(largest, found.max, limits.fp32_map_max, "");
        else
            reasons.above("mean difference of " + found.name, found.mean, limits.map_mean, "");
        reasons.above(largest, found.max, limits.map_max);
        reasons.below("SSIM of " + found.name, found.ssim, limits.map_ssim);
    } else if (found.kind == OutputKind::kLogits) {
        reasons.above(largest, found.max,
                      fp32 ? std::optional<double>(limits.fp32_logits_max) : limits.logits_max);
        reasons.disagreeing(found, limits.logits_agreement);
    } else {
        if (fp32) reasons.above(largest, found.max, limits.fp32_visibility_max, "");
        reasons.disagreeing(found, limits.visibility_agreement);
    }
}

}  // namespace

std::string over_limits(const Found& found, const Manifest& manifest, const EngineRecord& record) {
    const Budgets limits = limits_for(manifest, record, found.has_length);
    const bool fp32 = record.precision == "fp32";
    Reasons reasons;
    if (found.landmarks) judge_landmarks(found, limits, fp32, reasons);
    for (const FoundOutput& each : found.outputs) judge_output(each, limits, fp32, reasons);
    return reasons.text();
}

}  // namespace mahtrt
