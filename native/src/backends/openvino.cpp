#include "openvino.h"

#include <algorithm>
#include <new>
#include <utility>

#include "../error.h"
#include "../machine.h"
#include "openvino_api.h"

namespace mahtrt {
namespace {

constexpr char kRebuild[] = "Build the bundle again with this version of mahtrt.";

// What OpenVINO gave us, freed by the function that belongs to it.
template <typename Thing>
using Owned = std::unique_ptr<Thing, void (*)(Thing*)>;

std::string file_of(const EngineRecord& record, const char* role) {
    const auto found = record.files.find(role);
    return found == record.files.end() ? "" : found->second;
}

std::string version_of(const EngineRecord& record) {
    const auto found = record.versions.find("openvino");
    return found == record.versions.end() ? "" : found->second;
}

std::string joined(const std::vector<std::string>& words) {
    std::string text;
    for (const std::string& each : words) text += (text.empty() ? "" : " ") + each;
    return text;
}

// A blob is tied to the OpenVINO and to the CPU that made it.
bool made_blob(const EngineRecord& record, const OpenVino& openvino) {
    return !file_of(record, "blob").empty() && record.device.name == openvino.cpu_name() &&
           joined(record.device.capabilities) == openvino.capabilities() &&
           version_of(record) == openvino.version();
}

bool has_ir(const EngineRecord& record) {
    return !file_of(record, "ir").empty() && !file_of(record, "weights").empty();
}

std::string no_form(const EngineRecord& record, const OpenVino& openvino) {
    return "got a blob for " + quoted(record.device.name) + " and OpenVINO " +
           quoted(version_of(record)) + ", and no IR; this is " + quoted(openvino.cpu_name()) +
           " and OpenVINO " + quoted(openvino.version());
}

class OpenVinoRequest final : public Request {
  public:
    OpenVinoRequest(const OpenVino& openvino, const ov_compiled_model* compiled,
                    const std::vector<const ov_output_const_port*>& inputs,
                    const std::vector<const ov_output_const_port*>& outputs)
        : openvino_(openvino), request_(nullptr, openvino.infer_request_free), outputs_(outputs) {
        ov_infer_request* request = nullptr;
        openvino.check(openvino.compiled_model_create_infer_request(compiled, &request),
                       "making an infer request");
        request_.reset(request);
        for (const ov_output_const_port* port : inputs)
            inputs_.push_back(static_cast<float*>(data_of(port)));
    }

    float* input(std::size_t number) override { return inputs_.at(number); }

    void infer() override {
        openvino_.check(openvino_.infer_request_infer(request_.get()), "running the network");
    }

    // Asked for after every inference: an output may lie elsewhere each time.
    const float* output(std::size_t number) override {
        return static_cast<const float*>(data_of(outputs_.at(number)));
    }

  private:
    void* data_of(const ov_output_const_port* port) const {
        ov_tensor* tensor = nullptr;
        openvino_.check(
            openvino_.infer_request_get_tensor_by_const_port(request_.get(), port, &tensor),
            "finding a tensor");
        const Owned<ov_tensor> owned(tensor, openvino_.tensor_free);  // the request keeps the data
        void* data = nullptr;
        openvino_.check(openvino_.tensor_data(tensor, &data), "finding a tensor's memory");
        return data;
    }

    const OpenVino& openvino_;
    Owned<ov_infer_request> request_;
    std::vector<float*> inputs_;
    const std::vector<const ov_output_const_port*>& outputs_;
};

class OpenVinoEngine final : public Engine {
  public:
    OpenVinoEngine(OpenVino& openvino, const EngineToOpen& wanted)
        : openvino_(openvino), compiled_(nullptr, openvino.compiled_model_free) {
        note_differences(wanted.record);
        compile(wanted);
        const ModelSpec& spec = wanted.bundle.manifest().spec;
        std::size_t count = 0;
        openvino.check(openvino.compiled_model_inputs_size(compiled_.get(), &count),
                       "counting inputs");
        if (count != spec.inputs.size())
            throw Error(MAHTRT_FAILED, sentence("engine " + wanted.record.name,
                                                std::to_string(count) + " inputs",
                                                std::to_string(spec.inputs.size())));
        for (const InputSpec& each : spec.inputs) add_input(wanted.record, each);
        for (const OutputSpec& each : spec.outputs) add_output(wanted.record, each);
    }

