// Which engine of a bundle runs: the one asked for, the default, or what stands in for it.
#pragma once

#include <string>

#include "engine.h"

namespace mahtrt {

struct OpenOptions;

struct Choice {
    const EngineRecord* record = nullptr;
    const Backend* backend = nullptr;
    std::string note;  // what to tell where another one stands in for the default
};

// Throws Error: MAHTRT_USAGE (no such engine, or one for another device than required),
// MAHTRT_MISSING (none can run here, with the reason of each).
Choice choose_engine(const Bundle& bundle, const OpenOptions& options);

}  // namespace mahtrt
