// What runs a compiled network. Each runtime has one file in backends/, opened when it is needed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bundle.h"
#include "mahtrt.h"

namespace mahtrt {

struct TensorInfo {
    std::string name;
    std::vector<std::int64_t> shape;  // the batch first

    std::size_t floats() const noexcept {
        std::size_t count = 1;
        for (const std::int64_t each : shape) count *= static_cast<std::size_t>(each);
        return count;
    }
};

// Buffers and whatever else one inference needs; used by one thread at a time.
class Request {
  public:
    virtual ~Request() = default;

    // Memory of the host that the caller fills, (batch, channels, height, width).
    virtual float* input(std::size_t number) = 0;

    // Inputs to outputs; waits until they are there. Throws Error MAHTRT_FAILED.
    virtual void infer() = 0;

    // Memory of the host, valid until the next infer().
    virtual const float* output(std::size_t number) = 0;
};

// An engine that is open. Its requests may be used by several threads at once, one each.
class Engine {
  public:
    virtual ~Engine() = default;

    virtual std::string device() const = 0;        // "cpu", "cuda:0 NVIDIA H200"
    virtual std::string runtime_path() const = 0;  // of the library that runs it
    virtual const std::vector<std::string>& notes() const = 0;
    // In the order of the spec.
    virtual const std::vector<TensorInfo>& inputs() const = 0;
    virtual const std::vector<TensorInfo>& outputs() const = 0;

    virtual std::unique_ptr<Request> make_request() = 0;

    // For engines on a GPU: addresses on it, one per input and output (nullptr: not wanted),
    // behind the work of `stream`; nothing is copied and nothing waits.
    virtual void infer_device(const std::vector<const float*>& inputs,
                              const std::vector<float*>& outputs, void* stream);
};

struct EngineToOpen {
    const Bundle& bundle;
    const EngineRecord& record;
    std::string runtime_dir;  // "" where the caller names none
    int threads = 0, device = 0;
    void* stream = nullptr;
    bool check = true;  // digests of the files
};

// A runtime that opens engines of some targets.
struct Backend {
    const char* target;
    bool gpu;
    // Why this engine cannot run here, "" where nothing speaks against it; reads no file of it.
    std::string (*problem)(const EngineToOpen&);
    std::unique_ptr<Engine> (*open)(const EngineToOpen&);
};

// nullptr where no backend of this library runs the target.
const Backend* find_backend(const std::string& target);

}  // namespace mahtrt
