// A bundle on disk with one engine that the fake TensorRT reads.
#pragma once

#include <sys/stat.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include "bundle.h"
#include "check.h"
#include "engine.h"
#include "fake_gpu.h"
#include "tiny_manifest.h"

// One image of 8x8, three landmarks. Each field is what the bundle says, to be changed by a test.
struct FakeEngine {
    std::string target = "tensorrt", version = "10.13.2.6", platform = "linux_x86_64";
    std::string gpu = "Fake GPU", capabilities = R"("SM89")", compatibility = "none";
    std::string plan =
        "fake plan\ninput image 2 1 8 8\noutput landmarks 2 3 2\noutput confidence 2 3\n";
    std::string outputs =
        R"({"name": "landmarks", "kind": "landmarks", "frame": "network"},
           {"name": "confidence", "kind": "confidence"})";
    std::string decode;  // the file of that role, none where empty
};

inline std::string fake_manifest(const FakeEngine& engine) {
    const bool decodes = !engine.decode.empty();
    const std::string files =
        tiny_file_record("model.onnx", "onnx") + ", " + tiny_file_record("e.plan", engine.plan) +
        (decodes ? ", " + tiny_file_record("decode.json", engine.decode) : "");
    return R"({"schema": "mahtrt.bundle/3", "spec": {"family": "fake",
        "inputs": [{"size": [8, 8], "name": "image", "channels": 1, "color_order": "gray",
                    "mean": [0], "std": [1], "resize": "stretch", "interpolation": "area",
                    "pad_value": 0}],
        "outputs": [)" +
           engine.outputs + R"(], "landmarks": ["a", "b", "c"],
        "decode": {"method": "soft_argmax", "temperature": 1, "heatmap_size": [8, 8],
                   "sigma": 2},
        "schema": "mahtrt.spec/2"},
        "precision": "fp32",
        "graphs": [{"name": "fp32", "file": "model.onnx", "precision": "fp32", "batch": 2}],
        "engines": [{"name": "fake-fp32", "target": ")" +
           engine.target + R"(",
                     "precision": "fp32", "batch": 2,
                     "files": {"onnx": "model.onnx", "plan": "e.plan")" +
           (decodes ? R"(, "decode": "decode.json")" : "") + R"(},
                     "device": {"name": ")" +
           engine.gpu + R"(", "platform": ")" + engine.platform + R"(", "capabilities": [)" +
           engine.capabilities + R"(], "settings": {"hardware_compatibility": ")" +
           engine.compatibility + R"("}},
                     "versions": {")" +
           engine.target + R"(": ")" + engine.version + R"("}}],
        "default_engine": "fake-fp32", "preprocess_version": 2, "files": [)" +
           files + "],\n";
}

class FakeBundle {
  public:
    explicit FakeBundle(const FakeEngine& engine = {}) {
        char made[] = "/tmp/mahtrt_fake_XXXXXX";
        CHECK(mkdtemp(made) != nullptr);
        folder_ = made;
        write("model.onnx", "onnx");
        write("e.plan", engine.plan);
        if (!engine.decode.empty()) write("decode.json", engine.decode);
        write("manifest.json", sealed(fake_manifest(engine)));
    }
    FakeBundle(const FakeBundle&) = delete;
    FakeBundle& operator=(const FakeBundle&) = delete;
    ~FakeBundle() { CHECK_EQUAL(std::system(("rm -r '" + folder_ + "'").c_str()), 0); }

    const std::string& folder() const { return folder_; }

    void write(const std::string& name, const std::string& content) const {
        std::ofstream file(folder_ + "/" + name, std::ios::binary);
        file << content;
        CHECK(file.good());
    }

    // Opens it with the fakes of a folder, "all" for the usual ones.
    std::unique_ptr<mahtrt::Engine> open(const std::string& fakes = "all", void* stream = nullptr,
                                         int device = 0) const {
        const mahtrt::Bundle bundle = mahtrt::Bundle::open(folder_);
        const mahtrt::EngineToOpen wanted = ask(bundle, fakes, stream, device);
        return backend(wanted).open(wanted);
    }

    std::string problem(const std::string& fakes = "all") const {
        const mahtrt::Bundle bundle = mahtrt::Bundle::open(folder_);
        const mahtrt::EngineToOpen wanted = ask(bundle, fakes, nullptr, 0);
        return backend(wanted).problem(wanted);
    }

  private:
    static mahtrt::EngineToOpen ask(const mahtrt::Bundle& bundle, const std::string& fakes,
                                    void* stream, int device) {
        return {bundle, bundle.manifest().engines[0], MAHTRT_FAKES "/" + fakes, 0, device, stream,
                true};
    }

    static const mahtrt::Backend& backend(const mahtrt::EngineToOpen& wanted) {
        const mahtrt::Backend* found = mahtrt::find_backend(wanted.record.target);
        CHECK(found != nullptr);
        CHECK(found->gpu);
        return *found;
    }

    std::string folder_;
};

// Ends the program where the fake GPU saw something against its rules, or memory is left.
#define CHECK_CLEAN(alive)                               \
    do {                                                 \
        CHECK_EQUAL(std::string(fake_violations()), ""); \
        CHECK_EQUAL(fake_alive(), std::int64_t{alive});  \
    } while (false)
