// Sessions through the C interface, on a stand-in for OpenVINO: what they give, what they refuse,
// and several threads at once.
#include <pthread.h>

#include <chrono>
#include <sys/resource.h>

#include <cmath>
#include <thread>

#include "mahtrt.hpp"
#include "stub_session.h"

namespace {

constexpr float kSumOfOnes = 80;  // of 8x8 and 4x4 ones

void refused(mahtrt_status status, mahtrt_status wanted, const char* part) {
    CHECK_EQUAL(status, wanted);
    if (std::strstr(mahtrt_last_error(), part) == nullptr)
        std::fprintf(stderr, "%s\n", mahtrt_last_error());
    CHECK(std::strstr(mahtrt_last_error(), part) != nullptr);
}

void tells_what_it_is() {
    CHECK_EQUAL(mahtrt_abi(), MAHTRT_ABI);
    CHECK_EQUAL(std::string(mahtrt_version()), MAHTRT_VERSION);
    CHECK_EQUAL(mahtrt_preprocess_version(), 3);
    mahtrt_session* session = stub::opened();
    CHECK_EQUAL(std::string(mahtrt_engine_name(session)), "openvino-fp32");
    CHECK_EQUAL(std::string(mahtrt_device_name(session)), "cpu");
    CHECK(std::strstr(mahtrt_runtime_path(session), STUB_FOLDER) != nullptr);
    CHECK_EQUAL(mahtrt_gate_passed(session), 1);
    CHECK_EQUAL(mahtrt_batch(session), std::size_t{2});
    CHECK_EQUAL(mahtrt_landmark_count(session), std::size_t{2});
    CHECK_EQUAL(std::string(mahtrt_landmark_name(session, 1)), "second");
    CHECK(mahtrt_landmark_name(session, 2) == nullptr);
    CHECK_EQUAL(mahtrt_input_count(session), std::size_t{2});
    CHECK_EQUAL(mahtrt_output_count(session), std::size_t{5});
    CHECK(mahtrt_note_count(session) >= 1);  // the default is of another target
    CHECK(std::strstr(mahtrt_note(session, 0), "openvino-fp32 runs instead") != nullptr);
    CHECK(mahtrt_note(session, mahtrt_note_count(session)) == nullptr);

    mahtrt_input input;
    mahtrt_input_init(&input, sizeof input);
    CHECK_EQUAL(mahtrt_input_info(session, 1, &input), MAHTRT_OK);
    CHECK_EQUAL(std::string(input.name), "other");
    CHECK_EQUAL(input.width, 4);
    refused(mahtrt_input_info(session, 2, &input), MAHTRT_USAGE, "number 2");

    mahtrt_output output;
    mahtrt_output_init(&output, sizeof output);
    CHECK_EQUAL(mahtrt_output_info(session, 4, &output), MAHTRT_OK);
    CHECK_EQUAL(output.kind, MAHTRT_LOGITS);
    CHECK_EQUAL(output.labels, std::size_t{2});
    CHECK_EQUAL(std::string(mahtrt_label(session, 4, 1)), "worse");
    CHECK(mahtrt_label(session, 4, 2) == nullptr);
    CHECK_EQUAL(mahtrt_close(session), MAHTRT_OK);
}

void runs_cases_of_two_images() {
    mahtrt_session* session = stub::opened();
    stub::Images ones(255);
    ones.pair[0].spacing_row_mm = 0.5;
    ones.pair[0].spacing_column_mm = 0.25;
    mahtrt_landmark found[2];
    CHECK_EQUAL(stub::run_pair(session, ones.pair, found, sizeof found[0], 2), MAHTRT_OK);
    CHECK_EQUAL(found[1].x_px, kSumOfOnes + 2);
    CHECK_EQUAL(found[1].y_px, kSumOfOnes + 3);
    CHECK_EQUAL(found[1].x_mm, (kSumOfOnes + 2) * 0.25F);
    CHECK_EQUAL(found[1].y_mm, (kSumOfOnes + 3) * 0.5F);
    CHECK_EQUAL(found[1].confidence, kSumOfOnes + 1);
    CHECK(std::isnan(found[0].visibility));
    CHECK_EQUAL(found[0].visible, -1);
    CHECK_EQUAL(found[0].two_peaks, -1);
    CHECK_EQUAL(mahtrt_close(session), MAHTRT_OK);
}

// Three cases are a batch of two and a batch that is filled up.
void runs_more_cases_than_a_batch() {
    mahtrt_session* session = stub::opened("openvino-bf16");
    CHECK_EQUAL(mahtrt_gate_passed(session), 0);
    CHECK(std::strstr(mahtrt_note(session, 0), "it is only a stub") != nullptr);
    stub::Images ones(255), zeros(0);
    const mahtrt_image images[] = {ones.pair[0],  ones.pair[1],  zeros.pair[0],
                                   zeros.pair[1], ones.pair[0], ones.pair[1]};
    mahtrt_landmark found[6];
    float change[3 * 16];
    mahtrt_tensor raw{sizeof raw, "change", change, 48, MAHTRT_HOST};
    CHECK_EQUAL(mahtrt_run_batch(session, images, 6, found, sizeof found[0], 6, &raw, 1),
                MAHTRT_OK);
    CHECK_EQUAL(found[0].x_px, kSumOfOnes);          // of both cases of the batch
    CHECK_EQUAL(found[2].x_px, kSumOfOnes + 4);      // the second case's values follow
    CHECK_EQUAL(found[4].x_px, kSumOfOnes);
    CHECK_EQUAL(change[16], kSumOfOnes + 16);
    CHECK_EQUAL(change[32], kSumOfOnes);
    raw.floats = 47;
    refused(mahtrt_run_batch(session, images, 6, found, sizeof found[0], 6, &raw, 1),
            MAHTRT_USAGE, "48");
    CHECK_EQUAL(mahtrt_close(session), MAHTRT_OK);
}

void infers_prepared_tensors() {
    mahtrt_session* session = stub::opened();
    std::vector<float> first(2 * 64, 1), second(2 * 16, 1), spread(4);
    mahtrt_tensor inputs[] = {{sizeof inputs[0], "other", second.data(), 32, MAHTRT_HOST},
                              {sizeof inputs[0], "image", first.data(), 128, MAHTRT_HOST}};
    mahtrt_tensor output{sizeof output, "spread", spread.data(), 4, MAHTRT_HOST};
    CHECK_EQUAL(mahtrt_infer(session, inputs, 2, &output, 1, nullptr), MAHTRT_OK);
    CHECK_EQUAL(spread[3], 163.0F);
    inputs[0].size = std::size_t{1} << 40;  // the next one would lie there
    refused(mahtrt_infer(session, inputs, 2, &output, 1, nullptr), MAHTRT_USAGE, "sizeof");
    inputs[0].size = sizeof inputs[0];
    refused(mahtrt_infer(session, inputs, 1, &output, 1, nullptr), MAHTRT_USAGE, "\"image\"");
    const mahtrt_tensor twice[] = {output, output};
    refused(mahtrt_infer(session, inputs, 2, twice, 2, nullptr), MAHTRT_USAGE,
            "\"spread\": got it");
    output.name = "nothing";
    refused(mahtrt_infer(session, inputs, 2, &output, 1, nullptr), MAHTRT_USAGE, "landmarks");
    output.name = "spread";
    output.memory = inputs[0].memory = inputs[1].memory = MAHTRT_DEVICE;
    refused(mahtrt_infer(session, inputs, 2, &output, 1, nullptr), MAHTRT_USAGE, "on a GPU");
    CHECK_EQUAL(mahtrt_close(session), MAHTRT_OK);
}

void replays_golden_images() {
    mahtrt_session* session = stub::opened();
    double worst_px = -1;
    CHECK_EQUAL(mahtrt_replay(session, &worst_px), MAHTRT_OK);
    CHECK_EQUAL(worst_px, 0.0);
    CHECK_EQUAL(mahtrt_close(session), MAHTRT_OK);
    CHECK_EQUAL(mahtrt_verify(STUB_BUNDLE), MAHTRT_OK);
}

void refuses_what_cannot_be_used() {
    mahtrt_session* session = stub::opened();
    stub::Images ones(255);
    mahtrt_landmark found[2];
    refused(stub::run_pair(session, nullptr, found, sizeof found[0], 2), MAHTRT_USAGE, "image");
    refused(stub::run_pair(session, ones.pair, nullptr, sizeof found[0], 2), MAHTRT_USAGE, "NULL");
    refused(stub::run_pair(session, ones.pair, found, 4, 2), MAHTRT_USAGE, "4 bytes");
    refused(stub::run_pair(session, ones.pair, found, std::size_t{1} << 40, 2), MAHTRT_USAGE,
            "44 to 4096");
    refused(stub::run_pair(session, ones.pair, found, sizeof found[0], 1), MAHTRT_USAGE, "room for 1");
    refused(mahtrt_run(session, ones.pair, found, sizeof found[0], 2), MAHTRT_USAGE,
            "each of the network's 2 inputs");
    refused(mahtrt_run_batch(session, ones.pair, 1, found, sizeof found[0], 2, nullptr, 0),
            MAHTRT_USAGE, "a multiple of 2");
    mahtrt_image broken[2] = {ones.pair[0], ones.pair[1]};
    broken[0].width = -1;
    refused(stub::run_pair(session, broken, found, sizeof found[0], 2), MAHTRT_BAD_IMAGE, "-1");
    broken[0] = ones.pair[0];
    broken[0].row_bytes = 7;
    refused(stub::run_pair(session, broken, found, sizeof found[0], 2), MAHTRT_BAD_IMAGE, "7");
    broken[0] = ones.pair[0];
    broken[0].spacing_row_mm = 0.1;  // and no column
    refused(stub::run_pair(session, broken, found, sizeof found[0], 2), MAHTRT_USAGE, "0.1 and 0");
    broken[0] = ones.pair[0];
    broken[0].size = 3;
    refused(stub::run_pair(session, broken, found, sizeof found[0], 2), MAHTRT_USAGE, "_init");
    CHECK_EQUAL(mahtrt_close(session), MAHTRT_OK);
}

void closes_once() {
    mahtrt_session* session = stub::opened();
    CHECK_EQUAL(mahtrt_close(session), MAHTRT_OK);
    refused(mahtrt_close(session), MAHTRT_USAGE, "closed");
    CHECK_EQUAL(mahtrt_close(nullptr), MAHTRT_OK);
    int not_a_session = 0;
    refused(mahtrt_close(reinterpret_cast<mahtrt_session*>(&not_a_session)), MAHTRT_USAGE,
            "closed");
    CHECK(mahtrt_engine_name(session) == nullptr);
    CHECK_EQUAL(mahtrt_landmark_count(nullptr), std::size_t{0});
    CHECK_EQUAL(mahtrt_gate_passed(session), -1);
    refused(mahtrt_replay(session, nullptr), MAHTRT_USAGE, "closed");
}

void moves_in_cpp() {
    mahtrt::Options options;
    options.runtime_dir = STUB_FOLDER;
    mahtrt::Session kept(STUB_BUNDLE, options), other(STUB_BUNDLE, options);
    mahtrt_session *before = kept.handle(), *after = other.handle();
    kept = std::move(other);
    CHECK(kept.handle() == after && other.handle() == nullptr);
    CHECK(mahtrt_engine_name(before) == nullptr);  // closed
    const stub::Images ones(255);
    try {
        kept.run(mahtrt::Image(ones.first.data(), 8, 8, MAHTRT_GRAY8));  // and no second one
        CHECK(false);
    } catch (const mahtrt::StatusError& error) {
        CHECK_EQUAL(error.status(), MAHTRT_USAGE);
        CHECK(std::strstr(error.what(), "each of the network's 2 inputs") != nullptr);
    }
    mahtrt::Session& same = kept;
    kept = std::move(same);
    CHECK(kept.handle() == after);
}

// No file can be opened any more: that says nothing about the bundle.
void tells_the_system_from_the_bundle() {
    mahtrt_options options = stub::options();
    mahtrt_session* session = nullptr;
    rlimit before;
    CHECK_EQUAL(getrlimit(RLIMIT_NOFILE, &before), 0);
    rlimit none = before;
    none.rlim_cur = 0;
    CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &none), 0);
    const mahtrt_status status = mahtrt_open(STUB_BUNDLE, &options, &session);
    CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &before), 0);
    refused(status, MAHTRT_FAILED, "Too many open files");
}

