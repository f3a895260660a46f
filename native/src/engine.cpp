#include "engine.h"

#include "backends/openvino.h"
#include "backends/tensorrt.h"
#include "status.h"

namespace mahtrt {
namespace {

constexpr Backend kBackends[] = {
    {"openvino", false, openvino_problem, open_openvino},
    {"tensorrt", true, tensorrt_problem, open_tensorrt},
    {"tensorrt-rtx", true, tensorrt_problem, open_tensorrt},
};

}  // namespace

void Engine::infer_device(const std::vector<const float*>&, const std::vector<float*>&, void*) {
    refuse("memory of a GPU", "an engine that runs on " + device(), "an engine on a GPU",
           "Open the bundle with require = MAHTRT_GPU, or give memory of the host.");
}

const Backend* find_backend(const std::string& target) {
    for (const Backend& each : kBackends)
        if (target == each.target) return &each;
    return nullptr;
}

}  // namespace mahtrt
