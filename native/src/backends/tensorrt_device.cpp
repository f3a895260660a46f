#include "tensorrt_device.h"

#include <cstdint>

#include "../status.h"

namespace mahtrt {
namespace {

constexpr std::size_t kMostContexts = 4;    // unless more threads call at once
constexpr std::uintptr_t kAlignment = 256;  // bytes; TensorRT's setTensorAddress asks for it

CuAddress address_of(const void* memory) {
    return static_cast<CuAddress>(reinterpret_cast<std::uintptr_t>(memory));
}

}  // namespace

TensorRtDeviceCalls::TensorRtDeviceCalls(std::shared_ptr<const TensorRtPlan> plan)
    : plan_(std::move(plan)) {}

TensorRtDeviceCalls::~TensorRtDeviceCalls() {
    const CurrentContext current(plan_->network->cuda(), std::nothrow);
    if (!current.is_current())
        for (Slot& each : free_) each.context.release();  // nothing works any more
    end(std::move(free_));
}

void TensorRtDeviceCalls::infer(const std::vector<const float*>& inputs,
                                const std::vector<float*>& outputs, CuStream stream) {
    const CurrentContext current(plan_->network->cuda());
    plan_->network->cuda().check_stream(stream);
    const Addresses given = addresses(inputs, outputs);
    Slots taken = take(stream);
    Slot& slot = taken.front();
    try {
        place(slot, given);
        if (stream == nullptr)
            run_beside_default(slot);
        else
            run(slot, stream);
    } catch (...) {
        end(std::move(taken));
        throw;
    }
    put_back(std::move(taken));
}

TensorRtDeviceCalls::Addresses TensorRtDeviceCalls::addresses(
    const std::vector<const float*>& inputs, const std::vector<float*>& outputs) const {
    const TensorRtPlan& plan = *plan_;
    const auto& tensors = plan.network->tensors();
    Addresses found(tensors.size(), 0);
    if (inputs.size() != plan.inputs.size() || outputs.size() != plan.outputs.size())
        refuse("memory of the GPU", "another number of tensors", "those of the network");
    for (std::size_t i = 0; i < inputs.size(); ++i) {
        check_memory(tensors[plan.inputs[i]], inputs[i]);
        found[plan.inputs[i]] = address_of(inputs[i]);
    }
    for (std::size_t i = 0; i < outputs.size(); ++i) {
        if (outputs[i] == nullptr) continue;
        const OutputSource& source = plan.outputs[i];
        const bool is_decoded = source.kind != OutputSource::Kind::kTensor;
        if (is_decoded || tensors[source.tensor].is_half)
            refuse("engine " + plan.network->name(),
                   is_decoded ? "a wish for landmarks, confidence or spread on the GPU"
                              : "a wish for heatmaps in FP16",
                   "other outputs: this engine ends at its heatmaps, which libmahtrt decodes on "
                   "the host",
                   "Use memory of the host, or build without --fuse-soft-argmax.");
        check_memory(tensors[source.tensor], outputs[i]);
        found[source.tensor] = address_of(outputs[i]);
    }
    return found;
}

// What the driver says of an address: a wrong one would make the GPU fail for the whole process.
void TensorRtDeviceCalls::check_memory(const IoTensor& tensor, const void* memory) const {
    const std::string subject = "memory for " + quoted(tensor.name);
    const CudaContext& cuda = plan_->network->cuda();
    const std::string expected = "memory of GPU " + std::to_string(cuda.gpu().number);
    if (memory == nullptr) refuse(subject, "NULL", expected);
    if (reinterpret_cast<std::uintptr_t>(memory) % kAlignment != 0)
        refuse(subject, "an address that is no multiple of 256", "one that is, for TensorRT",
               "Memory of cudaMalloc and cuMemAlloc begins at such addresses.");
    const CudaDriver& driver = cuda.driver();
    for (const std::size_t offset : {std::size_t{0}, tensor.bytes() - 1}) {
        unsigned type = 0;
        int ordinal = -1;
        const CuAddress at = address_of(memory) + offset;
        const CuResult known = driver.pointer_get_attribute(&type, kCudaMemoryType, at);
        if (known == kCudaInvalidValue || (known == kCudaSuccess && type != kCudaDeviceMemory))
            refuse(subject, "memory that is not the GPU's, or too little of it",
                   expected + ", " + std::to_string(tensor.bytes()) + " bytes");
        driver.check(known, "cuPointerGetAttribute");
        driver.check(driver.pointer_get_attribute(&ordinal, kCudaDeviceOrdinal, at),
                     "cuPointerGetAttribute");
        if (ordinal != cuda.gpu().number)
            refuse(subject, "memory of GPU " + std::to_string(ordinal), expected);
    }
}

TensorRtDeviceCalls::Slots TensorRtDeviceCalls::take(CuStream stream) {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        Slots taken;
        const auto chosen = choose(stream);
        if (chosen != free_.end()) {
            taken.splice(taken.begin(), free_, chosen);
            return taken;
        }
        ++made_;
    }
    try {
        return make();
    } catch (...) {
        const std::lock_guard<std::mutex> lock(mutex_);
        --made_;
        throw;
    }
}

