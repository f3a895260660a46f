// Inferences on memory of the GPU: streams, contexts that are shared over calls, bad addresses.
#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "backends/cuda_driver.h"
#include "error.h"
#include "fake_bundle.h"

using namespace mahtrt;

namespace {

constexpr std::size_t kPixels = 128;

// The caller: with the context current, as PyTorch or the CUDA runtime would have it.
class Caller {
  public:
    Caller() : driver_(CudaDriver::find()), context_(driver_, driver_.gpu(0)), current_(context_) {}

    const CudaDriver& driver() const { return driver_; }

  private:
    const CudaDriver& driver_;
    CudaContext context_;
    CurrentContext current_;
};

// Memory of the fake GPU can be read and written: it is the host's.
class Buffers {
  public:
    explicit Buffers(const CudaDriver& driver)
        : input(driver.allocate(kPixels * 4)),
          landmarks(driver.allocate(12 * 4)),
          confidence(driver.allocate(6 * 4)) {}

    static float* at(const CudaOwned<CuAddress>& memory) {
        return reinterpret_cast<float*>(static_cast<std::uintptr_t>(memory.get()));
    }
    void fill(float value) const {
        for (std::size_t i = 0; i < kPixels; ++i) at(input)[i] = value;
        std::memset(at(landmarks), 0xee, 12 * 4);
    }
    void run(Engine& engine, void* stream) const {
        engine.infer_device({at(input)}, {at(landmarks), at(confidence)}, stream);
    }
    bool is_done(float value) const {
        return at(landmarks)[3] == value * static_cast<float>(kPixels) + 3;
    }

    CudaOwned<CuAddress> input, landmarks, confidence;
};

void check_nothing_waits(Engine& engine, const Caller& caller) {
    const auto stream = caller.driver().make_stream();
    const Buffers buffers(caller.driver());
    buffers.fill(2);
    buffers.run(engine, stream.get());
    CHECK(!buffers.is_done(2));
    buffers.fill(3);  // what lies there when the work is done counts
    CHECK_EQUAL(caller.driver().stream_synchronize(stream.get()), kCudaSuccess);
    CHECK(buffers.is_done(3));
}

// With no stream, the work lies between that of the default stream.
void check_default_stream(Engine& engine, const Caller& caller) {
    const Buffers buffers(caller.driver());
    for (const float value : {4.0f, 5.0f}) {
        buffers.fill(value);
        buffers.run(engine, nullptr);
        CHECK(!buffers.is_done(value));
        CHECK_EQUAL(caller.driver().stream_synchronize(nullptr), kCudaSuccess);
        CHECK(buffers.is_done(value));
    }
}

void check_unwanted_outputs(Engine& engine, const Caller& caller) {
    const auto stream = caller.driver().make_stream();
    const Buffers buffers(caller.driver());
    buffers.fill(6);
    std::memset(Buffers::at(buffers.confidence), 0, 24);
    engine.infer_device({Buffers::at(buffers.input)}, {Buffers::at(buffers.landmarks), nullptr},
                        stream.get());
    CHECK_EQUAL(caller.driver().stream_synchronize(stream.get()), kCudaSuccess);
    CHECK(buffers.is_done(6));
    CHECK_EQUAL(Buffers::at(buffers.confidence)[0], 0.0f);
}

// Many calls on one stream share a context; on several streams there are a few contexts, whose
// inferences keep their order (the fake TensorRT sees where they do not).
void check_contexts(Engine& engine, const Caller& caller) {
    const Buffers buffers(caller.driver());
    std::vector<CudaOwned<CuStream>> streams;
    for (int i = 0; i < 7; ++i) streams.push_back(caller.driver().make_stream());
    for (int i = 0; i < 10; ++i) buffers.run(engine, streams[0].get());
    const std::int64_t before = fake_alive();
    for (int i = 0; i < 40; ++i)
        buffers.run(engine, streams[static_cast<std::size_t>(i) % streams.size()].get());
    CHECK(fake_alive() - before <= 3 * 4);          // event, context and memory of three more
    for (std::size_t i = streams.size(); i-- > 0;)  // the last first
        CHECK_EQUAL(caller.driver().stream_synchronize(streams[i].get()), kCudaSuccess);
    CHECK_EQUAL(std::string(fake_violations()), "");
}

void check_end_with_work_under_way(const FakeBundle& bundle, const Caller& caller) {
    const auto stream = caller.driver().make_stream();
    const Buffers buffers(caller.driver());
    auto engine = bundle.open();
    buffers.fill(7);
    buffers.run(*engine, stream.get());
    engine.reset();
    CHECK(buffers.is_done(7));
    CHECK_EQUAL(std::string(fake_violations()), "");
}

void check_bad_memory(Engine& engine, const Caller& caller) {
    const Buffers buffers(caller.driver());
    const auto small = caller.driver().allocate(4);
    const auto pinned = caller.driver().allocate_pinned(kPixels * 4);
    float* const landmarks = Buffers::at(buffers.landmarks);
    float* const input = Buffers::at(buffers.input);
    alignas(256) float host[kPixels];
    const auto refused = [&](const float* in, float* out, const std::string& part) {
        CHECK_REFUSED(engine.infer_device({in}, {out, nullptr}, nullptr), MAHTRT_USAGE, part);
    };
    refused(nullptr, landmarks, "\"image\": got NULL");
    refused(input + 1, landmarks, "no multiple of 256");
    refused(host, landmarks, "not the GPU's, or too little");
    refused(static_cast<float*>(pinned.get()), landmarks, "not the GPU's, or too little");
    refused(Buffers::at(small), landmarks, "512 bytes");
    refused(input, host, "memory for \"landmarks\"");
    CHECK_REFUSED(engine.infer_device({}, {landmarks, nullptr}, nullptr), MAHTRT_USAGE, "number");
    CHECK_REFUSED(engine.infer_device({input}, {landmarks}, nullptr), MAHTRT_USAGE, "number");
}

void check_bad_streams(Engine& engine, const Caller& caller) {
    const Buffers buffers(caller.driver());
    CHECK_REFUSED(buffers.run(engine, fake_foreign_stream()), MAHTRT_USAGE, "another context");
    CHECK_REFUSED(buffers.run(engine, reinterpret_cast<void*>(77)), MAHTRT_USAGE, "got 77");
    const auto stream = caller.driver().make_stream();
    fake_capture(stream.get(), true);
    CHECK_REFUSED(buffers.run(engine, stream.get()), MAHTRT_USAGE, "captured");
    fake_capture(stream.get(), false);
}

void check_decoded() {
    FakeEngine description;
    description.plan =
        "fake plan\ninput image 2 1 8 8\noutput heatmaps 2 3 8 8\noutput extra 2 1\n";
    description.outputs = R"({"name": "landmarks", "kind": "landmarks", "frame": "network"},
        {"name": "extra", "kind": "logits", "labels": ["one"]})";
    description.decode = R"({"kernel": "soft_argmax", "heatmaps": "heatmaps", "dtype": "float32",
        "shape": [2, 3, 8, 8], "input_size": [8, 8], "landmarks": "landmarks",
        "confidence": "confidence", "spread": "spread", "temperature": 1,
        "schema": "mahtrt.kernel-decode/1"})";
    const Caller caller;
    const auto engine = FakeBundle(description).open();
    const Buffers buffers(caller.driver());
    float *const input = Buffers::at(buffers.input), *const out = Buffers::at(buffers.landmarks);
    CHECK_REFUSED(engine->infer_device({input}, {out, nullptr}, nullptr), MAHTRT_USAGE,
                  "decodes on the host");
    engine->infer_device({input}, {nullptr, out}, nullptr);
    CHECK_EQUAL(caller.driver().stream_synchronize(nullptr), kCudaSuccess);
}

