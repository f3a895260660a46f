#include "tensorrt_request.h"

#include <cstring>

namespace mahtrt {

TensorRtRequest::TensorRtRequest(std::shared_ptr<const TensorRtPlan> plan)
    : plan_(std::move(plan)),
      widened_(plan_->network->tensors().size()),
      is_wanted_(widened_.size(), false),
      is_here_(widened_.size(), false) {
    if (plan_->decode) {
        is_wanted_[plan_->heatmaps] = true;
        const auto maps = static_cast<std::size_t>(plan_->decode->maps());
        landmarks_.resize(2 * maps);
        confidence_.resize(maps);
        spread_.resize(maps);
    }
    const auto& tensors = plan_->network->tensors();
    for (std::size_t i = 0; i < tensors.size(); ++i)
        if (tensors[i].is_half && is_seen(i)) widened_[i].resize(tensors[i].elements());
    const CurrentContext current(plan_->network->cuda());
    parts_ = make_parts();
    stream_ = plan_->stream != nullptr ? plan_->stream : parts_.stream.get();
}

TensorRtRequest::~TensorRtRequest() {
    const CurrentContext current(plan_->network->cuda(), std::nothrow);
    if (!current.is_current()) parts_.context.release();  // nothing works any more
    const Parts ends = std::move(parts_);
}

bool TensorRtRequest::is_seen(std::size_t tensor) const {
    if (plan_->network->tensors()[tensor].is_input) return true;
    if (plan_->decode && tensor == plan_->heatmaps) return true;
    for (const OutputSource& each : plan_->outputs)
        if (each.kind == OutputSource::Kind::kTensor && each.tensor == tensor) return true;
    return false;
}

// Called with the context current, so that what was made is freed in it when a later part fails.
TensorRtRequest::Parts TensorRtRequest::make_parts() const {
    const TensorRtNetwork& network = *plan_->network;
    const CudaDriver& driver = network.driver();
    Parts parts;
    if (plan_->stream == nullptr) parts.stream = driver.make_stream();
    for (std::size_t i = 0; i < network.tensors().size(); ++i) {
        const IoTensor& tensor = network.tensors()[i];
        parts.memory.push_back(driver.allocate(tensor.bytes()));
        parts.pinned.emplace_back();
        if (!is_seen(i)) continue;
        parts.pinned.back() = driver.allocate_pinned(tensor.bytes());
        std::memset(parts.pinned.back().get(), 0, tensor.bytes());
    }
    parts.context = network.make_context();
    for (std::size_t i = 0; i < network.tensors().size(); ++i)
        network.set_address(parts.context, network.tensors()[i], parts.memory[i].get());
    network.check_ready(parts.context);
    return parts;
}

float* TensorRtRequest::input(std::size_t number) {
    return static_cast<float*>(parts_.pinned.at(plan_->inputs.at(number)).get());
}

void TensorRtRequest::infer() {
    is_here_.assign(is_here_.size(), false);
    run([this] { start(); });
    is_here_ = is_wanted_;
    decode();
}

// Gives work to the stream, and waits until it is done.
template <typename Work>
void TensorRtRequest::run(Work&& work) {
    const CurrentContext current(plan_->network->cuda());
    const CudaDriver& driver = plan_->network->driver();
    // The caller's own stream may be captured by now: waiting for it would break the capture.
    if (plan_->stream != nullptr) plan_->network->cuda().check_stream(stream_);
    try {
        work();
        driver.check(driver.stream_synchronize(stream_), "cuStreamSynchronize");
    } catch (...) {
        settle();
        throw;
    }
}

void TensorRtRequest::start() {
    const TensorRtNetwork& network = *plan_->network;
    const CudaDriver& driver = network.driver();
    for (const std::size_t i : plan_->inputs)
        driver.check(driver.memcpy_to_device(parts_.memory[i].get(), parts_.pinned[i].get(),
                                             network.tensors()[i].bytes(), stream_),
                     "cuMemcpyHtoDAsync");
    network.enqueue(parts_.context, stream_);
    for (std::size_t i = 0; i < is_wanted_.size(); ++i)
        if (is_wanted_[i]) fetch(i);
}

void TensorRtRequest::fetch(std::size_t tensor) {
    const CudaDriver& driver = plan_->network->driver();
    const std::size_t bytes = plan_->network->tensors()[tensor].bytes();
    driver.check(driver.memcpy_to_host(parts_.pinned[tensor].get(), parts_.memory[tensor].get(),
                                       bytes, stream_),
                 "cuMemcpyDtoHAsync");
}

// After an error: nothing of this request may be under way when its memory is used again. The
// first wait may be answered by the error of earlier work.
void TensorRtRequest::settle() noexcept {
    const CudaDriver& driver = plan_->network->driver();
    if (driver.stream_synchronize(stream_) != kCudaSuccess) driver.stream_synchronize(stream_);
}

void TensorRtRequest::decode() {
    if (!plan_->decode) return;
    const std::size_t from = plan_->heatmaps;
    decode_heatmaps(*plan_->decode, floats_of(from), landmarks_.data(), confidence_.data(),
                    spread_.data());
}

// What lies on the host of a tensor, as float32.
const float* TensorRtRequest::floats_of(std::size_t tensor) {
    std::vector<float>& wide = widened_[tensor];
    const void* pinned = parts_.pinned[tensor].get();
    if (wide.empty()) return static_cast<const float*>(pinned);
    widen_halves(static_cast<const std::uint16_t*>(pinned), wide.data(), wide.size());
    return wide.data();
}

const float* TensorRtRequest::output(std::size_t number) {
    const OutputSource& source = plan_->outputs.at(number);
    switch (source.kind) {
        case OutputSource::Kind::kLandmarks:
            return landmarks_.data();
        case OutputSource::Kind::kConfidence:
            return confidence_.data();
        case OutputSource::Kind::kSpread:
            return spread_.data();
        case OutputSource::Kind::kTensor:
            break;
    }
    const std::size_t tensor = source.tensor;
    if (!is_here_[tensor]) {
        run([=] { fetch(tensor); });
        is_here_[tensor] = is_wanted_[tensor] = true;
    }
    return floats_of(tensor);
}

}  // namespace mahtrt
