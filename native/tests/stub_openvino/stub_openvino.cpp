// Stands in for OpenVINO in tests of what happens around it: which calls are made, what is freed,
// what a failure does. It computes no network. Its "IR" is a text with a line per tensor,
// "input image 1 1 32 32" or "output landmarks 1 3 2"; value i of an output is the sum of the
// inputs' values plus i.
//
// Environment: STUB_FAIL=N lets the N-th call that can fail do so, N counted from 1.
#include <atomic>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

namespace {

std::atomic<long> live{0};       // objects that the caller has to free
std::atomic<long> calls{0};      // of functions that can fail
std::atomic<long> fail_at{-1};   // which of them does

bool fails() { return calls.fetch_add(1) + 1 == fail_at.load(); }

struct Counted {
    Counted() { ++live; }
    Counted(const Counted&) { ++live; }
    ~Counted() { --live; }
};

struct Description {
    bool input = false;
    std::string name;
    std::vector<std::int64_t> shape;

    std::size_t floats() const {
        std::size_t count = 1;
        for (const auto each : shape) count *= static_cast<std::size_t>(each);
        return count;
    }
};

char* copied(const std::string& text) {
    ++live;
    char* copy = static_cast<char*>(std::malloc(text.size() + 1));
    std::memcpy(copy, text.c_str(), text.size() + 1);
    return copy;
}

}  // namespace

extern "C" {

struct ov_core : Counted {};
struct ov_model : Counted {
    std::vector<Description> tensors;
};
struct ov_compiled_model : Counted {
    std::vector<Description> tensors;
};
struct ov_output_const_port : Counted {
    Description description;
};
struct ov_tensor : Counted {
    float* data = nullptr;
};
struct ov_infer_request : Counted {
    const ov_compiled_model* model = nullptr;
    std::map<std::string, std::vector<float>> values;
};
struct ov_version_t {
    const char *build_number, *description;
};
struct ov_shape_t {
    std::int64_t rank;
    std::int64_t* dims;
};

#define STUB __attribute__((visibility("default")))

STUB long stub_live_objects() { return live.load(); }
STUB long stub_calls() { return calls.load(); }
STUB void stub_fail_at(long call) {
    calls = 0;
    fail_at = call;
}

STUB int ov_get_openvino_version(ov_version_t* version) {
    if (fails()) return -1;
    *version = {copied("2026.4.1-stub"), copied("stub")};
    return 0;
}
STUB void ov_version_free(ov_version_t* version) {
    for (const char* each : {version->build_number, version->description}) {
        std::free(const_cast<char*>(each));
        --live;
    }
}
STUB void ov_free(const char* text) {
    if (text == nullptr) return;
    std::free(const_cast<char*>(text));
    --live;
}
STUB const char* ov_get_last_err_msg() { return "the stub was told to fail"; }
STUB const char* ov_get_error_info(int) { return "general error"; }

STUB int ov_core_create(ov_core** core) {
    if (fails()) return -1;
    *core = new ov_core;
    return 0;
}
STUB void ov_core_free(ov_core* core) { delete core; }
STUB int ov_core_get_property(const ov_core*, const char*, const char* name, char** value) {
    if (fails()) return -1;
    *value = copied(std::strcmp(name, "FULL_DEVICE_NAME") == 0 ? "Stub CPU" : "FP32 INT8");
    return 0;
}
STUB int ov_core_set_property(const ov_core*, const char*, ...) { return fails() ? -1 : 0; }

STUB int ov_core_read_model_from_memory_buffer(const ov_core*, const char* text, std::size_t size,
                                               const ov_tensor* weights, ov_model** model) {
    if (fails() || weights == nullptr || weights->data == nullptr) return -1;
    auto read = std::make_unique<ov_model>();
    std::istringstream lines(std::string(text, size));
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words(line);
        std::string kind;
        Description tensor;
        words >> kind >> tensor.name;
        tensor.input = kind == "input";
        for (std::int64_t length = 0; words >> length;) tensor.shape.push_back(length);
        read->tensors.push_back(tensor);
    }
    *model = read.release();
    return 0;
}
STUB int ov_core_compile_model(const ov_core*, const ov_model* model, const char*, std::size_t,
                               ov_compiled_model** compiled, ...) {
    if (fails()) return -1;
    *compiled = new ov_compiled_model;
    (*compiled)->tensors = model->tensors;
    return 0;
}
STUB int ov_core_import_model(const ov_core*, const char*, std::size_t, const char*,
                              ov_compiled_model**) {
    return -1;  // the stub has no blobs
}
STUB void ov_model_free(ov_model* model) { delete model; }
STUB void ov_compiled_model_free(ov_compiled_model* compiled) { delete compiled; }

