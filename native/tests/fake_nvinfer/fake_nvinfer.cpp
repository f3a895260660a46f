// A TensorRT without a GPU, for tests: libnvinfer.so and libtensorrt_rtx.so.
//
// Its plan is a text: "fake plan", then a line for each tensor, such as "input image 1 1 8 8",
// "output landmarks 1 3 2" or "half heatmaps 1 3 8 8". Element i of an output is i plus the sum of
// all inputs; an output named "heatmaps" is a copy of the first input.
#include <atomic>
#include <cstring>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "NvInferRuntime.h"
#include "fake_gpu.h"

namespace {

using namespace nvinfer1;

struct Tensor {
    std::string kind, name;
    Dims shape{};

    std::size_t elements() const {
        std::size_t count = 1;
        for (int i = 0; i < shape.nbDims; ++i) count *= static_cast<std::size_t>(shape.d[i]);
        return count;
    }
    bool is_input() const { return kind == "input"; }
    std::size_t bytes() const { return elements() * (kind == "half" ? 2 : 4); }
};

using Tensors = std::vector<Tensor>;

std::uint16_t half_of(float value) {  // of numbers that have one
    std::uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    if ((bits << 1) == 0) return static_cast<std::uint16_t>(bits >> 16);
    const std::uint32_t exponent = ((bits >> 23) & 0xff) - 112;
    return static_cast<std::uint16_t>((bits >> 16 & 0x8000) | exponent << 10 |
                                      (bits >> 13 & 0x3ff));
}

// What a context has under way, to see whether its inferences keep their order.
struct Order {
    std::atomic<std::uint64_t> begun{0}, ended{0};
};

struct Work {
    std::shared_ptr<const Tensors> tensors;
    std::map<std::string, void*> places;
    std::shared_ptr<Order> order;
    std::uint64_t number;

    void run() const {
        if (order->ended != number) fake_violate("inferences of a context out of order");
        ++order->ended;
        for (const Tensor& each : *tensors)
            if (!fake_is_memory(places.at(each.name), each.bytes()))
                return fake_violate("an inference on memory that is not there any more");
        float sum = 0;
        const Tensor* first = nullptr;
        for (const Tensor& each : *tensors) {
            if (!each.is_input()) continue;
            if (first == nullptr) first = &each;
            const float* from = static_cast<const float*>(places.at(each.name));
            for (std::size_t i = 0; i < each.elements(); ++i) sum += from[i];
        }
        for (const Tensor& each : *tensors)
            if (!each.is_input()) write(each, *first, sum);
    }

    void write(const Tensor& to, const Tensor& first, float sum) const {
        const bool copies = to.name == "heatmaps" && to.elements() == first.elements();
        const float* from = static_cast<const float*>(places.at(first.name));
        for (std::size_t i = 0; i < to.elements(); ++i) {
            const float value = copies ? from[i] : sum + static_cast<float>(i);
            if (to.kind == "half")
                static_cast<std::uint16_t*>(places.at(to.name))[i] = half_of(value);
            else
                static_cast<float*>(places.at(to.name))[i] = value;
        }
    }
};

struct Counted {
    Counted() { fake_count(1); }
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;
    ~Counted() {
        if (!fake_is_current()) fake_violate("an object of TensorRT freed without its context");
        fake_count(-1);
    }
};

class Failing {
  public:
    explicit Failing(ILogger& logger) : logger_(logger) {}
    bool fails(const char* function) const {
        if (!fake_is_current()) fake_violate(function);
        if (!fake_step(function)) return false;
        logger_.log(ILogger::Severity::kINFO, "this is not an error");
        logger_.log(ILogger::Severity::kERROR,
                    (std::string(function) + " was told\nto fail").c_str());
        return true;
    }
    void say(const char* text) const { logger_.log(ILogger::Severity::kERROR, text); }

  private:
    ILogger& logger_;
};

class Context final : public IExecutionContext, Counted {
  public:
    Context(std::shared_ptr<const Tensors> tensors, const Failing& calls)
        : tensors_(std::move(tensors)), calls_(calls) {}

    bool setInputShape(const char* name, const Dims& shape) noexcept override {
        if (calls_.fails("setInputShape")) return false;
        for (const Tensor& each : *tensors_)
            if (each.name == name && each.shape.nbDims == shape.nbDims) {
                ++shapes_;
                return true;
            }
        return false;
    }

    bool setTensorAddress(const char* name, void* address) noexcept override {
        if (calls_.fails("setTensorAddress")) return false;
        places_[name] = address;
        return reinterpret_cast<std::uintptr_t>(address) % 256 == 0;
    }

    std::int32_t inferShapes(std::int32_t, const char**) noexcept override {
        if (calls_.fails("inferShapes")) return -1;
        return shapes_ == 0 ? 1 : 0;
    }

