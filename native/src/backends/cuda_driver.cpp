#include "cuda_driver.h"

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <new>

#include "../shared_library.h"
#include "../status.h"

namespace mahtrt {
namespace {

constexpr char kDriver[] = "NVIDIA's driver";
constexpr char kInstall[] =
    "Run on a machine with an NVIDIA GPU and its driver, in a container with --gpus all.";

// The default streams have the numbers 0 to 2; other handles are addresses.
constexpr std::uintptr_t kLargestDefault = 2, kLeastHandle = 4096;

[[noreturn]] void missing(const std::string& got, const std::string& expected) {
    throw Error(MAHTRT_MISSING, sentence(kDriver, got, expected, kInstall));
}

}  // namespace

const CudaDriver& CudaDriver::find() {
    // Never destroyed: a session may end after the statics of this library.
    static std::mutex& mutex = *new std::mutex;
    static const CudaDriver* driver = nullptr;
    const std::lock_guard<std::mutex> lock(mutex);
    if (driver == nullptr) driver = new CudaDriver;
    return *driver;
}

CudaDriver::CudaDriver() {
    const SharedLibrary library(kDriver, {"libcuda.so.1"}, kInstall);
    library.find("cuInit", init);
    library.find("cuGetErrorName", get_error_name);
    library.find("cuGetErrorString", get_error_string);
    library.find("cuDeviceGetCount", device_get_count);
    library.find("cuDeviceGet", device_get);
    library.find("cuDeviceGetName", device_get_name);
    library.find("cuDeviceGetAttribute", device_get_attribute);
    library.find("cuDevicePrimaryCtxRetain", device_primary_ctx_retain);
    library.find("cuDevicePrimaryCtxRelease_v2", device_primary_ctx_release);
    library.find("cuCtxPushCurrent_v2", ctx_push_current);
    library.find("cuCtxPopCurrent_v2", ctx_pop_current);
    library.find("cuMemAlloc_v2", mem_alloc);
    library.find("cuMemFree_v2", mem_free);
    library.find("cuMemHostAlloc", mem_host_alloc);
    library.find("cuMemFreeHost", mem_free_host);
    library.find("cuMemcpyHtoDAsync_v2", memcpy_to_device);
    library.find("cuMemcpyDtoHAsync_v2", memcpy_to_host);
    library.find("cuStreamCreate", stream_create);
    library.find("cuStreamDestroy_v2", stream_destroy);
    library.find("cuStreamSynchronize", stream_synchronize);
    library.find("cuStreamWaitEvent", stream_wait_event);
    library.find("cuStreamGetCtx", stream_get_ctx);
    library.find("cuStreamIsCapturing", stream_is_capturing);
    library.find("cuEventCreate", event_create);
    library.find("cuEventDestroy_v2", event_destroy);
    library.find("cuEventRecord", event_record);
    library.find("cuEventQuery", event_query);
    library.find("cuEventSynchronize", event_synchronize);
    library.find("cuPointerGetAttribute", pointer_get_attribute);
    const CuResult started = init(0);
    if (started != kCudaSuccess) missing(name_of(started) + " from cuInit", "a driver that starts");
}

std::string CudaDriver::name_of(CuResult result) const {
    const char *name = nullptr, *text = nullptr;
    std::string told = "error " + std::to_string(result);
    if (get_error_name(result, &name) == kCudaSuccess && name != nullptr) told = name;
    if (get_error_string(result, &text) == kCudaSuccess && text != nullptr)
        told += " (" + std::string(text) + ")";
    return told;
}

void CudaDriver::check(CuResult result, const char* function) const {
    if (result == kCudaSuccess) return;
    throw Error(result == kCudaOutOfMemory ? MAHTRT_OUT_OF_MEMORY : MAHTRT_FAILED,
                sentence(function, name_of(result), "success"));
}

Gpu CudaDriver::gpu(int number) const {
    int count = 0, major = 0, minor = 0;
    check(device_get_count(&count), "cuDeviceGetCount");
    if (number < 0 || number >= count)
        missing("GPU number " + std::to_string(number) + " of " + std::to_string(count),
                "the number of a GPU, from 0");
    CuDevice device = 0;
    char name[256] = "";
    check(device_get(&device, number), "cuDeviceGet");
    check(device_get_name(name, sizeof name, device), "cuDeviceGetName");
    check(device_get_attribute(&major, kCudaMajorAttribute, device), "cuDeviceGetAttribute");
    check(device_get_attribute(&minor, kCudaMinorAttribute, device), "cuDeviceGetAttribute");
    name[sizeof name - 1] = '\0';
    return {number, name, "SM" + std::to_string(major) + std::to_string(minor)};
}

CudaOwned<CuAddress> CudaDriver::allocate(std::size_t bytes) const {
    CuAddress address = 0;
    check(mem_alloc(&address, std::max<std::size_t>(bytes, 1)), "cuMemAlloc");
    return {address, mem_free};
}

CudaOwned<void*> CudaDriver::allocate_pinned(std::size_t bytes) const {
    void* memory = nullptr;
    check(mem_host_alloc(&memory, std::max<std::size_t>(bytes, 1), 0), "cuMemHostAlloc");
    return {memory, mem_free_host};
}

CudaOwned<CuStream> CudaDriver::make_stream() const {
    CuStream stream = nullptr;
    check(stream_create(&stream, kCudaNonBlocking), "cuStreamCreate");
    return {stream, stream_destroy};
}

CudaOwned<CuEvent> CudaDriver::make_event() const {
    CuEvent event = nullptr;
    check(event_create(&event, kCudaDisableTiming), "cuEventCreate");
    return {event, event_destroy};
}

CudaContext::CudaContext(const CudaDriver& driver, const Gpu& gpu) : driver_(driver), gpu_(gpu) {
    driver.check(driver.device_get(&device_, gpu.number), "cuDeviceGet");
    driver.check(driver.device_primary_ctx_retain(&handle_, device_), "cuDevicePrimaryCtxRetain");
}

CudaContext::~CudaContext() { driver_.device_primary_ctx_release(device_); }

void CudaContext::check_stream(CuStream stream) const {
    const auto handle = reinterpret_cast<std::uintptr_t>(stream);
    if (handle == 0) return;
    // The driver follows a handle as an address: what cannot be one would end the process.
    if (handle > kLargestDefault && handle < kLeastHandle)
        refuse("stream", std::to_string(handle), "a CUstream or a cudaStream_t");
    CuContext context = nullptr;
    driver_.check(driver_.stream_get_ctx(stream, &context), "cuStreamGetCtx");
    if (context != handle_)
        refuse("stream", "one of another context",
               "one of the primary context of GPU " + std::to_string(gpu_.number),
               "Make it with the CUDA runtime, or after cuDevicePrimaryCtxRetain.");
    int status = 0;
    driver_.check(driver_.stream_is_capturing(stream, &status), "cuStreamIsCapturing");
    if (status != 0)
        refuse("stream", "one that is being captured", "one that works",
               "Capture without libmahtrt: its contexts are shared with other calls.");
}

CurrentContext::CurrentContext(const CudaContext& context) : driver_(context.driver()) {
    driver_.check(driver_.ctx_push_current(context.handle()), "cuCtxPushCurrent");
    is_current_ = true;
}

CurrentContext::CurrentContext(const CudaContext& context, std::nothrow_t) noexcept
    : driver_(context.driver()) {
    is_current_ = driver_.ctx_push_current(context.handle()) == kCudaSuccess ||
                  driver_.ctx_push_current(context.handle()) == kCudaSuccess;
}

CurrentContext::~CurrentContext() {
    CuContext popped = nullptr;
    if (is_current_) driver_.ctx_pop_current(&popped);
}

}  // namespace mahtrt
