// Inferences on memory of the GPU, behind the work of a caller's stream.
//
// An execution context has scratch memory of its own, so two inferences of one context must not
// overlap on the GPU. Nothing waits on the host for an inference to end, so a context may have one
// under way when the next call comes. Each context therefore has an event behind its last
// inference, and the next one on any stream waits for it, on the GPU. A call prefers the context
// that was last used on its stream, where that wait costs nothing; else one whose event is over;
// else a new one, up to a few; else the one that was used longest ago.
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <vector>

#include "tensorrt_request.h"

namespace mahtrt {

class TensorRtDeviceCalls {
  public:
    explicit TensorRtDeviceCalls(std::shared_ptr<const TensorRtPlan> plan);
    TensorRtDeviceCalls(const TensorRtDeviceCalls&) = delete;
    TensorRtDeviceCalls& operator=(const TensorRtDeviceCalls&) = delete;
    // Waits for what is under way.
    ~TensorRtDeviceCalls();

    // Inputs and outputs of the spec; an output that is nullptr is not wanted. With no stream, the
    // work lies behind that of the default stream and before what the default stream gets next.
    // Throws Error: MAHTRT_USAGE (memory or a stream that cannot be used), MAHTRT_FAILED,
    // MAHTRT_OUT_OF_MEMORY.
    void infer(const std::vector<const float*>& inputs, const std::vector<float*>& outputs,
               CuStream stream);

  private:
    // Freed from the last to the first.
    struct Slot {
        CudaOwned<CuStream> own_stream;  // made for the first call without a stream
        CudaOwned<CuEvent> before;       // likewise
        CudaOwned<CuEvent> done;
        std::vector<CudaOwned<CuAddress>> aside;  // for outputs that nobody wanted
        TensorRtNetwork::Context context{nullptr, nullptr};
        CuStream last = nullptr;
        bool has_worked = false;
    };
    using Slots = std::list<Slot>;             // also of one, on its way: moving it cannot fail
    using Addresses = std::vector<CuAddress>;  // one per tensor, 0: none given

    Addresses addresses(const std::vector<const float*>& inputs,
                        const std::vector<float*>& outputs) const;
    void check_memory(const IoTensor& tensor, const void* memory) const;
    Slots take(CuStream stream);
    Slots::iterator choose(CuStream stream);
    Slots make() const;
    void put_back(Slots slot) noexcept;
    void end(Slots slots) noexcept;
    void place(Slot& slot, const Addresses& given) const;
    void run(Slot& slot, CuStream stream) const;
    void run_beside_default(Slot& slot) const;

    std::shared_ptr<const TensorRtPlan> plan_;
    std::mutex mutex_;
    Slots free_;            // the one used longest ago first
    std::size_t made_ = 0;  // free and in use
};

}  // namespace mahtrt
