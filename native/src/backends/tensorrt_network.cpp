#include "tensorrt_network.h"

#include <utility>

#include "../error.h"

namespace mahtrt {
namespace {

constexpr std::size_t kMostText = 2000;  // bytes of an error of TensorRT that are kept

bool is_about_memory(const std::string& text) {
    for (const char* each : {"ut of memory", "utOfMemory", "OUT_OF_MEMORY", "FAILED_ALLOCATION"})
        if (text.find(each) != std::string::npos) return true;
    return false;
}

}  // namespace

std::size_t IoTensor::elements() const noexcept {
    std::size_t count = 1;
    for (const std::int64_t each : shape) count *= static_cast<std::size_t>(each);
    return count;
}

void TensorRtNetwork::Listener::say(void* listener, const char* text) noexcept {
    try {
        std::string line(text);
        for (char& each : line)
            if (each == '\n' || each == '\r') each = ' ';
        Listener& own = *static_cast<Listener*>(listener);
        const std::lock_guard<std::mutex> lock(own.mutex_);
        own.last_ = line.substr(0, kMostText);
    } catch (...) {  // without memory for the text, the failure is told without it
    }
}

std::string TensorRtNetwork::Listener::take() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return std::exchange(last_, "");
}

TensorRtNetwork::TensorRtNetwork(TensorRtLibrary library, std::unique_ptr<CudaContext> cuda,
                                 std::string name, const Content& plan)
    : library_(std::move(library)), cuda_(std::move(cuda)), name_(std::move(name)) {
    const mahtrt_tensorrt_table& table = library_.table();
    const CurrentContext current(*cuda_);
    std::unique_ptr<mahtrt_tensorrt_engine, void (*)(mahtrt_tensorrt_engine*)> opened(
        table.open(library_.create(), plan.data(), plan.size(), Listener::say, &listener_),
        table.close);
    if (opened == nullptr)
        fail("an engine that TensorRT does not read", "TensorRT to load it",
             "Compile it for this host with mahtrt compile.");
    const std::int32_t count = table.tensor_count(opened.get());
    for (std::int32_t number = 0; number < count; ++number)
        tensors_.push_back(tensor(opened.get(), number));
    engine_ = opened.release();
}

TensorRtNetwork::~TensorRtNetwork() {
    const CurrentContext current(*cuda_, std::nothrow);
    if (current.is_current()) library_.table().close(engine_);
}

const IoTensor* TensorRtNetwork::find(const std::string& name) const noexcept {
    for (const IoTensor& each : tensors_)
        if (each.name == name) return &each;
    return nullptr;
}

IoTensor TensorRtNetwork::tensor(const mahtrt_tensorrt_engine* engine, std::int32_t number) const {
    mahtrt_tensorrt_tensor told{};
    if (library_.table().tensor(engine, number, &told) == 0)
        fail("no word of tensor " + std::to_string(number), "its name and shape", "");
    IoTensor found{told.name,
                   told.is_input != 0,
                   told.type == MAHTRT_TENSORRT_FLOAT16,
                   {told.shape, told.shape + told.rank}};
    bool fits = told.type != MAHTRT_TENSORRT_OTHER && told.on_device != 0 && told.is_linear != 0;
    double elements = 1;
    for (const std::int64_t each : found.shape) {
        fits = fits && each > 0;
        elements *= static_cast<double>(each);
    }
    if (!fits || elements > 1e12)
        fail("tensor " + quoted(found.name) + " of another type, shape or place",
             "float32 of static shape on the GPU", "Build from an ONNX that mahtrt exported.");
    return found;
}

TensorRtNetwork::Context TensorRtNetwork::make_context() const {
    const mahtrt_tensorrt_table& table = library_.table();
    const std::lock_guard<std::mutex> lock(making_);
    Context context(table.make_context(engine_), table.close_context);
    if (context == nullptr)
        fail("no execution context", "memory for one more inference at the same time",
             "Close other programs on the GPU, or use fewer threads.");
    for (const IoTensor& each : tensors_)
        if (each.is_input)
            check(table.set_shape(context.get(), each.name.c_str(),
                                  static_cast<std::int32_t>(each.shape.size()), each.shape.data()),
                  "the shape of " + quoted(each.name));
    return context;
}

void TensorRtNetwork::set_address(const Context& context, const IoTensor& tensor,
                                  CuAddress address) const {
    void* place = reinterpret_cast<void*>(static_cast<std::uintptr_t>(address));
    check(library_.table().set_address(context.get(), tensor.name.c_str(), place),
          "memory for " + quoted(tensor.name));
}

void TensorRtNetwork::check_ready(const Context& context) const {
    check(library_.table().is_ready(context.get()), "the shapes of its inputs");
}

void TensorRtNetwork::enqueue(const Context& context, CuStream stream) const {
    check(library_.table().enqueue(context.get(), stream), "the inference");
}

void TensorRtNetwork::check(std::int32_t done, const std::string& what) const {
    if (done == 0)
        fail("TensorRT that refuses " + what, "success",
             "Compile it for this host with mahtrt compile.");
}

void TensorRtNetwork::fail(const std::string& what, const std::string& expected,
                           const std::string& fix) const {
    const std::string told = listener_.take();
    throw Error(
        is_about_memory(told) ? MAHTRT_OUT_OF_MEMORY : MAHTRT_FAILED,
        sentence("engine " + name_, told.empty() ? what : what + " (" + told + ")", expected, fix));
}

}  // namespace mahtrt