void refuses_to_open() {
    mahtrt_session* session = reinterpret_cast<mahtrt_session*>(1);
    mahtrt_options options = stub::options();
    refused(mahtrt_open(nullptr, nullptr, &session), MAHTRT_USAGE, "bundle");
    CHECK(session == nullptr);
    refused(mahtrt_open(STUB_BUNDLE, nullptr, nullptr), MAHTRT_USAGE, "session");
    refused(mahtrt_open("/there/is none\xff.mahtrt", nullptr, &session), MAHTRT_FAILED, "none");
    options.engine = "openvino-int8";
    refused(mahtrt_open(STUB_BUNDLE, &options, &session), MAHTRT_USAGE, "openvino-bf16");
    options.engine = "onnxruntime-fp32";
    refused(mahtrt_open(STUB_BUNDLE, &options, &session), MAHTRT_MISSING, "onnxruntime");
    options = stub::options();
    options.require = MAHTRT_GPU;
    refused(mahtrt_open(STUB_BUNDLE, &options, &session), MAHTRT_MISSING, "does not run on a GPU");
    options.require = 7;
    refused(mahtrt_open(STUB_BUNDLE, &options, &session), MAHTRT_USAGE, "MAHTRT_GPU");
    options = stub::options();
    options.size = 8;
    refused(mahtrt_open(STUB_BUNDLE, &options, &session), MAHTRT_USAGE, "size of 8");
    options = stub::options("openvino-fp32");
    options.runtime_dir = "/no/such/folder";
    refused(mahtrt_open(STUB_BUNDLE, &options, &session), MAHTRT_MISSING,
            "/no/such/folder/libopenvino_c.so");
    options.engine = nullptr;
    refused(mahtrt_open(STUB_BUNDLE, &options, &session), MAHTRT_MISSING,
            "openvino-bf16: as openvino-fp32");
    options.runtime_dir = nullptr;
    setenv("MAHTRT_RUNTIME_DIR", "/no/such/folder", 1);
    refused(mahtrt_open(STUB_BUNDLE, &options, &session), MAHTRT_MISSING,
            "/no/such/folder/libopenvino_c.so");
    CHECK(std::strstr(mahtrt_last_error(), "; libopenvino_c.so") == nullptr);  // of the loader
    unsetenv("MAHTRT_RUNTIME_DIR");
    options.runtime_dir = "/no/\xff";  // the loader's own message has the bytes as they are
    refused(mahtrt_open(STUB_BUNDLE, &options, &session), MAHTRT_MISSING, "/no/\\xff/");
    CHECK(session == nullptr);
}