    bool enqueueV3(cudaStream_t stream) noexcept override {
        if (busy_.exchange(true)) fake_violate("a context used by two threads");
        const bool fails = calls_.fails("enqueueV3");
        if (!fails) give(stream);
        busy_ = false;
        return !fails;
    }

  private:
    void give(cudaStream_t stream) {
        if (stream == nullptr) fake_violate("an inference on the default stream");
        for (const Tensor& each : *tensors_)
            if (places_.count(each.name) == 0 || !fake_is_memory(places_[each.name], each.bytes()))
                return fake_violate("an inference without memory for a tensor");
        auto* work = new Work{tensors_, places_, order_, order_->begun++};
        fake_enqueue(
            stream,
            [](void* data) {
                const std::unique_ptr<Work> owned(static_cast<Work*>(data));
                owned->run();
            },
            work);
    }

    std::shared_ptr<const Tensors> tensors_;
    Failing calls_;
    std::map<std::string, void*> places_;
    int shapes_ = 0;
    std::shared_ptr<Order> order_ = std::make_shared<Order>();
    std::atomic<bool> busy_{false};
};

class Engine final : public ICudaEngine, Counted {
  public:
    Engine(std::shared_ptr<const Tensors> tensors, const Failing& calls)
        : tensors_(std::move(tensors)), calls_(calls) {}

    std::int32_t getNbIOTensors() const noexcept override {
        return static_cast<std::int32_t>(tensors_->size());
    }
    const char* getIOTensorName(std::int32_t number) const noexcept override {
        if (calls_.fails("getIOTensorName")) return nullptr;
        return (*tensors_)[static_cast<std::size_t>(number)].name.c_str();
    }
    Dims getTensorShape(const char* name) const noexcept override { return find(name).shape; }
    DataType getTensorDataType(const char* name) const noexcept override {
        const std::string& kind = find(name).kind;
        if (kind == "integer") return DataType::kINT32;
        return kind == "half" ? DataType::kHALF : DataType::kFLOAT;
    }
    TensorIOMode getTensorIOMode(const char* name) const noexcept override {
        return find(name).is_input() ? TensorIOMode::kINPUT : TensorIOMode::kOUTPUT;
    }
    TensorLocation getTensorLocation(const char* name) const noexcept override {
        return find(name).kind == "host" ? TensorLocation::kHOST : TensorLocation::kDEVICE;
    }
    TensorFormat getTensorFormat(const char*) const noexcept override {
        return TensorFormat::kLINEAR;
    }
    IExecutionContext* createExecutionContext() noexcept override {
        if (making_.exchange(true)) fake_violate("two contexts made at once");
        const bool fails = calls_.fails("createExecutionContext");
        making_ = false;
        return fails ? nullptr : new Context(tensors_, calls_);
    }

  private:
    const Tensor& find(const std::string& name) const {
        for (const Tensor& each : *tensors_)
            if (each.name == name) return each;
        fake_violate("a tensor that is not there");
        return tensors_->front();
    }

    std::shared_ptr<const Tensors> tensors_;
    Failing calls_;
    std::atomic<bool> making_{false};
};

class Runtime final : public IRuntime, Counted {
  public:
    explicit Runtime(ILogger& logger) : calls_(logger) {}

    ICudaEngine* deserializeCudaEngine(const void* plan, std::size_t bytes) noexcept override {
        if (calls_.fails("deserializeCudaEngine")) return nullptr;
        std::istringstream lines(std::string(static_cast<const char*>(plan), bytes));
        std::string line;
        if (!std::getline(lines, line) || line != "fake plan") {
            calls_.say("version tag does not match");
            return nullptr;
        }
        auto tensors = std::make_shared<Tensors>();
        while (std::getline(lines, line)) {
            std::istringstream words(line);
            Tensor& each = tensors->emplace_back();
            words >> each.kind >> each.name;
            while (words >> each.shape.d[each.shape.nbDims]) ++each.shape.nbDims;
        }
        return new Engine(tensors, calls_);
    }

  private:
    Failing calls_;
};

}  // namespace

extern "C" {

void* createInferRuntime_INTERNAL(void* logger, std::int32_t version) noexcept {
    if (version / 10000 != FAKE_MAJOR) fake_violate("a module for another TensorRT");
    if (fake_step("createInferRuntime")) return nullptr;
    return static_cast<IRuntime*>(new Runtime(*static_cast<ILogger*>(logger)));
}

std::int32_t getInferLibVersion() noexcept {
    return FAKE_MAJOR * 10000 + FAKE_MINOR * 100 + FAKE_PATCH;
}

std::int32_t getInferLibBuildVersion() noexcept { return FAKE_BUILD; }
}
