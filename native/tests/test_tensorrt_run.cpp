// Requests of TensorRT engines on memory of the host: results, failures of every call, threads.
#include <atomic>
#include <cmath>
#include <thread>
#include <vector>

#include "error.h"
#include "fake_bundle.h"

using namespace mahtrt;

namespace {

constexpr std::size_t kPixels = 128;  // of the batch of two

void fill(Request& request, float value) {
    float* input = request.input(0);
    for (std::size_t i = 0; i < kPixels; ++i) input[i] = value;
}

// Element i of an output is i plus the sum of all pixels.
void check_results(Request& request, float value) {
    const float sum = value * static_cast<float>(kPixels);
    for (std::size_t i = 0; i < 12; ++i)
        CHECK_EQUAL(request.output(0)[i], sum + static_cast<float>(i));
    for (std::size_t i = 0; i < 6; ++i)
        CHECK_EQUAL(request.output(1)[i], sum + static_cast<float>(i));
}

void check_run(void* stream) {
    const FakeBundle bundle;
    const auto engine = bundle.open("all", stream);
    const auto request = engine->make_request(), another = engine->make_request();
    CHECK_EQUAL(request->input(0)[kPixels - 1], 0.0f);
    for (const float value : {1.0f, 2.0f, -3.0f}) {
        fill(*request, value);
        fill(*another, value + 1);
        request->infer();
        another->infer();
        check_results(*request, value);
        check_results(*another, value + 1);
    }
}

// A request outlives its engine: the session that is closed while a call is under way.
void check_order_of_ends() {
    const FakeBundle bundle;
    auto engine = bundle.open();
    auto request = engine->make_request();
    engine.reset();
    fill(*request, 4);
    request->infer();
    check_results(*request, 4);
    request.reset();
    CHECK_CLEAN(0);
}

// What a session does, from opening to its end. Statuses are those of the first failure.
mahtrt_status session(const FakeBundle& bundle) {
    try {
        const auto engine = bundle.open();
        const auto request = engine->make_request();
        fill(*request, 2);
        request->infer();
        check_results(*request, 2);
        fill(*request, 3);
        request->infer();
        check_results(*request, 3);
    } catch (const Error& error) {
        const std::string text = error.what(), failed = fake_failed();
        CHECK(text.find(failed) != std::string::npos || failed == "createInferRuntime");
        return error.status();
    }
    return MAHTRT_OK;
}

// Every call of the driver and of TensorRT fails once: there is a status, and nothing is left.
void check_failures() {
    const FakeBundle bundle;
    std::int64_t refused = 0, call = 0;
    for (call = 1;; ++call) {
        fake_fail_at(call);
        const mahtrt_status status = session(bundle);
        const std::string failed = fake_failed();
        if (failed.empty()) break;
        if (status != MAHTRT_OK) ++refused;
        const bool is_memory = failed == "cuMemAlloc" || failed == "cuMemHostAlloc";
        if (is_memory) CHECK_EQUAL(status, MAHTRT_OUT_OF_MEMORY);
        CHECK_CLEAN(0);
    }
    CHECK(call > 50);
    CHECK(refused > 35);
    fake_fail_at(0);
}

// After a failure the same request goes on.
void check_next_inference() {
    const FakeBundle bundle;
    const auto engine = bundle.open();
    const auto request = engine->make_request();
    fill(*request, 1);
    request->infer();
    check_results(*request, 1);  // from here on both outputs are copied
    std::int64_t failures = 0;
    for (std::int64_t call = 1;; ++call) {
        fill(*request, 5);
        fake_fail_at(call);
        try {
            request->infer();
        } catch (const Error&) {
            ++failures;
        }
        if (std::string(fake_failed()).empty()) break;
        fake_fail_at(0);
        fill(*request, 6);
        request->infer();
        check_results(*request, 6);
        CHECK_EQUAL(std::string(fake_violations()), "");
    }
    CHECK_EQUAL(failures, std::int64_t{6});  // push, copy, enqueue, two copies, synchronize
}

void check_threads() {
    const FakeBundle bundle;
    const auto engine = bundle.open();
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int number = 0; number < 4; ++number)
        threads.emplace_back([&, number] {
            for (int round = 0; round < 20; ++round) {
                const auto request = engine->make_request();
                for (int run = 0; run < 10; ++run) {
                    const float value = static_cast<float>(number * 10 + run);
                    fill(*request, value);
                    request->infer();
                    if (request->output(0)[3] != value * static_cast<float>(kPixels) + 3) ++wrong;
                }
            }
        });
    for (std::thread& each : threads) each.join();
    CHECK_EQUAL(wrong.load(), 0);
    CHECK_EQUAL(std::string(fake_violations()), "");
}

