// TensorRT and TensorRT-RTX on NVIDIA's GPUs: entries for the table of backends.
#pragma once

#include <memory>
#include <string>

#include "../engine.h"

namespace mahtrt {

std::string tensorrt_problem(const EngineToOpen& wanted);
std::unique_ptr<Engine> open_tensorrt(const EngineToOpen& wanted);

}  // namespace mahtrt
