// A deserialized engine of TensorRT, in the context of a GPU.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "../bundle.h"
#include "cuda_driver.h"
#include "tensorrt_library.h"

namespace mahtrt {

// An input or output of static shape, on the GPU.
struct IoTensor {
    std::string name;
    bool is_input = false, is_half = false;
    std::vector<std::int64_t> shape;

    std::size_t elements() const noexcept;
    std::size_t bytes() const noexcept { return elements() * (is_half ? 2 : 4); }
};

class TensorRtNetwork {
  public:
    using Context = std::unique_ptr<mahtrt_tensorrt_context, void (*)(mahtrt_tensorrt_context*)>;

    // name: of the engine, for messages. Throws Error MAHTRT_FAILED, MAHTRT_OUT_OF_MEMORY:
    // TensorRT refuses the plan, or a tensor is not static float32 or float16.
    TensorRtNetwork(TensorRtLibrary library, std::unique_ptr<CudaContext> cuda, std::string name,
                    const Content& plan);
    TensorRtNetwork(const TensorRtNetwork&) = delete;
    TensorRtNetwork& operator=(const TensorRtNetwork&) = delete;
    ~TensorRtNetwork();

    const std::string& name() const noexcept { return name_; }
    const TensorRtLibrary& library() const noexcept { return library_; }
    const CudaContext& cuda() const noexcept { return *cuda_; }
    const CudaDriver& driver() const noexcept { return cuda_->driver(); }
    const std::vector<IoTensor>& tensors() const noexcept { return tensors_; }
    // nullptr where there is none.
    const IoTensor* find(const std::string& name) const noexcept;

    // With the context current, these throw Error with what TensorRT said. An execution context
    // is used by one thread at a time, and its inferences must not overlap on the GPU.
    Context make_context() const;
    void set_address(const Context& context, const IoTensor& tensor, CuAddress address) const;
    // After the first addresses.
    void check_ready(const Context& context) const;
    void enqueue(const Context& context, CuStream stream) const;

  private:
    // The last error that TensorRT told, from whatever thread.
    class Listener {
      public:
        static void say(void* listener, const char* text) noexcept;
        // Once: it must not explain a later failure.
        std::string take();

      private:
        std::mutex mutex_;
        std::string last_;
    };

    [[noreturn]] void fail(const std::string& what, const std::string& expected,
                           const std::string& fix) const;
    IoTensor tensor(const mahtrt_tensorrt_engine* engine, std::int32_t number) const;
    void check(std::int32_t done, const std::string& what) const;

    TensorRtLibrary library_;
    std::unique_ptr<CudaContext> cuda_;
    std::string name_;
    mutable Listener listener_;
    mutable std::mutex making_;
    std::vector<IoTensor> tensors_;
    mahtrt_tensorrt_engine* engine_ = nullptr;
};

}  // namespace mahtrt
