#include "manifest.h"

#include "error.h"
#include "json.h"
#include "manifest_check.h"
#include "manifest_fill.h"
#include "manifest_records.h"
#include "prepare.h"
#include "sha256.h"

namespace mahtrt {
namespace {

constexpr std::string_view kSchema = "mahtrt.bundle/", kSpecSchema = "mahtrt.spec/";
constexpr int kNewest = 3, kNewestSpec = 2;
constexpr const char* kRebuild =
    "Build the bundle again, or copy it again from where it was whole.";
constexpr const char* kNewer = "Use a newer libmahtrt, or build the bundle again for this one.";

// The number behind `name` of a schema that this library reads.
int schema_number(Json json, std::string_view name, int newest, const std::string& subject) {
    const std::string_view text = json.kind() == JsonKind::kText ? json.text() : std::string_view();
    if (text.size() == name.size() + 1 && text.substr(0, name.size()) == name) {
        const int number = text.back() - '0';
        if (number >= 1 && number <= newest) return number;
    }
    throw Error(MAHTRT_INTEGRITY,
                sentence(subject, json.shown(),
                         std::string(name) + "1 to " + std::to_string(newest), kNewer));
}

// The page, "The manifest": the file ends with its own digest, taken with zeros in its place.
void check_own_digest(std::string_view bytes) {
    constexpr std::string_view kBefore = "\"sha256\": \"", kAfter = "\"\n}\n";
    constexpr std::size_t kDigits = 64, kEnd = kDigits + kAfter.size();
    const bool ends = bytes.size() >= kBefore.size() + kEnd &&
                      bytes.substr(bytes.size() - kAfter.size()) == kAfter &&
                      bytes.substr(bytes.size() - kEnd - kBefore.size(), kBefore.size()) == kBefore;
    if (!ends)
        throw Error(MAHTRT_INTEGRITY,
                    sentence("manifest", "no digest of its own at the end", "one", kRebuild));
    std::string zeroed(bytes);
    const std::string wanted = zeroed.substr(bytes.size() - kEnd, kDigits);
    zeroed.replace(bytes.size() - kEnd, kDigits, kDigits, '0');
    const std::string got = sha256_hex(zeroed.data(), zeroed.size());
    if (got != wanted)
        throw Error(MAHTRT_INTEGRITY, sentence("manifest", "SHA-256 " + got,
                                               quoted(wanted) + ", as it says", kRebuild));
}

void check_schemas(Json json) {
    if (json.kind() != JsonKind::kTable)
        throw Error(MAHTRT_INTEGRITY, sentence("manifest", json.shown(), "a table", kRebuild));
    if (schema_number(json["schema"], kSchema, kNewest, "schema") == 1)
        throw Error(MAHTRT_INTEGRITY,
                    sentence("schema", "mahtrt.bundle/1", "mahtrt.bundle/2 or 3",
                             "Write the bundle anew with: mahtrt pack OLD --out NEW"));
}

void check_inputs(Json spec) {
    if (spec["inputs"].is_null() == spec["input"].is_null())
        throw Error(MAHTRT_INTEGRITY,
                    sentence("spec", "neither or both of inputs and input", "one of them"));
}

void check_preprocess_version(std::int64_t version) {
    if (version >= 1 && version <= kPreprocessVersion) return;
    throw Error(MAHTRT_INTEGRITY, sentence("preprocess_version", std::to_string(version),
                                           "1 to " + std::to_string(kPreprocessVersion), kNewer));
}

FileRecord file_from(Json json) {
    return {text_from(json["path"]), text_from(json["sha256"]),
            static_cast<std::uint64_t>(json["size"].integer())};
}

Manifest manifest_from(Json json) {
    Manifest manifest;
    manifest.spec = spec_from(json["spec"]);
    manifest.precision = text_from(json["precision"]);
    manifest.default_engine = text_from(json["default_engine"]);
    manifest.engines = list_from(json["engines"], engine_from);
    manifest.preprocess_version = json["preprocess_version"].integer();
    manifest.golden = list_from(json["golden"]["images"], golden_image_from);
    const Json gate = json["gate"];
    if (!gate.is_null()) manifest.budgets = budgets_from(gate["budgets"]);
    manifest.files = list_from(json["files"], file_from);
    for (const auto& graph : json["graphs"].items())
        if (!graph.value["weight_bits"].is_null())
            manifest.weight_bits[text_from(graph.value["file"])] =
                graph.value["weight_bits"].integer();
    return manifest;
}

}  // namespace

const EngineRecord* Manifest::engine(std::string_view name) const noexcept {
    for (const EngineRecord& each : engines)
        if (each.name == name) return &each;
    return nullptr;
}

const FileRecord* Manifest::file(std::string_view path) const noexcept {
    for (const FileRecord& each : files)
        if (each.path == path) return &each;
    return nullptr;
}

Manifest read_manifest(std::string_view bytes) {
    const JsonDocument document(bytes, "manifest", MAHTRT_INTEGRITY);
    const Json root = document.root();
    check_schemas(root);
    check_own_digest(bytes);
    schema_number(root["spec"]["schema"], kSpecSchema, kNewestSpec, "spec: schema");
    Schema(kManifestRecords).check(root, "Manifest", "manifest", MAHTRT_INTEGRITY);
    check_inputs(root["spec"]);
    Manifest manifest = manifest_from(root);
    check_preprocess_version(manifest.preprocess_version);
    check_spec(manifest.spec);
    check_manifest(manifest, list_from(root["graphs"], [](Json graph) {
                       return std::make_pair(text_from(graph["name"]), text_from(graph["file"]));
                   }));
    return manifest;
}

}  // namespace mahtrt
