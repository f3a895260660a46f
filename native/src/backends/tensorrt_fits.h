// Whether an engine of TensorRT that was built somewhere may run on a GPU here.
//
// TensorRT refuses some engines with "version tag does not match" and runs others that were tuned
// for another card. Here both values are said, and what to do: the table of targets in
// docs/bundle-format.md.
#pragma once

#include <string>

#include "../manifest.h"
#include "cuda_driver.h"

namespace mahtrt {

// Operating system and architecture: "linux_x86_64".
std::string this_platform();

// Throws Error MAHTRT_FAILED: the engine is for another platform.
void check_platform(const EngineRecord& record, const std::string& platform);

// Throws Error MAHTRT_FAILED: the engine is for another GPU.
void check_gpu(const EngineRecord& record, const Gpu& gpu);

}  // namespace mahtrt