// free_.end() where a new one is to be made.
TensorRtDeviceCalls::Slots::iterator TensorRtDeviceCalls::choose(CuStream stream) {
    const CudaDriver& driver = plan_->network->driver();
    for (auto each = free_.begin(); each != free_.end(); ++each)
        if (each->has_worked && each->last == (stream != nullptr ? stream : each->own_stream.get()))
            return each;
    for (auto each = free_.begin(); each != free_.end(); ++each)
        if (!each->has_worked || driver.event_query(each->done.get()) == kCudaSuccess) return each;
    return made_ < kMostContexts ? free_.end() : free_.begin();
}

TensorRtDeviceCalls::Slots TensorRtDeviceCalls::make() const {
    Slots made;
    Slot& slot = made.emplace_back();
    slot.done = plan_->network->driver().make_event();
    slot.aside.resize(plan_->network->tensors().size());
    slot.context = plan_->network->make_context();
    return made;
}

void TensorRtDeviceCalls::put_back(Slots slot) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    free_.splice(free_.end(), slot);
}

// Waits for the slots' work and frees them, with the context current.
void TensorRtDeviceCalls::end(Slots slots) noexcept {
    const CudaDriver& driver = plan_->network->driver();
    for (const Slot& each : slots)
        if (each.has_worked && driver.event_synchronize(each.done.get()) != kCudaSuccess)
            driver.event_synchronize(each.done.get());
    const std::lock_guard<std::mutex> lock(mutex_);
    made_ -= slots.size();
    slots.clear();
}

void TensorRtDeviceCalls::place(Slot& slot, const Addresses& given) const {
    const TensorRtNetwork& network = *plan_->network;
    for (std::size_t i = 0; i < given.size(); ++i) {
        const IoTensor& tensor = network.tensors()[i];
        CuAddress address = given[i];
        if (address == 0) {
            if (slot.aside[i].get() == 0) slot.aside[i] = network.driver().allocate(tensor.bytes());
            address = slot.aside[i].get();
        }
        network.set_address(slot.context, tensor, address);
    }
    if (!slot.has_worked) network.check_ready(slot.context);
}

void TensorRtDeviceCalls::run(Slot& slot, CuStream stream) const {
    const CudaDriver& driver = plan_->network->driver();
    // Also on the same stream: another one may have got the handle of one that was destroyed.
    if (slot.has_worked)
        driver.check(driver.stream_wait_event(stream, slot.done.get(), 0), "cuStreamWaitEvent");
    try {
        plan_->network->enqueue(slot.context, stream);
        driver.check(driver.event_record(slot.done.get(), stream), "cuEventRecord");
    } catch (...) {
        driver.stream_synchronize(stream);  // no event tells of what may be under way
        throw;
    }
    slot.has_worked = true;
    slot.last = stream;
}

// A stream of our own, since TensorRT waits on the host for work on the default stream.
void TensorRtDeviceCalls::run_beside_default(Slot& slot) const {
    const CudaDriver& driver = plan_->network->driver();
    if (slot.own_stream.get() == nullptr) slot.own_stream = driver.make_stream();
    if (slot.before.get() == nullptr) slot.before = driver.make_event();
    driver.check(driver.event_record(slot.before.get(), nullptr), "cuEventRecord");
    driver.check(driver.stream_wait_event(slot.own_stream.get(), slot.before.get(), 0),
                 "cuStreamWaitEvent");
    run(slot, slot.own_stream.get());
    driver.check(driver.stream_wait_event(nullptr, slot.done.get(), 0), "cuStreamWaitEvent");
}

}  // namespace mahtrt
