#include "manifest_check.h"

#include <algorithm>
#include <set>

#include "error.h"

namespace mahtrt {
namespace {

constexpr std::size_t kMostInputs = 8;

using Names = std::vector<std::string_view>;

[[noreturn]] void refuse(const std::string& subject, const std::string& got,
                         const std::string& expected) {
    throw Error(MAHTRT_INTEGRITY, sentence(subject, got, expected));
}

std::string quoted_view(std::string_view text) { return quoted(std::string(text)); }

template <class List, class Name>
Names names_of(const List& list, Name name) {
    Names names;
    for (const auto& each : list) names.push_back(name(each));
    return names;
}

void refuse_repeated(const std::string& what, const Names& names) {
    std::set<std::string_view> seen;
    for (const std::string_view name : names)
        if (!seen.insert(name).second) refuse(what, quoted_view(name) + " twice", "it once");
}

// The page, "Files and paths".
bool is_inside(std::string_view path) {
    if (path.empty() || path.find_first_of(std::string_view("\\:\0", 3)) != path.npos) return false;
    for (std::size_t start = 0; start <= path.size();) {
        const std::size_t slash = std::min(path.find('/', start), path.size());
        const std::string_view part = path.substr(start, slash - start);
        if (part.empty() || part == "." || part == "..") return false;
        start = slash + 1;
    }
    return true;
}

void check_path(std::string_view path) {
    if (!is_inside(path)) refuse("path", quoted_view(path), "a path inside the bundle");
}

Names pointed_paths(const Manifest& manifest,
                    const std::vector<std::pair<std::string, std::string>>& graphs) {
    Names paths = names_of(graphs, [](const auto& each) { return std::string_view(each.second); });
    for (const EngineRecord& engine : manifest.engines)
        for (const auto& [role, path] : engine.files) paths.push_back(path);
    for (const GoldenImage& image : manifest.golden) {
        paths.push_back(image.points);
        paths.push_back(image.picture.image);
        for (const GoldenPicture& other : image.others) paths.push_back(other.image);
        for (const GoldenOutput& output : image.outputs) paths.push_back(output.file);
    }
    return paths;
}

void check_files(const Manifest& manifest, const Names& pointed) {
    std::set<std::string_view> listed;
    for (const FileRecord& file : manifest.files) {
        check_path(file.path);
        if (file.path == "manifest.json" || file.path == "model.sig")
            refuse("files", quoted(file.path), "a name that is not reserved");
        const bool digits = file.sha256.find_first_not_of("0123456789abcdef") == std::string::npos;
        if (!digits || file.sha256.size() != 64)
            refuse("files: " + file.path, quoted(file.sha256), "64 hexadecimal digits");
        if (!listed.insert(file.path).second)
            refuse("files", quoted(file.path) + " twice", "it once");
    }
    for (const std::string_view path : pointed) {
        check_path(path);
        if (listed.count(path) == 0)
            refuse("files", "no digest for " + quoted_view(path), "one for every file");
    }
}

void check_outputs(const ModelSpec& spec) {
    if (spec.outputs.empty()) refuse("spec: outputs", "none", "at least one output");
    for (const OutputSpec& output : spec.outputs) {
        if (!output.labels.empty() && output.kind != OutputKind::kLogits)
            refuse("spec: outputs", quoted(output.name) + " with labels", "labels of logits alone");
        refuse_repeated(
            "spec: labels of " + quoted(output.name),
            names_of(output.labels, [](const auto& each) { return std::string_view(each); }));
    }
    const OutputSpec* landmarks = spec.output(OutputKind::kLandmarks);
    if (landmarks != nullptr && landmarks->frame == Frame::kNone)
        refuse("spec: outputs", quoted(landmarks->name) + " without a frame",
               "network, heatmap or normalized");
    if (landmarks != nullptr && landmarks->frame == Frame::kHeatmap && !spec.decode.heatmap_size)
        refuse("spec: decode.heatmap_size", "null",
               "a size, as landmarks are in the heatmap frame");
    if (spec.output(OutputKind::kVisibility) != nullptr && spec.landmarks.empty())
        refuse("spec: landmarks", "none", "a name per landmark that may be visible");
}

void check_decoding(const ModelSpec& spec) {
    const bool heatmaps = spec.output(OutputKind::kHeatmaps) != nullptr;
    const bool landmarks = spec.output(OutputKind::kLandmarks) != nullptr;
    const DecodeMethod method = spec.decode.method;
    if (method == DecodeMethod::kNone) return;
    const bool fits = method == DecodeMethod::kSoftArgmax ? heatmaps || landmarks
                      : method == DecodeMethod::kDark     ? heatmaps
                                                          : landmarks;
    if (!fits) refuse("spec: outputs", "none that decode.method reads", "heatmaps or landmarks");
    if (spec.landmarks.empty()) refuse("spec: landmarks", "none", "a name per landmark");
}

}  // namespace

void check_spec(const ModelSpec& spec) {
    if (spec.inputs.empty() || spec.inputs.size() > kMostInputs)
        refuse("spec: inputs", std::to_string(spec.inputs.size()) + " inputs",
               "1 to " + std::to_string(kMostInputs));
    const auto name = [](const auto& each) { return std::string_view(each.name); };
    for (const InputSpec& input : spec.inputs)
        if (input.name.empty()) refuse("spec: inputs", "an empty name", "a name");
    refuse_repeated("spec: inputs", names_of(spec.inputs, name));
    refuse_repeated("spec: outputs", names_of(spec.outputs, name));
    check_outputs(spec);
    check_decoding(spec);
}

void check_manifest(const Manifest& manifest,
                    const std::vector<std::pair<std::string, std::string>>& graphs) {
    check_files(manifest, pointed_paths(manifest, graphs));
    const Names engines =
        names_of(manifest.engines, [](const auto& each) { return std::string_view(each.name); });
    if (std::find(engines.begin(), engines.end(), manifest.default_engine) == engines.end())
        refuse("default_engine", quoted(manifest.default_engine), "the name of an engine");
    refuse_repeated("engines", engines);
    refuse_repeated(
        "graphs", names_of(graphs, [](const auto& each) { return std::string_view(each.first); }));
}

}  // namespace mahtrt
