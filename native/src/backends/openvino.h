// OpenVINO on the CPU, through its C API.
#pragma once

#include <memory>
#include <string>

#include "engine.h"

namespace mahtrt {

std::string openvino_problem(const EngineToOpen& wanted);
std::unique_ptr<Engine> open_openvino(const EngineToOpen& wanted);

}  // namespace mahtrt
