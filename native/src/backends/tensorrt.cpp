#include "tensorrt.h"

#include <algorithm>
#include <new>
#include <utility>

#include "../error.h"
#include "cuda_driver.h"
#include "tensorrt_device.h"
#include "tensorrt_fits.h"
#include "tensorrt_library.h"
#include "tensorrt_network.h"
#include "tensorrt_request.h"

namespace mahtrt {
namespace {

constexpr char kRebuild[] = "Build the bundle again.";

TensorRtFlavour flavour_of(const EngineRecord& record) {
    return record.target == "tensorrt-rtx" ? TensorRtFlavour::kTensorRtRtx
                                           : TensorRtFlavour::kTensorRt;
}

// What has to fit before a plan is given to TensorRT, the quickest to find out first.
struct Here {
    const CudaDriver& driver;
    Gpu gpu;
    TensorRtLibrary library;
};

Here look_around(const EngineToOpen& wanted) {
    check_platform(wanted.record, this_platform());
    const CudaDriver& driver = CudaDriver::find();
    const Gpu gpu = driver.gpu(wanted.device);
    check_gpu(wanted.record, gpu);
    return {driver, gpu, TensorRtLibrary::find(flavour_of(wanted.record), wanted)};
}

[[noreturn]] void refuse_interface(const EngineRecord& record, const std::string& got,
                                   const std::string& expected) {
    throw Error(MAHTRT_FAILED, sentence("engine " + record.name, got, expected, kRebuild));
}

std::string shown(const std::vector<std::int64_t>& shape) {
    std::string text = "(";
    for (std::size_t i = 0; i < shape.size(); ++i)
        text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
    return text + ")";
}

std::optional<KernelDecode> read_decode(const EngineToOpen& wanted) {
    const auto found = wanted.record.files.find("decode");
    if (found == wanted.record.files.end()) return std::nullopt;
    const Content text = wanted.bundle.read(found->second, wanted.check);
    return read_kernel_decode(text.text(), "engine " + wanted.record.name + ": decode.json");
}

std::shared_ptr<const TensorRtNetwork> load(const EngineToOpen& wanted) {
    Here here = look_around(wanted);
    const auto found = wanted.record.files.find("plan");
    if (found == wanted.record.files.end())
        refuse_interface(wanted.record, "no file of role plan", "one");
    const Content plan = wanted.bundle.read(found->second, wanted.check);  // before a GPU is used
    auto cuda = std::make_unique<CudaContext>(here.driver, here.gpu);
    return std::make_shared<const TensorRtNetwork>(std::move(here.library), std::move(cuda),
                                                   wanted.record.name, plan);
}

class TensorRtEngine final : public Engine {
  public:
    explicit TensorRtEngine(const EngineToOpen& wanted) : plan_(make_plan(wanted)), calls_(plan_) {
        const Gpu& gpu = network().cuda().gpu();
        device_ = "cuda:" + std::to_string(gpu.number) + " " + gpu.name;
        const std::string& built = wanted.record.device.name;
        if (!built.empty() && built != gpu.name)
            notes_.push_back("Built and measured on " + built + "; this is " + gpu.name + ".");
        if (plan_->decode)
            notes_.emplace_back(
                "It ends at heatmaps, which are copied to the host and decoded there.");
        for (const std::size_t i : plan_->inputs)
            inputs_.push_back({network().tensors()[i].name, network().tensors()[i].shape});
        const auto& specs = wanted.bundle.manifest().spec.outputs;
        for (std::size_t i = 0; i < specs.size(); ++i)
            outputs_.push_back({specs[i].name, shape_of(plan_->outputs[i])});
    }

    std::string device() const override { return device_; }
    std::string runtime_path() const override { return network().library().path(); }
    const std::vector<std::string>& notes() const override { return notes_; }
    const std::vector<TensorInfo>& inputs() const override { return inputs_; }
    const std::vector<TensorInfo>& outputs() const override { return outputs_; }

    std::unique_ptr<Request> make_request() override {
        return std::make_unique<TensorRtRequest>(plan_);
    }

    void infer_device(const std::vector<const float*>& inputs, const std::vector<float*>& outputs,
                      void* stream) override {
        const auto theirs = static_cast<CuStream>(stream);
        calls_.infer(inputs, outputs, theirs != nullptr ? theirs : plan_->stream);
    }

  private:
    const TensorRtNetwork& network() const { return *plan_->network; }

    static std::shared_ptr<const TensorRtPlan> make_plan(const EngineToOpen& wanted);
    static void check_stream(const TensorRtPlan& plan) {
        const CurrentContext current(plan.network->cuda());
        plan.network->cuda().check_stream(plan.stream);
    }
    static void add_inputs(const EngineToOpen& wanted, TensorRtPlan& plan);
    static OutputSource source_of(const EngineToOpen& wanted, const TensorRtPlan& plan,
                                  const std::string& name);
    static void check_heatmaps(const EngineToOpen& wanted, TensorRtPlan& plan);

