// Prints what was read of a manifest as JSON, in the structs' own terms: Python compares it with
// what it read itself (tests/native/test_native_manifest.py).
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "error.h"
#include "manifest.h"

namespace mahtrt {  // where the compiler looks for `show` of a struct

std::string show(const std::string& text) {
    std::string shown = "\"";
    for (const char each : text) {
        if (each == '"' || each == '\\') shown += '\\';
        shown += each;
    }
    return shown + "\"";
}
std::string show(bool value) { return value ? "true" : "false"; }
std::string show(std::int32_t value) { return std::to_string(value); }
std::string show(std::int64_t value) { return std::to_string(value); }
std::string show(std::uint64_t value) { return std::to_string(value); }
std::string show(double value) {
    if (!std::isfinite(value)) return "null";
    char digits[40];
    std::snprintf(digits, sizeof digits, "%.17g", value);
    return digits;
}

template <class Enum, class = std::enable_if_t<std::is_enum<Enum>::value>>
std::string show(Enum value) {
    return std::to_string(static_cast<int>(value));
}
std::string show(const Size& size) {
    return "[" + show(size.height) + ", " + show(size.width) + "]";
}
template <class T>
std::string show(const std::optional<T>& value);
template <class T>
std::string show(const std::map<std::string, T>& table);
template <class T>
std::string show(const std::vector<T>& list);

// A table: show_fields("a", 1, "b", 2).
inline std::string fields_text() { return ""; }
template <class T, class... Rest>
std::string fields_text(const char* name, const T& value, const Rest&... rest) {
    const std::string more = fields_text(rest...);
    return show(std::string(name)) + ": " + show(value) + (more.empty() ? "" : ", " + more);
}
template <class... Fields>
std::string table(const Fields&... fields) {
    return "{" + fields_text(fields...) + "}";
}

std::string show(const InputSpec& input) {
    const auto first = [&input](const std::array<double, 3>& values) {
        return std::vector<double>(values.begin(), values.begin() + input.channels);
    };
    return table("name", input.name, "size", input.size, "channels", input.channels, "color_order",
                 input.color_order, "mean", first(input.mean), "std", first(input.std), "resize",
                 input.resize, "interpolation", input.interpolation, "pad_value", input.pad_value);
}
std::string show(const OutputSpec& output) {
    return table("name", output.name, "kind", output.kind, "frame", output.frame, "labels",
                 output.labels, "threshold", output.threshold);
}
std::string show(const DecodeSpec& decode) {
    return table("method", decode.method, "temperature", decode.temperature, "sigma", decode.sigma,
                 "heatmap_size", decode.heatmap_size);
}
std::string show(const ModelSpec& spec) {
    return table("family", spec.family, "inputs", spec.inputs, "outputs", spec.outputs, "landmarks",
                 spec.landmarks, "decode", spec.decode);
}
std::string show(const FileRecord& file) {
    return table("path", file.path, "sha256", file.sha256, "size", file.size);
}
std::string show(const DeviceRecord& device) {
    return table("name", device.name, "platform", device.platform, "inference_precision",
                 device.inference_precision, "capabilities", device.capabilities, "threads",
                 device.threads, "cores", device.cores, "settings", device.settings);
}
std::string show(const MapAccuracy& map) {
    return table("name", map.name, "mean", map.mean, "max", map.max, "ssim", map.ssim);
}
std::string show(const DecisionAccuracy& each) {
    return table("name", each.name, "max", each.max, "agreement", each.agreement);
}
std::string show(const LandmarkAccuracy& each) {
    return table("name", each.name, "mean_px", each.mean_px, "max_px", each.max_px,
                 "usual_spread_px", each.usual_spread_px);
}
std::string show(const AccuracyRecord& each) {
    return table("mean_px", each.mean_px, "max_px", each.max_px, "worst_landmark_mean_px",
                 each.worst_landmark_mean_px, "mean_mm", each.mean_mm, "p99_px", each.p99_px,
                 "per_landmark", each.per_landmark, "maps", each.maps, "logits", each.logits,
                 "visibility", each.visibility);
}
std::string show(const EngineRecord& engine) {
    return table("name", engine.name, "target", engine.target, "precision", engine.precision,
                 "files", engine.files, "batch", engine.batch, "device", engine.device, "versions",
                 engine.versions, "passed", engine.passed, "reasons", engine.reasons, "notes",
                 engine.notes, "accuracy", engine.accuracy, "golden", engine.golden, "p50_ms",
                 engine.p50_ms);
}
std::string show(const GoldenPicture& picture) {
    return table("image", picture.image, "shape", picture.shape, "wide", picture.wide);
}
std::string show(const GoldenOutput& output) {
    return table("name", output.name, "file", output.file, "shape", output.shape, "step",
                 output.step);
}
std::string show(const GoldenImage& image) {
    return table("name", image.name, "points", image.points, "picture", image.picture,
                 "spacing_row_mm", image.spacing_row_mm, "spacing_column_mm",
                 image.spacing_column_mm, "others", image.others, "outputs", image.outputs);
}
std::string show(const Budgets& each) {
    return table("budget_px", each.budget_px, "worst_landmark_px", each.worst_landmark_px,
                 "fp32_px", each.fp32_px, "fp32_max_px", each.fp32_max_px, "budget_mm",
                 each.budget_mm, "delta_mre_mm", each.delta_mre_mm, "p99_px", each.p99_px, "max_px",
                 each.max_px, "landmark_mre_percent", each.landmark_mre_percent, "map_mean",
                 each.map_mean, "map_max", each.map_max, "map_ssim", each.map_ssim, "logits_max",
                 each.logits_max, "logits_agreement", each.logits_agreement, "visibility_agreement",
                 each.visibility_agreement, "fp32_map_max", each.fp32_map_max, "fp32_logits_max",
                 each.fp32_logits_max, "fp32_visibility_max", each.fp32_visibility_max);
}
std::string show(const Manifest& manifest) {
    return table("spec", manifest.spec, "precision", manifest.precision, "default_engine",
                 manifest.default_engine, "engines", manifest.engines, "preprocess_version",
                 manifest.preprocess_version, "golden", manifest.golden, "budgets",
                 manifest.budgets, "files", manifest.files, "weight_bits", manifest.weight_bits);
}

template <class T>
std::string show(const std::optional<T>& value) {
    return value ? show(*value) : "null";
}
template <class T>
std::string show(const std::map<std::string, T>& table) {
    std::string shown;
    for (const auto& [name, value] : table)
        shown += (shown.empty() ? "" : ", ") + show(name) + ": " + show(value);
    return "{" + shown + "}";
}
template <class T>
std::string show(const std::vector<T>& list) {
    std::string shown;
    for (const T& each : list) shown += (shown.empty() ? "" : ", ") + show(each);
    return "[" + shown + "]";
}

}  // namespace mahtrt

namespace {

int print(const std::string& bytes) {
    try {
        std::puts(mahtrt::show(mahtrt::read_manifest(bytes)).c_str());
        return 0;
    } catch (const mahtrt::Error& error) {
        std::puts(error.what());
        return error.status();
    }
}

// A line for each of many manifests, which zero bytes separate: "" where it is read.
void judge(const std::string& bytes) {
    for (std::size_t start = 0; start < bytes.size();) {
        const std::size_t end = std::min(bytes.find('\0', start), bytes.size());
        try {
            mahtrt::read_manifest(std::string_view(bytes).substr(start, end - start));
            std::puts("");
        } catch (const mahtrt::Error& error) {
            std::puts(error.what());
        }
        start = end + 1;
    }
}

}  // namespace

// print_manifest FILE, or print_manifest FILE --judge
int main(int count, char** arguments) {
    if (count < 2) return 2;
    std::ifstream file(arguments[1], std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    if (count == 2) return print(bytes);
    judge(bytes);
    return 0;
}