namespace {

int port_by_name(const ov_compiled_model* compiled, bool input, const char* name,
                 ov_output_const_port** port) {
    if (fails()) return -1;
    for (const Description& each : compiled->tensors) {
        if (each.input != input || each.name != name) continue;
        *port = new ov_output_const_port;
        (*port)->description = each;
        return 0;
    }
    return -5;
}

}  // namespace

STUB int ov_compiled_model_input_by_name(const ov_compiled_model* compiled, const char* name,
                                         ov_output_const_port** port) {
    return port_by_name(compiled, true, name, port);
}
STUB int ov_compiled_model_output_by_name(const ov_compiled_model* compiled, const char* name,
                                          ov_output_const_port** port) {
    return port_by_name(compiled, false, name, port);
}
STUB int ov_compiled_model_inputs_size(const ov_compiled_model* compiled, std::size_t* size) {
    if (fails()) return -1;
    *size = 0;
    for (const Description& each : compiled->tensors) *size += each.input;
    return 0;
}
STUB int ov_compiled_model_create_infer_request(const ov_compiled_model* compiled,
                                                ov_infer_request** request) {
    if (fails()) return -1;
    *request = new ov_infer_request;
    (*request)->model = compiled;
    for (const Description& each : compiled->tensors)
        (*request)->values[each.name].resize(each.floats());
    return 0;
}

STUB int ov_const_port_get_shape(const ov_output_const_port* port, ov_shape_t* shape) {
    if (fails()) return -1;
    const auto& dims = port->description.shape;
    ++live;
    shape->rank = static_cast<std::int64_t>(dims.size());
    shape->dims = static_cast<std::int64_t*>(std::malloc(dims.size() * sizeof(std::int64_t)));
    std::memcpy(shape->dims, dims.data(), dims.size() * sizeof(std::int64_t));
    return 0;
}
STUB int ov_port_get_element_type(const ov_output_const_port*, int* type) {
    if (fails()) return -1;
    *type = 4;  // F32
    return 0;
}
STUB void ov_output_const_port_free(ov_output_const_port* port) { delete port; }

STUB int ov_shape_create(std::int64_t rank, const std::int64_t* dims, ov_shape_t* shape) {
    if (fails()) return -1;
    ++live;
    shape->rank = rank;
    shape->dims = static_cast<std::int64_t*>(
        std::malloc(static_cast<std::size_t>(rank) * sizeof(std::int64_t)));
    std::memcpy(shape->dims, dims, static_cast<std::size_t>(rank) * sizeof(std::int64_t));
    return 0;
}
STUB int ov_shape_free(ov_shape_t* shape) {
    std::free(shape->dims);
    --live;
    return 0;
}
STUB int ov_tensor_create_from_host_ptr(int, ov_shape_t, void* data, ov_tensor** tensor) {
    if (fails()) return -1;
    *tensor = new ov_tensor;
    (*tensor)->data = static_cast<float*>(data);
    return 0;
}
STUB int ov_tensor_data(const ov_tensor* tensor, void** data) {
    if (fails()) return -1;
    *data = tensor->data;
    return 0;
}
STUB void ov_tensor_free(ov_tensor* tensor) { delete tensor; }

STUB int ov_infer_request_get_tensor_by_const_port(const ov_infer_request* request,
                                                   const ov_output_const_port* port,
                                                   ov_tensor** tensor) {
    if (fails()) return -1;
    *tensor = new ov_tensor;
    // The request owns the values, and gives them out for writing.
    auto& values = const_cast<ov_infer_request*>(request)->values[port->description.name];
    (*tensor)->data = values.data();
    return 0;
}
STUB int ov_infer_request_infer(ov_infer_request* request) {
    if (fails()) return -1;
    double sum = 0;
    for (const Description& each : request->model->tensors)
        if (each.input)
            for (const float value : request->values[each.name]) sum += value;
    for (const Description& each : request->model->tensors) {
        if (each.input) continue;
        auto& values = request->values[each.name];
        for (std::size_t i = 0; i < values.size(); ++i)
            values[i] = static_cast<float>(sum) + static_cast<float>(i);
    }
    return 0;
}
STUB void ov_infer_request_free(ov_infer_request* request) { delete request; }

}  // extern "C"
