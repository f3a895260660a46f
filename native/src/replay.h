// Golden vectors through an engine: how far it is from what the reference gave, and may be.
#pragma once

#include <string>

#include "session.h"

namespace mahtrt {

struct Replay {
    double worst_px = 0;  // largest displacement, network pixels; NaN without landmarks
    std::string over;     // every limit that the engine is over, in words
    std::string advice;   // what to do about it
};

// Throws Error MAHTRT_FAILED where the bundle keeps no golden vectors, MAHTRT_INTEGRITY where
// they are not what its manifest says.
Replay replay(Session& session);

}  // namespace mahtrt