    std::string device() const override { return "cpu"; }
    std::string runtime_path() const override { return openvino_.path(); }
    const std::vector<std::string>& notes() const override { return notes_; }
    const std::vector<TensorInfo>& inputs() const override { return inputs_; }
    const std::vector<TensorInfo>& outputs() const override { return outputs_; }

    std::unique_ptr<Request> make_request() override {
        return std::make_unique<OpenVinoRequest>(openvino_, compiled_.get(), input_ports_,
                                                 output_ports_);
    }

  private:
    using Port = Owned<ov_output_const_port>;

    void note_differences(const EngineRecord& record) {
        const std::string& built = record.device.name;
        if (!built.empty() && built != openvino_.cpu_name())
            notes_.push_back("Built and measured on " + built + "; this is " +
                             openvino_.cpu_name() + ".");
        if (version_of(record) != openvino_.version())
            notes_.push_back("Built with OpenVINO " + version_of(record) + ", this is " +
                             openvino_.version() + ": compiled again.");
        precision_ = record.device.inference_precision;
        if (precision_.empty()) precision_ = "f32";
        const bool native = multiplies_bf16() &&
                            openvino_.capabilities().find("BF16") != std::string::npos;
        if (precision_ == "bf16" && !native) {
            notes_.emplace_back(
                "Built for native BF16, which this CPU lacks: it runs in FP32 here.");
            precision_ = "f32";
        }
    }

    void compile(const EngineToOpen& wanted) {
        const std::string threads = std::to_string(threads_for(wanted));
        if (made_blob(wanted.record, openvino_)) {
            content_ = wanted.bundle.read(file_of(wanted.record, "blob"), wanted.check);
            if (import_blob(threads)) return;
        }
        if (!has_ir(wanted.record))
            throw Error(MAHTRT_FAILED, "engine " + wanted.record.name + ": " +
                                           (blob_refused_.empty()
                                                ? no_form(wanted.record, openvino_)
                                                : blob_refused_ + ", and there is no IR") +
                                           ". " + kRebuild);
        compile_ir(wanted, threads);
    }

    int threads_for(const EngineToOpen& wanted) const {
        if (wanted.threads > 0) return wanted.threads;
        const DeviceRecord& device = wanted.record.device;
        const bool here = device.name == openvino_.cpu_name() && device.cores == usable_cores();
        return here && device.threads ? static_cast<int>(*device.threads) : 0;
    }

    // Properties of the core, since importing takes none. False where OpenVINO does not take it.
    bool import_blob(const std::string& threads) {
        const std::lock_guard<std::mutex> lock(openvino_.properties());
        set("PERFORMANCE_HINT", "LATENCY");
        set("INFERENCE_PRECISION_HINT", precision_);
        set("INFERENCE_NUM_THREADS", threads);
        ov_compiled_model* compiled = nullptr;
        // The model goes on pointing into the content, which is not documented.
        const int status = openvino_.core_import_model(
            openvino_.core(), content_.text().data(), content_.size(), "CPU", &compiled);
        if (status != 0) {
            blob_refused_ = "OpenVINO did not take the blob (" + openvino_.reason_of(status) + ")";
            notes_.push_back(blob_refused_ + ": the IR is compiled.");
            return false;
        }
        compiled_.reset(compiled);
        return true;
    }

    void set(const char* name, const std::string& value) {
        openvino_.check(
            openvino_.core_set_property(openvino_.core(), "CPU", name, value.c_str()),
            std::string("setting ") + name);
    }

    void compile_ir(const EngineToOpen& wanted, const std::string& threads) {
        const Content graph =
            wanted.bundle.read(file_of(wanted.record, "ir"), wanted.check);
        content_ = wanted.bundle.read(file_of(wanted.record, "weights"), wanted.check);
        const Owned<ov_tensor> weights = weights_tensor();
        ov_model* read = nullptr;
        openvino_.check(openvino_.core_read_model_from_memory_buffer(
                            openvino_.core(), graph.text().data(), graph.size(), weights.get(),
                            &read),
                        "reading the IR of engine " + wanted.record.name);
        const Owned<ov_model> model(read, openvino_.model_free);
        ov_compiled_model* compiled = nullptr;
        const int status = openvino_.core_compile_model(
            openvino_.core(), model.get(), "CPU", 6, &compiled, "PERFORMANCE_HINT", "LATENCY",
            "INFERENCE_PRECISION_HINT", precision_.c_str(), "INFERENCE_NUM_THREADS",
            threads.c_str());
        openvino_.check(status, "compiling engine " + wanted.record.name);
        compiled_.reset(compiled);
    }