FakeEngine decoding(const char* type, const char* kernel) {
    FakeEngine engine;
    const bool is_half = std::string(type) == "half";
    engine.plan = std::string("fake plan\ninput image 2 1 8 8\n") + type + " heatmaps 2 1 8 8\n";
    engine.outputs = R"({"name": "landmarks", "kind": "landmarks", "frame": "network"},
        {"name": "confidence", "kind": "confidence"}, {"name": "spread", "kind": "spread",
        "frame": "network"})";
    if (is_half) engine.outputs += R"(, {"name": "heatmaps", "kind": "heatmaps"})";
    engine.decode =
        std::string(R"({"kernel": ")") + kernel + R"(", "heatmaps": "heatmaps",
        "dtype": ")" +
        (is_half ? "float16" : "float32") + R"(", "shape": [2, 1, 8, 8],
        "input_size": [8, 8], "landmarks": "landmarks", "confidence": "confidence",
        "spread": "spread", "temperature": )" +
        (std::string(kernel) == "dark" ? "null, \"sigma\": 1" : "0.125, \"sigma\": null") +
        R"(, "schema": "mahtrt.kernel-decode/1"})";
    return engine;
}

// The engine gives the image back as heatmaps; its peak is read on the host.
void check_decoding(const char* type, const char* kernel) {
    const FakeBundle bundle(decoding(type, kernel));
    const auto engine = bundle.open();
    CHECK_EQUAL(engine->notes().size(), std::size_t{1});
    CHECK_EQUAL(engine->outputs()[0].floats(), std::size_t{4});
    const auto request = engine->make_request();
    fill(*request, 0);
    request->input(0)[3 * 8 + 5] = 8;       // of the first image: x 5, y 3
    request->input(0)[64 + 4 * 8 + 2] = 4;  // of the second: x 2, y 4
    request->infer();
    const float wanted[] = {5, 3, 2, 4};
    for (std::size_t i = 0; i < 4; ++i) CHECK(std::abs(request->output(0)[i] - wanted[i]) < 1e-5f);
    CHECK_EQUAL(request->output(1)[0], 8.0f);
    CHECK_EQUAL(request->output(1)[1], 4.0f);
    CHECK(request->output(2)[0] >= 0.0f);
    if (engine->outputs().size() == 4) CHECK_EQUAL(request->output(3)[64 + 34], 4.0f);
    CHECK_EQUAL(std::string(fake_violations()), "");
}

void check_bad_decoding() {
    FakeEngine engine = decoding("output", "soft_argmax");
    engine.plan = replaced(engine.plan, "output heatmaps", "half heatmaps");
    CHECK_REFUSED(FakeBundle(engine).open(), MAHTRT_INTEGRITY,
                  "heatmaps \"heatmaps\" (2, 1, 8, 8)");
    engine = decoding("output", "soft_argmax");
    engine.decode = "{";
    CHECK_REFUSED(FakeBundle(engine).open(), MAHTRT_INTEGRITY, "decode.json");
    CHECK_CLEAN(0);
}

}  // namespace

int main() {
    unsetenv("MAHTRT_RUNTIME_DIR");
    check_run(nullptr);
    CHECK_CLEAN(0);
    check_run(fake_stream());
    CHECK_CLEAN(0);
    check_order_of_ends();
    check_failures();
    check_next_inference();
    check_threads();
    for (const char* type : {"output", "half"})
        for (const char* kernel : {"soft_argmax", "dark"}) check_decoding(type, kernel);
    check_bad_decoding();
    CHECK_CLEAN(0);
    return 0;
}
