// Sessions on engines of TensorRT through the library's interface: host, GPU, threads, failures.
#include <cmath>
#include <thread>
#include <vector>

#include "backends/cuda_driver.h"
#include "fake_bundle.h"
#include "mahtrt.h"

namespace {

constexpr std::size_t kPixels = 128;

mahtrt_status open_session(const FakeBundle& bundle, mahtrt_session** session,
                           void* stream = nullptr) {
    mahtrt_options options;
    mahtrt_options_init(&options, sizeof options);
    options.runtime_dir = MAHTRT_FAKES "/all";
    options.require = MAHTRT_GPU;
    options.stream = stream;
    return mahtrt_open(bundle.folder().c_str(), &options, session);
}

mahtrt_tensor tensor(const char* name, float* data, std::size_t floats, std::int32_t memory) {
    return {sizeof(mahtrt_tensor), name, data, floats, memory};
}

// An image whose pixels are all 255, of which the network's input is 1: the sum of all is 64 for a
// batch of which the rest is zeros.
mahtrt_status run_image(mahtrt_session* session, mahtrt_landmark* found) {
    static const std::vector<unsigned char> pixels(64, 255);
    mahtrt_image image;
    mahtrt_image_init(&image, sizeof image);
    image.data = pixels.data();
    image.width = image.height = 8;
    image.format = MAHTRT_GRAY8;
    return mahtrt_run(session, &image, found, sizeof found[0], 3);
}

void check_session(const FakeBundle& bundle) {
    mahtrt_session* session = nullptr;
    CHECK_EQUAL(open_session(bundle, &session), MAHTRT_OK);
    CHECK_EQUAL(std::string(mahtrt_device_name(session)), "cuda:0 Fake GPU");
    CHECK_EQUAL(std::string(mahtrt_engine_name(session)), "fake-fp32");
    CHECK_EQUAL(mahtrt_batch(session), std::size_t{2});
    mahtrt_landmark found[3];
    CHECK_EQUAL(run_image(session, found), MAHTRT_OK);
    CHECK_EQUAL(found[0].x_px, 64.0f);
    CHECK_EQUAL(found[2].y_px, 69.0f);
    CHECK_EQUAL(found[1].confidence, 65.0f);
    std::vector<float> image(kPixels, 2.0f), landmarks(12);
    const mahtrt_tensor in = tensor("image", image.data(), kPixels, MAHTRT_HOST);
    const mahtrt_tensor out = tensor("landmarks", landmarks.data(), 12, MAHTRT_HOST);
    CHECK_EQUAL(mahtrt_infer(session, &in, 1, &out, 1, nullptr), MAHTRT_OK);
    CHECK_EQUAL(landmarks[11], 267.0f);
    CHECK_EQUAL(mahtrt_close(session), MAHTRT_OK);
}

void check_memory_of_the_gpu(const FakeBundle& bundle) {
    const mahtrt::CudaDriver& driver = mahtrt::CudaDriver::find();
    const mahtrt::CudaContext context(driver, driver.gpu(0));
    const mahtrt::CurrentContext current(context);
    const auto place = [](const mahtrt::CudaOwned<mahtrt::CuAddress>& memory) {
        return reinterpret_cast<float*>(static_cast<std::uintptr_t>(memory.get()));
    };
    const auto image = driver.allocate(kPixels * 4), landmarks = driver.allocate(48);
    const auto stream = driver.make_stream();
    for (std::size_t i = 0; i < kPixels; ++i) place(image)[i] = 3;
    mahtrt_session* session = nullptr;
    CHECK_EQUAL(open_session(bundle, &session), MAHTRT_OK);
    const mahtrt_tensor in = tensor("image", place(image), kPixels, MAHTRT_DEVICE);
    const mahtrt_tensor out = tensor("landmarks", place(landmarks), 12, MAHTRT_DEVICE);
    CHECK_EQUAL(mahtrt_infer(session, &in, 1, &out, 1, stream.get()), MAHTRT_OK);
    CHECK(place(landmarks)[0] != 384.0f);
    CHECK_EQUAL(driver.stream_synchronize(stream.get()), mahtrt::kCudaSuccess);
    CHECK_EQUAL(place(landmarks)[0], 384.0f);
    float host[kPixels] = {};
    const mahtrt_tensor wrong = tensor("image", host, kPixels, MAHTRT_DEVICE);
    CHECK_EQUAL(mahtrt_infer(session, &wrong, 1, &out, 1, stream.get()), MAHTRT_USAGE);
    CHECK_EQUAL(mahtrt_close(session), MAHTRT_OK);
}

// Waiting for a stream that its owner captures would break the capture.
void check_captured_stream(const FakeBundle& bundle) {
    const mahtrt::CudaDriver& driver = mahtrt::CudaDriver::find();
    const mahtrt::CudaContext context(driver, driver.gpu(0));
    const mahtrt::CurrentContext current(context);
    const auto stream = driver.make_stream();
    mahtrt_session* session = nullptr;
    CHECK_EQUAL(open_session(bundle, &session, stream.get()), MAHTRT_OK);
    mahtrt_landmark found[3];
    CHECK_EQUAL(run_image(session, found), MAHTRT_OK);
    fake_capture(stream.get(), true);
    CHECK_EQUAL(run_image(session, found), MAHTRT_USAGE);
    CHECK(std::string(mahtrt_last_error()).find("captured") != std::string::npos);
    fake_capture(stream.get(), false);
    CHECK_EQUAL(run_image(session, found), MAHTRT_OK);
    CHECK_EQUAL(mahtrt_close(session), MAHTRT_OK);
}

void check_threads(const FakeBundle& bundle) {
    mahtrt_session* session = nullptr;
    CHECK_EQUAL(open_session(bundle, &session), MAHTRT_OK);
    std::vector<std::thread> threads;
    for (int number = 0; number < 4; ++number)
        threads.emplace_back([session] {
            mahtrt_landmark found[3];
            for (int run = 0; run < 100; ++run) {
                CHECK_EQUAL(run_image(session, found), MAHTRT_OK);
                CHECK_EQUAL(found[1].x_px, 66.0f);
            }
        });
    for (std::thread& each : threads) each.join();
    CHECK_EQUAL(mahtrt_close(session), MAHTRT_OK);
    CHECK_EQUAL(mahtrt_close(session), MAHTRT_USAGE);
}

// Every call of the driver and of TensorRT fails once, below the C interface.
void check_failures(const FakeBundle& bundle) {
    for (std::int64_t call = 1;; ++call) {
        fake_fail_at(call);
        mahtrt_session* session = nullptr;
        mahtrt_landmark found[3];
        mahtrt_status status = open_session(bundle, &session);
        CHECK((status == MAHTRT_OK) == (session != nullptr));
        if (status == MAHTRT_OK) {
            status = run_image(session, found);
            if (status != MAHTRT_OK) CHECK_EQUAL(run_image(session, found), MAHTRT_OK);
            CHECK_EQUAL(found[1].x_px, 66.0f);
            CHECK_EQUAL(mahtrt_close(session), MAHTRT_OK);
        }
        const bool ends = std::string(fake_failed()).empty();
        CHECK_CLEAN(0);
        if (ends) break;
    }
    fake_fail_at(0);
}

}  // namespace

int main() {
    unsetenv("MAHTRT_RUNTIME_DIR");
    const FakeBundle bundle;
    check_session(bundle);
    CHECK_CLEAN(0);
    check_memory_of_the_gpu(bundle);
    CHECK_CLEAN(0);
    check_captured_stream(bundle);
    CHECK_CLEAN(0);
    check_threads(bundle);
    CHECK_CLEAN(0);
    check_failures(bundle);
    return 0;
}