    Owned<ov_tensor> weights_tensor() {
        ov_shape_t shape{};
        const std::int64_t length = static_cast<std::int64_t>(content_.size());
        openvino_.check(openvino_.shape_create(1, &length, &shape), "describing weights");
        ov_tensor* tensor = nullptr;
        const int status = openvino_.tensor_create_from_host_ptr(kOvInt8, shape, content_.room(),
                                                                 &tensor);
        openvino_.shape_free(&shape);
        openvino_.check(status, "handing weights over");
        return {tensor, openvino_.tensor_free};
    }

    void add_input(const EngineRecord& record, const InputSpec& spec) {
        ov_output_const_port* found = nullptr;
        openvino_.check(openvino_.compiled_model_input_by_name(compiled_.get(),
                                                               spec.name.c_str(), &found),
                        "finding input " + quoted(spec.name));
        Port port(found, openvino_.output_const_port_free);
        inputs_.push_back(info_of(*port, spec.name));
        const std::vector<std::int64_t> expected{record.batch, spec.channels, spec.size.height,
                                                 spec.size.width};
        if (inputs_.back().shape != expected)
            throw Error(MAHTRT_FAILED,
                        sentence("engine " + record.name, "another shape of " + quoted(spec.name),
                                 "that of its spec", kRebuild));
        input_ports_.push_back(port.get());
        ports_.push_back(std::move(port));
    }

    void add_output(const EngineRecord& record, const OutputSpec& spec) {
        ov_output_const_port* found = nullptr;
        openvino_.check(openvino_.compiled_model_output_by_name(compiled_.get(),
                                                                spec.name.c_str(), &found),
                        "finding output " + quoted(spec.name));
        Port port(found, openvino_.output_const_port_free);
        outputs_.push_back(info_of(*port, spec.name));
        const auto& shape = outputs_.back().shape;
        if (shape.empty() || shape[0] != record.batch)
            throw Error(MAHTRT_FAILED,
                        sentence("engine " + record.name, "another batch of " + quoted(spec.name),
                                 std::to_string(record.batch), kRebuild));
        output_ports_.push_back(port.get());
        ports_.push_back(std::move(port));
    }

    TensorInfo info_of(const ov_output_const_port& port, const std::string& name) const {
        int type = -1;
        openvino_.check(openvino_.port_get_element_type(&port, &type), "reading a type");
        if (type != kOvFloat32)
            throw Error(MAHTRT_FAILED, sentence("tensor " + quoted(name),
                                                "type number " + std::to_string(type),
                                                "float32", kRebuild));
        ov_shape_t shape{};
        openvino_.check(openvino_.const_port_get_shape(&port, &shape), "reading a shape");
        TensorInfo info{name, {shape.dims, shape.dims + shape.rank}};
        openvino_.shape_free(&shape);
        return info;
    }

    OpenVino& openvino_;
    Content content_;  // outlives what OpenVINO made of it
    std::string precision_, blob_refused_;
    Owned<ov_compiled_model> compiled_;
    std::vector<Port> ports_;
    std::vector<const ov_output_const_port*> input_ports_, output_ports_;
    std::vector<TensorInfo> inputs_, outputs_;
    std::vector<std::string> notes_;
};

}  // namespace

std::string openvino_problem(const EngineToOpen& wanted) {
    try {
        const OpenVino& openvino =
            OpenVino::find(wanted.runtime_dir, version_of(wanted.record));
        if (made_blob(wanted.record, openvino) || has_ir(wanted.record)) return "";
        return no_form(wanted.record, openvino);
    } catch (const Error& error) {
        return error.what();
    }
}

std::unique_ptr<Engine> open_openvino(const EngineToOpen& wanted) {
    OpenVino& openvino = OpenVino::find(wanted.runtime_dir, version_of(wanted.record));
    return std::make_unique<OpenVinoEngine>(openvino, wanted);
}

}  // namespace mahtrt