// Every call fails once: a status, and nothing is left behind.
void check_failures(const FakeBundle& bundle) {
    for (std::int64_t call = 1;; ++call) {
        const Caller caller;
        const Buffers buffers(caller.driver());
        const auto stream = caller.driver().make_stream(), other = caller.driver().make_stream();
        const std::int64_t before = fake_alive();
        fake_fail_at(call);
        try {
            const auto engine = bundle.open();
            for (void* each : {static_cast<void*>(stream.get()), static_cast<void*>(nullptr),
                               static_cast<void*>(other.get()), static_cast<void*>(stream.get())})
                buffers.run(*engine, each);
        } catch (const Error& error) {
            CHECK(error.status() == MAHTRT_FAILED || error.status() == MAHTRT_OUT_OF_MEMORY ||
                  error.status() == MAHTRT_MISSING);
        }
        const bool ends = std::string(fake_failed()).empty();
        CHECK_CLEAN(before);
        fake_fail_at(0);
        if (ends) break;
        CHECK(call < 1000);
    }
}

void check_threads(const FakeBundle& bundle) {
    const auto engine = bundle.open();
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int number = 0; number < 4; ++number)
        threads.emplace_back([&, number] {
            const Caller caller;
            const Buffers buffers(caller.driver());
            const auto stream = caller.driver().make_stream();
            for (int run = 0; run < 200; ++run) {
                const float value = static_cast<float>(number * 10 + run % 7);
                buffers.fill(value);
                buffers.run(*engine, stream.get());
                caller.driver().stream_synchronize(stream.get());
                if (!buffers.is_done(value)) ++wrong;
            }
        });
    for (std::thread& each : threads) each.join();
    CHECK_EQUAL(wrong.load(), 0);
    CHECK_EQUAL(std::string(fake_violations()), "");
}

}  // namespace

int main() {
    unsetenv("MAHTRT_RUNTIME_DIR");
    const FakeBundle bundle;
    {
        const Caller caller;
        const auto engine = bundle.open();
        check_nothing_waits(*engine, caller);
        check_default_stream(*engine, caller);
        check_unwanted_outputs(*engine, caller);
        check_contexts(*engine, caller);
        check_bad_memory(*engine, caller);
        check_bad_streams(*engine, caller);
        check_end_with_work_under_way(bundle, caller);
    }
    CHECK_CLEAN(0);
    check_decoded();
    CHECK_CLEAN(0);
    check_failures(bundle);
    check_threads(bundle);
    CHECK_CLEAN(0);
    return 0;
}
