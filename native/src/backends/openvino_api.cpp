#include "openvino_api.h"

#include <algorithm>
#include <map>
#include <vector>

#include "../error.h"

namespace mahtrt {
namespace {

constexpr char kLibrary[] = "libopenvino_c.so";
constexpr char kInstall[] =
    "Install it (pip install openvino), and name the folder of its libraries with the option "
    "runtime_dir or the environment variable MAHTRT_RUNTIME_DIR.";

// What OpenVINO appends to the names of its libraries: 2641 of version 2026.4.1.
std::string suffix_of(const std::string& version) {
    std::string digits = version.size() > 2 ? version.substr(2) : "";
    digits = digits.substr(0, digits.find('-'));
    digits.erase(std::remove(digits.begin(), digits.end(), '.'), digits.end());
    return std::string(kLibrary) + "." + digits;
}

std::vector<std::string> candidates(const std::string& runtime_dir, const std::string& version) {
    std::vector<std::string> found;
    const auto folders = runtime_folders(runtime_dir, "openvino/libs");
    for (const std::string& folder : folders)
        for (const std::string& path : versions_of(folder, kLibrary)) found.push_back(path);
    const std::string wanted = "/" + suffix_of(version);
    std::stable_partition(found.begin(), found.end(), [&](const std::string& path) {
        return path.size() > wanted.size() &&
               path.compare(path.size() - wanted.size(), wanted.size(), wanted) == 0;
    });
    if (found.empty()) {
        for (const std::string& folder : folders) found.push_back(folder + "/" + kLibrary);
        if (!names_runtime(runtime_dir)) found.emplace_back(kLibrary);  // the loader's own places
    }
    return found;
}

}  // namespace

OpenVino& OpenVino::find(const std::string& runtime_dir, const std::string& engine_version) {
    // Never destroyed, see the class.
    static std::mutex& mutex = *new std::mutex;
    static auto& loaded = *new std::map<std::string, std::unique_ptr<OpenVino>>;
    const std::lock_guard<std::mutex> lock(mutex);
    SharedLibrary library("OpenVINO", candidates(runtime_dir, engine_version), kInstall);
    auto& place = loaded[library.path()];
    if (place == nullptr) place.reset(new OpenVino(library));
    return *place;
}

OpenVino::OpenVino(SharedLibrary library) : library_(std::move(library)) {
    find_functions();
    ov_version_t version{};
    check(get_openvino_version(&version), "telling its version");
    version_ = version.build_number == nullptr ? "" : version.build_number;
    version_free(&version);
    check(core_create(&core_), "starting");
    cpu_name_ = property("FULL_DEVICE_NAME");
    cpu_name_.erase(cpu_name_.find_last_not_of(" \t") + 1);
    cpu_name_.erase(0, cpu_name_.find_first_not_of(" \t"));
    capabilities_ = property("OPTIMIZATION_CAPABILITIES");
}

void OpenVino::find_functions() {
#define MAHTRT_FIND(name) library_.find("ov_" #name, name)
    MAHTRT_FIND(get_openvino_version);
    MAHTRT_FIND(version_free);
    MAHTRT_FIND(free);
    MAHTRT_FIND(get_last_err_msg);
    MAHTRT_FIND(get_error_info);
    MAHTRT_FIND(core_create);
    MAHTRT_FIND(core_get_property);
    MAHTRT_FIND(core_set_property);
    MAHTRT_FIND(core_read_model_from_memory_buffer);
    MAHTRT_FIND(core_compile_model);
    MAHTRT_FIND(core_import_model);
    MAHTRT_FIND(model_free);
    MAHTRT_FIND(compiled_model_free);
    MAHTRT_FIND(compiled_model_input_by_name);
    MAHTRT_FIND(compiled_model_output_by_name);
    MAHTRT_FIND(compiled_model_inputs_size);
    MAHTRT_FIND(compiled_model_create_infer_request);
    MAHTRT_FIND(const_port_get_shape);
    MAHTRT_FIND(port_get_element_type);
    MAHTRT_FIND(output_const_port_free);
    MAHTRT_FIND(shape_create);
    MAHTRT_FIND(shape_free);
    MAHTRT_FIND(tensor_create_from_host_ptr);
    MAHTRT_FIND(tensor_data);
    MAHTRT_FIND(tensor_free);
    MAHTRT_FIND(infer_request_get_tensor_by_const_port);
    MAHTRT_FIND(infer_request_infer);
    MAHTRT_FIND(infer_request_free);
#undef MAHTRT_FIND
}

std::string OpenVino::property(const char* name) const {
    char* value = nullptr;
    check(core_get_property(core_, "CPU", name, &value), "finding the CPU");
    const std::string text = value == nullptr ? "" : value;
    free(value);
    return text;
}

void OpenVino::check(int status, const std::string& doing) const {
    if (status != 0)
        throw Error(MAHTRT_FAILED, "OpenVINO failed while " + doing + ": " + reason_of(status));
}

std::string OpenVino::reason_of(int status) const {
    const char* reason = get_last_err_msg();
    if (reason == nullptr || *reason == '\0') reason = get_error_info(status);
    std::string line(reason == nullptr ? "" : reason);
    std::replace(line.begin(), line.end(), '\n', ' ');
    return line;
}

}  // namespace mahtrt
