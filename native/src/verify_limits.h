// How far an engine may be from the golden vectors of its bundle, as mahtrt verify judges it.
#pragma once

#include <string>
#include <vector>

#include "manifest.h"

namespace mahtrt {

// What was found of a map, of logits or of visibility over all golden vectors.
struct FoundOutput {
    std::string name;
    OutputKind kind = OutputKind::kMap;
    double mean = 0, max = 0;    // absolute differences; infinite where a value is not finite
    double ssim = 1;             // of a map, mean over the vectors
    long decisions = 0, disagreements = 0;  // of the others
};

struct Found {
    bool landmarks = false;
    double mean_px = 0, max_px = 0, worst_landmark_px = 0;  // network pixels
    bool has_length = false;
    double mean_mm = 0;
    std::vector<FoundOutput> outputs;
};

// Every limit that the engine is over, in words; "" where it is over none.
std::string over_limits(const Found& found, const Manifest& manifest, const EngineRecord& record);

}  // namespace mahtrt
