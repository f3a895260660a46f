// The reader of manifests: what is filled in, and how each kind of mistake is named.
#include <cmath>
#include <string>

#include "check.h"
#include "error.h"
#include "manifest.h"
#include "tiny_manifest.h"

using namespace mahtrt;

namespace {

const std::string kFiles = tiny_file_record("model.onnx", "weights");

void check_refused(const std::string& text, const std::string& part) {
    CHECK_REFUSED(read_manifest(sealed(text)), MAHTRT_INTEGRITY, part);
}

// The tiny manifest with one change.
void check_refused(const std::string& old, const std::string& now, const std::string& part) {
    check_refused(replaced(tiny_manifest(kFiles), old, now), part);
}

void check_spec() {
    const Manifest manifest = read_manifest(sealed(tiny_manifest(kFiles)));
    const InputSpec& input = manifest.spec.inputs.at(0);
    CHECK_EQUAL(input.size.height, 32);
    CHECK_EQUAL(input.size.width, 48);
    CHECK(input.color_order == ColorOrder::kBgr && input.resize == Resize::kStretch);
    CHECK(input.interpolation == Interpolation::kCubic);
    CHECK_EQUAL(input.std[2], 0.5);
    CHECK(manifest.spec.outputs.at(0).frame == Frame::kHeatmap);
    CHECK(manifest.spec.outputs.at(1).frame == Frame::kNone);
    CHECK(manifest.spec.decode.method == DecodeMethod::kDark);
    CHECK_EQUAL(manifest.spec.decode.sigma, 1.5);
    CHECK_EQUAL(manifest.spec.decode.heatmap_size->width, 12);
    CHECK_EQUAL(manifest.spec.landmarks.at(1), "b");
}

void check_records() {
    const Manifest manifest = read_manifest(sealed(tiny_manifest(kFiles)));
    const EngineRecord* engine = manifest.engine("openvino-int8");
    CHECK(engine != nullptr && manifest.engine("other") == nullptr);
    CHECK_EQUAL(engine->files.at("onnx"), "model.onnx");
    CHECK(engine->passed == false && !engine->accuracy && !engine->device.threads);
    CHECK(engine->device.cores == 4 && engine->p50_ms == 1.5);
    CHECK_EQUAL(engine->reasons.at(0) + engine->notes.at(0), "too farA note.");
    CHECK_EQUAL(manifest.preprocess_version, 2);
    CHECK_EQUAL(manifest.weight_bits.at("model.onnx"), 7);
    CHECK(manifest.budgets->map_max == 0.5 && !manifest.budgets->logits_max);
    CHECK_EQUAL(manifest.budgets->map_ssim, 0.98);
    CHECK_EQUAL(manifest.file("model.onnx")->size, std::uint64_t{7});
    CHECK(manifest.file("other") == nullptr && manifest.golden.empty());
}

void check_types() {
    check_refused("\"cores\": 4", "\"cores\": \"4\"",
                  "engines[0].device.cores: got \"4\", expected an integer");
    check_refused("\"cores\": 4", "\"cores\": 70000", "a number from 1 to 65536");
    check_refused("\"cores\": 4", "\"cores\": 4.0", "expected an integer");
    check_refused("\"cores\": 4,", "\"cores\": 4, \"heat\": 1,",
                  "engines[0].device: got unknown field \"heat\"");
    check_refused("\"runs\": 10", "\"rums\": 10", "latency: got unknown field \"rums\"");
    check_refused(", \"runs\": 10", "", "latency: got no field \"runs\"");
    check_refused("\"precision\": \"int8\",\n  \"graphs\"",
                  "\"precision\": \"int4\",\n  \"graphs\"", "fp32, fp16, bf16, int8");
    check_refused("[32, 48]", "[32, 48, 3]", "spec.inputs[0].size: got a list of 3");
    check_refused("\"tried_ms\": {\"latency\": 1.5}", "\"tried_ms\": {\"latency\": null}",
                  "device.tried_ms.latency: got null");
    check_refused("\"passed\": false", "\"passed\": 0", "true or false");
    check_refused("\"budget_px\": 0.25", "\"budget_px\": -1", "a number from 0 to inf");
    check_refused("\"golden\": null,\n  \"files\"", "\"golden\": [],\n  \"files\"", "a table");
    check_refused("\"interpolation\": \"cubic\"", "\"interpolation\": \"sinc\"", "got \"sinc\"");
}

void check_schemas() {
    check_refused("bundle/3", "bundle/4", "Use a newer libmahtrt");
    check_refused("bundle/3", "bundle/10", "mahtrt.bundle/1 to 3");
    check_refused("bundle/3", "plan/1", "got \"mahtrt.plan/1\"");
    check_refused("bundle/3", "bundle/1", "mahtrt pack OLD --out NEW");
    check_refused("spec/2", "spec/3", "spec: schema");
    check_refused("\"schema\": \"mahtrt.bundle/3\",", "", "schema: got null");
    check_refused("\"preprocess_version\": 2", "\"preprocess_version\": 4", "a newer libmahtrt");
    check_refused("\"preprocess_version\": 2", "\"preprocess_version\": 0", "preprocess_version");
    CHECK_REFUSED(read_manifest("[]"), MAHTRT_INTEGRITY, "a table");
    CHECK_REFUSED(read_manifest(""), MAHTRT_INTEGRITY, "manifest");
    std::string old = replaced(tiny_manifest(kFiles), "bundle/3", "bundle/2");
    old = replaced(replaced(old, "\"inputs\": [{", "\"input\": {"), "0.25}]", "0.25}");
    old = replaced(old, "spec/2", "spec/1");
    CHECK_EQUAL(read_manifest(sealed(old)).spec.inputs.at(0).size.width, 48);
    check_refused(replaced(old, "\"input\": {", "\"inputs\": [], \"input\": {"), "one of them");
}

void check_digest() {
    std::string text = sealed(tiny_manifest(kFiles));
    text[text.find("A note")] = 'a';
    CHECK_REFUSED(read_manifest(text), MAHTRT_INTEGRITY, "as it says");
    text = sealed(tiny_manifest(kFiles));
    CHECK_REFUSED(read_manifest(text + "\n"), MAHTRT_INTEGRITY, "no digest of its own");
    CHECK_REFUSED(read_manifest("{\"schema\": \"mahtrt.bundle/3\"}"), MAHTRT_INTEGRITY,
                  "no digest of its own");
}

void check_paths() {
    for (const char* path : {"", "/model.onnx", "../model.onnx", "a/../b", "a//b", "a/", "./a",
                             "c:model", "a\\\\b", "."})
        check_refused(tiny_manifest(kFiles + ", " + tiny_file_record(path, "x")),
                      "a path inside the bundle");
    for (const char* path : {"manifest.json", "model.sig"})
        check_refused(tiny_manifest(kFiles + ", " + tiny_file_record(path, "x")), "reserved");
    check_refused(tiny_manifest(kFiles + ", " + kFiles), "\"model.onnx\" twice");
    check_refused("{\"onnx\": \"model.onnx\"}", "{\"onnx\": \"model.onnx\", \"blob\": \"b\"}",
                  "no digest for \"b\"");
    check_refused("\"size\": 7", "\"size\": -7", "files[0].size");
    check_refused("\"sha256\": \"", "\"sha256\": \"A", "64 hexadecimal digits");
}

void check_contradictions() {
    check_refused("\"default_engine\": \"openvino-int8\"", "\"default_engine\": \"x\"",
                  "default_engine: got \"x\"");
    check_refused("\"color_order\": \"bgr\"", "\"color_order\": \"gray\"", "color_order");
    check_refused("\"mean\": [0.1, 0.2, 0.3]", "\"mean\": [0.1]", "one per channel");
    check_refused("\"pad_value\": 0.25", "\"pad_value\": 1.5", "pad_value");
    check_refused("\"channels\": 3", "\"channels\": 4", "1 or 3");
    check_refused("\"name\": \"maps\"", "\"name\": \"points\"", "\"points\" twice");
    check_refused("\"kind\": \"heatmaps\"", "\"kind\": \"confidence\"", "decode.method");
    check_refused("\"landmarks\": [\"a\", \"b\"]", "\"landmarks\": []", "a name per landmark");
    check_refused("\"heatmap_size\": [8, 12]", "\"heatmap_size\": null", "decode.heatmap_size");
    check_refused("\"labels\": []", "\"labels\": [\"x\"]", "labels of logits alone");
    check_refused("\"frame\": \"heatmap\"", "\"frame\": \"none\"", "without a frame");
}

}  // namespace

int main() {
    check_spec();
    check_records();
    check_types();
    check_schemas();
    check_digest();
    check_paths();
    check_contradictions();
    return 0;
}