void serves_several_threads() {
    constexpr int kThreads = 4, kRuns = 5000;
    mahtrt_session* session = stub::opened();
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
        threads.emplace_back([session, t] {
            const stub::Images images(static_cast<unsigned char>(t % 2 == 0 ? 255 : 0));
            const float expected = t % 2 == 0 ? kSumOfOnes : 0;
            mahtrt_landmark found[2];
            for (int i = 0; i < kRuns; ++i) {
                CHECK_EQUAL(stub::run_pair(session, images.pair, found, sizeof found[0], 2),
                            MAHTRT_OK);
                CHECK_EQUAL(found[0].x_px, expected);
            }
        });
    }
    for (std::thread& each : threads) each.join();
    CHECK_EQUAL(mahtrt_close(session), MAHTRT_OK);
}

// A thread that is cancelled ends between two calls, not within one. AddressSanitizer takes what
// such a thread leaves on its stack for an overflow, as it does in a program of these lines alone.
void outlives_pthread_cancel() {
#ifndef __SANITIZE_ADDRESS__
    pthread_t thread;
    const auto verify = [](void*) -> void* {
        for (;; pthread_testcancel()) CHECK_EQUAL(mahtrt_verify(STUB_BUNDLE), MAHTRT_OK);
    };
    CHECK_EQUAL(pthread_create(&thread, nullptr, verify, nullptr), 0);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    void* result = nullptr;
    CHECK_EQUAL(pthread_cancel(thread), 0);
    CHECK_EQUAL(pthread_join(thread, &result), 0);
    CHECK(result == PTHREAD_CANCELED);
#endif
}