    std::vector<std::int64_t> shape_of(const OutputSource& source) const {
        if (source.kind == OutputSource::Kind::kTensor)
            return network().tensors()[source.tensor].shape;
        std::vector<std::int64_t> shape{plan_->decode->shape[0], plan_->decode->shape[1]};
        if (source.kind == OutputSource::Kind::kLandmarks) shape.push_back(2);
        return shape;
    }

    std::shared_ptr<const TensorRtPlan> plan_;
    TensorRtDeviceCalls calls_;
    std::string device_;
    std::vector<std::string> notes_;
    std::vector<TensorInfo> inputs_, outputs_;
};

std::shared_ptr<const TensorRtPlan> TensorRtEngine::make_plan(const EngineToOpen& wanted) {
    auto plan = std::make_shared<TensorRtPlan>();
    plan->decode = read_decode(wanted);
    plan->network = load(wanted);
    plan->stream = static_cast<CuStream>(wanted.stream);
    check_stream(*plan);
    add_inputs(wanted, *plan);
    if (plan->decode) check_heatmaps(wanted, *plan);
    for (const OutputSpec& each : wanted.bundle.manifest().spec.outputs)
        plan->outputs.push_back(source_of(wanted, *plan, each.name));
    return plan;
}

void TensorRtEngine::add_inputs(const EngineToOpen& wanted, TensorRtPlan& plan) {
    const auto& tensors = plan.network->tensors();
    for (const InputSpec& each : wanted.bundle.manifest().spec.inputs) {
        const IoTensor* found = plan.network->find(each.name);
        const std::vector<std::int64_t> shape{wanted.record.batch, each.channels, each.size.height,
                                              each.size.width};
        if (found == nullptr || !found->is_input || found->is_half || found->shape != shape)
            refuse_interface(wanted.record, "no such input",
                             "input " + quoted(each.name) + " float32 " + shown(shape));
        plan.inputs.push_back(static_cast<std::size_t>(found - tensors.data()));
    }
    const auto count = std::count_if(tensors.begin(), tensors.end(),
                                     [](const IoTensor& each) { return each.is_input; });
    if (static_cast<std::size_t>(count) != plan.inputs.size())
        refuse_interface(wanted.record, std::to_string(count) + " inputs",
                         std::to_string(plan.inputs.size()));
}

void TensorRtEngine::check_heatmaps(const EngineToOpen& wanted, TensorRtPlan& plan) {
    const KernelDecode& decode = *plan.decode;
    const std::vector<std::int64_t> shape(decode.shape.begin(), decode.shape.end());
    const IoTensor* found = plan.network->find(decode.heatmaps);
    if (found == nullptr || found->is_input || found->is_half != decode.is_half ||
        found->shape != shape || shape[0] != wanted.record.batch)
        throw Error(MAHTRT_INTEGRITY, sentence("engine " + wanted.record.name, "no such output",
                                               "heatmaps " + quoted(decode.heatmaps) + " " +
                                                   shown(shape) + ", which are decoded",
                                               kRebuild));
    plan.heatmaps = static_cast<std::size_t>(found - plan.network->tensors().data());
}

OutputSource TensorRtEngine::source_of(const EngineToOpen& wanted, const TensorRtPlan& plan,
                                       const std::string& name) {
    using Kind = OutputSource::Kind;
    if (plan.decode) {
        if (name == plan.decode->landmarks) return {Kind::kLandmarks, 0};
        if (name == plan.decode->confidence) return {Kind::kConfidence, 0};
        if (name == plan.decode->spread) return {Kind::kSpread, 0};
    }
    const IoTensor* found = plan.network->find(name);
    const bool is_heatmaps = plan.decode && name == plan.decode->heatmaps;
    if (found == nullptr || found->is_input || (found->is_half && !is_heatmaps) ||
        found->shape.empty() || found->shape[0] != wanted.record.batch)
        refuse_interface(wanted.record, "no such output",
                         "output " + quoted(name) + " float32 for a batch of " +
                             std::to_string(wanted.record.batch));
    return {Kind::kTensor, static_cast<std::size_t>(found - plan.network->tensors().data())};
}

}  // namespace

std::string tensorrt_problem(const EngineToOpen& wanted) {
    try {
        look_around(wanted);
        return "";
    } catch (const Error& error) {
        return error.what();
    }
}

std::unique_ptr<Engine> open_tensorrt(const EngineToOpen& wanted) {
    return std::make_unique<TensorRtEngine>(wanted);
}

}  // namespace mahtrt
