// Which engines open with which TensorRT and GPU, and what is said of those that do not.
#include "backends/tensorrt_fits.h"
#include "backends/tensorrt_library.h"
#include "error.h"
#include "fake_bundle.h"

using namespace mahtrt;

namespace {

constexpr char kCompile[] = "Compile it for this host: mahtrt compile BUNDLE --target tensorrt";

// First of all: a driver that starts stays.
void check_driver_that_does_not_start() {
    const FakeBundle bundle;
    fake_start(719);
    CHECK_REFUSED(bundle.open(), MAHTRT_MISSING,
                  "NVIDIA's driver: got CUDA_ERROR_LAUNCH_FAILED (told to fail) from cuInit");
    fake_start(12345);
    CHECK_REFUSED(bundle.open(), MAHTRT_MISSING, "got error 12345 from cuInit");
    fake_start(0);
}

void check_opened() {
    const FakeBundle bundle;
    CHECK_EQUAL(bundle.problem(), "");
    const auto engine = bundle.open();
    CHECK_EQUAL(engine->device(), "cuda:0 Fake GPU");
    CHECK_EQUAL(engine->runtime_path(), std::string(MAHTRT_FAKES "/all/libnvinfer.so.10"));
    CHECK(engine->notes().empty());
    CHECK_EQUAL(engine->inputs().size(), std::size_t{1});
    CHECK_EQUAL(engine->inputs()[0].floats(), std::size_t{128});
    CHECK_EQUAL(engine->outputs()[0].name, "landmarks");
    CHECK_EQUAL(engine->outputs()[1].floats(), std::size_t{6});
}

void check_each_interface() {
    FakeEngine engine;
    engine.version = "11.4.0.106";
    CHECK(FakeBundle(engine).open()->runtime_path().find("libnvinfer.so.11") != std::string::npos);
    engine.target = "tensorrt-rtx";
    engine.version = "1.7.1.116";
    CHECK(FakeBundle(engine).open()->runtime_path().find("libtensorrt_rtx.so.1") !=
          std::string::npos);
    CHECK_CLEAN(0);
}

void check_refused(const FakeEngine& engine, mahtrt_status status, const std::string& part,
                   const std::string& fakes = "all") {
    const FakeBundle bundle(engine);
    CHECK_REFUSED(bundle.open(fakes), status, part);
    CHECK_CLEAN(0);
}

// What problem() says as well, without the engine's files.
void check_unfit(const FakeEngine& engine, mahtrt_status status, const std::string& part,
                 const std::string& fakes = "all") {
    check_refused(engine, status, part, fakes);
    CHECK(FakeBundle(engine).problem(fakes).find(part) != std::string::npos);
}

void check_versions() {
    FakeEngine engine;
    engine.version = "10.13.2.7";
    check_unfit(engine, MAHTRT_FAILED, "got 10.13.2.6 at ");
    check_unfit(engine, MAHTRT_FAILED, "expected 10.13.2.7, which it was built for");
    engine.version = "10.13.2.6";
    check_unfit(engine, MAHTRT_FAILED, "got 10.16.0.1 at ", "other");
    engine.version = "10.11.0.1";
    check_unfit(engine, MAHTRT_FAILED, "10.12 or newer");
    for (const char* each : {"", "10", "10.x", "10.13.2.6.1", "10.13.", "99999999.1"}) {
        engine.version = each;
        check_unfit(engine, MAHTRT_FAILED, "expected numbers such as 10.13.2.6");
    }
    engine.target = "tensorrt-rtx";
    engine.version = "1.1.0.5";
    check_unfit(engine, MAHTRT_FAILED, "1.2 or newer");
}

// TensorRT-RTX 1.7.1 calls itself 10701: an engine of TensorRT 10.7 or 10.12 must not meet it.
void check_rtx_is_no_tensorrt() {
    const auto rtx = parse_tensorrt_version("1.7.1.116");
    CHECK(rtx.has_value());
    CHECK_EQUAL(module_name(TensorRtFlavour::kTensorRtRtx, *rtx), "libmahtrt_tensorrt_rtx1.7.so");
    CHECK_EQUAL(module_name(TensorRtFlavour::kTensorRt, *parse_tensorrt_version("10.13.2.6")),
                "libmahtrt_tensorrt10.so");
    FakeEngine engine;
    engine.target = "tensorrt-rtx";
    engine.version = "1.6.0.1";  // another binary interface, so another module
    check_unfit(engine, MAHTRT_MISSING, "all/libmahtrt_tensorrt_rtx1.6.so");
}

void check_missing() {
    FakeEngine engine;
    check_unfit(engine, MAHTRT_MISSING, "nowhere/libmahtrt_tensorrt10.so", "nowhere");
    engine.version = "12.0.0.1";
    check_unfit(engine, MAHTRT_MISSING, "all/libmahtrt_tensorrt12.so");
    engine.version = "11.4.0.106";
    check_unfit(engine, MAHTRT_MISSING, "module/libnvinfer.so.11", "module");
    check_unfit(engine, MAHTRT_MISSING, "runtime_dir or the environment", "module");
    const FakeBundle bundle;
    CHECK_REFUSED(bundle.open("all", nullptr, 1), MAHTRT_MISSING, "GPU number 1 of 1");
    CHECK_REFUSED(bundle.open("all", nullptr, -1), MAHTRT_MISSING, "GPU number -1 of 1");
}

void check_streams() {
    const FakeBundle bundle;
    CHECK_REFUSED(bundle.open("all", fake_foreign_stream()), MAHTRT_USAGE, "another context");
    CHECK_REFUSED(bundle.open("all", reinterpret_cast<void*>(77)), MAHTRT_USAGE, "got 77");
    CHECK_CLEAN(0);
}

void check_gpus() {
    FakeEngine engine;
    fake_gpu("Fake GPU", 9, 0, 1);
    check_unfit(engine, MAHTRT_FAILED, "got Fake GPU (SM90) here, expected SM89");
    check_unfit(engine, MAHTRT_FAILED, kCompile);
    fake_gpu("Another GPU", 8, 9, 1);
    check_unfit(engine, MAHTRT_FAILED, "got Another GPU here, expected Fake GPU");
    engine.compatibility = "same_compute_capability";
    CHECK_EQUAL(FakeBundle(engine).open()->notes()[0],
                "Built and measured on Fake GPU; this is Another GPU.");
    engine.compatibility = "ampere_plus";
    fake_gpu("Another GPU", 12, 0, 1);
    CHECK_EQUAL(FakeBundle(engine).problem(), "");
    fake_gpu("Another GPU", 7, 5, 1);
    check_unfit(engine, MAHTRT_FAILED, "expected SM80 or newer");
    fake_gpu("Fake GPU", 8, 9, 1);
}

// TensorRT-RTX compiles for capabilities alone: the card's name and the levels say nothing there.
void check_rtx_gpus() {
    FakeEngine engine;
    engine.target = "tensorrt-rtx";
    engine.version = "1.7.1.116";
    engine.capabilities = R"("SM86", "SM89")";
    engine.gpu = "Another GPU";
    engine.compatibility = "ampere_plus";
    CHECK_EQUAL(FakeBundle(engine).problem(), "");
    engine.capabilities = R"("SM86")";
    check_unfit(engine, MAHTRT_FAILED, "expected SM86");
    engine.capabilities = "";
    check_unfit(engine, MAHTRT_FAILED, "none that it names");
}

void check_platforms() {
    FakeEngine engine;
    engine.platform = "windows_amd64";
    check_unfit(engine, MAHTRT_FAILED, "platform: got " + this_platform() + " here");
    engine.platform = "";
    CHECK_EQUAL(FakeBundle(engine).problem(), "");
}

void check_plans() {
    FakeEngine engine;
    engine.plan = "another plan\n";
    check_refused(engine, MAHTRT_FAILED, "(version tag does not match)");
    engine.plan = "fake plan\ninput image 2 1 8 9\noutput landmarks 2 3 2\noutput confidence 2 3\n";
    check_refused(engine, MAHTRT_FAILED, "input \"image\" float32 (2, 1, 8, 8)");
    engine.plan = "fake plan\ninput image 2 1 8 8\noutput landmarks 2 3 2\n";
    check_refused(engine, MAHTRT_FAILED, "output \"confidence\" float32");
    engine.plan = "fake plan\ninput image 2 1 8 8\nhalf landmarks 2 3 2\noutput confidence 2 3\n";
    check_refused(engine, MAHTRT_FAILED, "output \"landmarks\" float32");
    for (const char* each : {"integer x 2", "host x 2", "output x -1 2", "output x 2 0"}) {
        engine.plan = FakeEngine().plan + each + "\n";
        check_refused(engine, MAHTRT_FAILED, "tensor \"x\" of another type, shape or place");
    }
    engine.plan = FakeEngine().plan + "input more 2 1\n";
    check_refused(engine, MAHTRT_FAILED, "2 inputs, expected 1");
}

void check_changed_plan() {
    const FakeBundle bundle;
    bundle.write("e.plan", replaced(FakeEngine().plan, "8 8", "8 9"));
    CHECK_REFUSED(bundle.open(), MAHTRT_INTEGRITY, "e.plan");
    CHECK_CLEAN(0);
}

}  // namespace

int main() {
    unsetenv("MAHTRT_RUNTIME_DIR");
    check_driver_that_does_not_start();
    check_opened();
    CHECK_CLEAN(0);
    check_each_interface();
    check_versions();
    check_rtx_is_no_tensorrt();
    check_missing();
    check_streams();
    check_gpus();
    check_rtx_gpus();
    check_platforms();
    check_plans();
    check_changed_plan();
    CHECK_CLEAN(0);
    return 0;
}