// Closed while others run on it: their calls end well or say that it is closed.
void closes_while_it_runs() {
    for (int round = 0; round < 50; ++round) {
        mahtrt_session* session = stub::opened();
        std::vector<std::thread> threads;
        for (int t = 0; t < 3; ++t) {
            threads.emplace_back([session] {
                const stub::Images images(255);
                mahtrt_landmark found[2];
                mahtrt_status status = MAHTRT_OK;
                while (status == MAHTRT_OK) {
                    status = stub::run_pair(session, images.pair, found, sizeof found[0], 2);
                    if (status == MAHTRT_OK) CHECK_EQUAL(found[0].x_px, kSumOfOnes);
                }
                CHECK_EQUAL(status, MAHTRT_USAGE);
            });
        }
        CHECK_EQUAL(mahtrt_close(session), MAHTRT_OK);
        for (std::thread& each : threads) each.join();
    }
}

}  // namespace

int main() {
    tells_what_it_is();
    runs_cases_of_two_images();
    runs_more_cases_than_a_batch();
    infers_prepared_tensors();
    replays_golden_images();
    refuses_what_cannot_be_used();
    closes_once();
    moves_in_cpp();
    refuses_to_open();
    tells_the_system_from_the_bundle();
    serves_several_threads();
    closes_while_it_runs();
    outlives_pthread_cancel();
    // What stays is the core, which lives as long as the process.
    CHECK_EQUAL(stub::Counters().live_objects(), 1L);
    return 0;
}
