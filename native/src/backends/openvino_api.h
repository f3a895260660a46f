// The part of OpenVINO's C API that is used, declared by ourselves: OpenVINO's headers are not
// needed to build this library. Source: the reference of OpenVINO's C API, 2025.4 to 2026.4, which
// differ in none of these functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "../shared_library.h"

extern "C" {
struct ov_core;
struct ov_model;
struct ov_compiled_model;
struct ov_infer_request;
struct ov_tensor;
struct ov_output_const_port;

struct ov_version_t {
    const char* build_number;
    const char* description;
};
struct ov_shape_t {
    std::int64_t rank;
    std::int64_t* dims;
};
}

namespace mahtrt {

// Numbers of OpenVINO's element types; later ones differ between versions.
constexpr int kOvFloat32 = 4, kOvInt8 = 7;

// One OpenVINO that is loaded, with its one core. Lives as long as the process: its CPU plugin
// changes the signal stack of the thread that loads it, and cores that are destroyed in another
// order than the opposite of their creation leave a thread with a stack that is gone.
class OpenVino {
  public:
    // The OpenVINO for an engine: the version that compiled it where there are several, else the
    // newest. Throws Error MAHTRT_MISSING.
    static OpenVino& find(const std::string& runtime_dir, const std::string& engine_version);

    const std::string& path() const noexcept { return library_.path(); }
    const std::string& version() const noexcept { return version_; }     // release and build
    const std::string& cpu_name() const noexcept { return cpu_name_; }
    // Space-separated, in OpenVINO's order.
    const std::string& capabilities() const noexcept { return capabilities_; }
    ov_core* core() const noexcept { return core_; }
    // Held while the core's properties are set and used.
    std::mutex& properties() noexcept { return properties_; }

    // Throws Error with OpenVINO's own reason, where a status is not 0.
    void check(int status, const std::string& doing) const;
    // That reason, in one line.
    std::string reason_of(int status) const;

    // Functions by their names without "ov_".
    int (*get_openvino_version)(ov_version_t*);
    void (*version_free)(ov_version_t*);
    void (*free)(const char*);
    const char* (*get_last_err_msg)();
    const char* (*get_error_info)(int);
    int (*core_create)(ov_core**);
    int (*core_get_property)(const ov_core*, const char*, const char*, char**);
    int (*core_set_property)(const ov_core*, const char*, ...);
    int (*core_read_model_from_memory_buffer)(const ov_core*, const char*, std::size_t,
                                              const ov_tensor*, ov_model**);
    int (*core_compile_model)(const ov_core*, const ov_model*, const char*, std::size_t,
                              ov_compiled_model**, ...);
    int (*core_import_model)(const ov_core*, const char*, std::size_t, const char*,
                             ov_compiled_model**);
    void (*model_free)(ov_model*);
    void (*compiled_model_free)(ov_compiled_model*);
    int (*compiled_model_input_by_name)(const ov_compiled_model*, const char*,
                                        ov_output_const_port**);
    int (*compiled_model_output_by_name)(const ov_compiled_model*, const char*,
                                         ov_output_const_port**);
    int (*compiled_model_inputs_size)(const ov_compiled_model*, std::size_t*);
    int (*compiled_model_create_infer_request)(const ov_compiled_model*, ov_infer_request**);
    int (*const_port_get_shape)(const ov_output_const_port*, ov_shape_t*);
    int (*port_get_element_type)(const ov_output_const_port*, int*);
    void (*output_const_port_free)(ov_output_const_port*);
    int (*shape_create)(std::int64_t, const std::int64_t*, ov_shape_t*);
    int (*shape_free)(ov_shape_t*);
    int (*tensor_create_from_host_ptr)(int, ov_shape_t, void*, ov_tensor**);
    int (*tensor_data)(const ov_tensor*, void**);
    void (*tensor_free)(ov_tensor*);
    int (*infer_request_get_tensor_by_const_port)(const ov_infer_request*,
                                                  const ov_output_const_port*, ov_tensor**);
    int (*infer_request_infer)(ov_infer_request*);
    void (*infer_request_free)(ov_infer_request*);

  private:
    explicit OpenVino(SharedLibrary library);
    void find_functions();
    std::string property(const char* name) const;

    SharedLibrary library_;
    std::string version_, cpu_name_, capabilities_;
    ov_core* core_ = nullptr;
    std::mutex properties_;
};

}  // namespace mahtrt
