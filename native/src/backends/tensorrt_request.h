// One inference at a time with memory of the host: copies in, the network, copies out.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "../engine.h"
#include "../kernel_decode.h"
#include "tensorrt_network.h"

namespace mahtrt {

// Where an output of the spec comes from.
struct OutputSource {
    enum class Kind { kTensor, kLandmarks, kConfidence, kSpread };
    Kind kind = Kind::kTensor;
    std::size_t tensor = 0;  // number among the network's, of kind kTensor
};

// What the requests of an engine share.
struct TensorRtPlan {
    std::shared_ptr<const TensorRtNetwork> network;
    std::vector<std::size_t> inputs;    // of the spec, as numbers of the network's tensors
    std::vector<OutputSource> outputs;  // of the spec
    std::optional<KernelDecode> decode;
    std::size_t heatmaps = 0;   // number of the tensor that is decoded, with `decode`
    CuStream stream = nullptr;  // of the caller; nullptr: each request has one
};

class TensorRtRequest final : public Request {
  public:
    explicit TensorRtRequest(std::shared_ptr<const TensorRtPlan> plan);
    ~TensorRtRequest() override;

    float* input(std::size_t number) override;
    void infer() override;
    const float* output(std::size_t number) override;

  private:
    // Freed from the last to the first.
    struct Parts {
        CudaOwned<CuStream> stream;
        std::vector<CudaOwned<CuAddress>> memory;  // one per tensor of the network
        std::vector<CudaOwned<void*>> pinned;      // the same, where the host sees the tensor
        TensorRtNetwork::Context context{nullptr, nullptr};
    };

    Parts make_parts() const;
    bool is_seen(std::size_t tensor) const;
    template <typename Work>
    void run(Work&& work);
    void start();
    void fetch(std::size_t tensor);
    void settle() noexcept;
    void decode();
    const float* floats_of(std::size_t tensor);

    std::shared_ptr<const TensorRtPlan> plan_;
    Parts parts_;
    CuStream stream_ = nullptr;
    std::vector<float> landmarks_, confidence_, spread_;
    std::vector<std::vector<float>> widened_;  // of FP16 tensors
    // Of the network's tensors: asked for so far, and hence copied with each inference; on the
    // host since the last one. Raw heatmaps are larger than all else, and seldom wanted.
    std::vector<bool> is_wanted_, is_here_;
};

}  // namespace mahtrt
