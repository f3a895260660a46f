// NVIDIA's driver, opened when a GPU is wanted: neither its headers nor its library are needed
// before.
//
// Declared here are the functions of the driver's C interface that the library calls, by the names
// that libcuda.so.1 exports: those that end in _v2 are what cuda.h turns the plain names into.
// Their signatures have been the same since CUDA 3.2 or since they exist (cuStreamGetCtx: 9.2,
// cuStreamIsCapturing: 10.0).
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <utility>

namespace mahtrt {

using CuResult = int;                  // CUresult
using CuDevice = int;                  // CUdevice
using CuAddress = unsigned long long;  // CUdeviceptr
using CuContext = struct CUctx_st*;
using CuStream = struct CUstream_st*;
using CuEvent = struct CUevent_st*;

// Numbers of cuda.h that its interface fixes; tests/test_cuda_declarations.cpp compares them.
constexpr CuResult kCudaSuccess = 0, kCudaInvalidValue = 1, kCudaOutOfMemory = 2;
constexpr int kCudaMajorAttribute = 75, kCudaMinorAttribute = 76;  // of compute capability
constexpr unsigned kCudaNonBlocking = 1;                           // CU_STREAM_NON_BLOCKING
constexpr unsigned kCudaDisableTiming = 2;                         // CU_EVENT_DISABLE_TIMING
constexpr int kCudaMemoryType = 2, kCudaDeviceOrdinal = 9;         // CU_POINTER_ATTRIBUTE_…
constexpr unsigned kCudaDeviceMemory = 2;                          // CU_MEMORYTYPE_DEVICE

// A handle of the driver, and the function that ends it. Its context has to be current then.
template <typename Handle>
class CudaOwned {
  public:
    using Free = CuResult (*)(Handle);

    CudaOwned() = default;
    CudaOwned(Handle handle, Free free) noexcept : handle_(handle), free_(free) {}
    CudaOwned(CudaOwned&& other) noexcept
        : handle_(other.handle_), free_(std::exchange(other.free_, nullptr)) {}
    CudaOwned& operator=(CudaOwned&& other) noexcept {
        std::swap(handle_, other.handle_);
        std::swap(free_, other.free_);
        return *this;
    }
    ~CudaOwned() {
        if (free_ != nullptr) free_(handle_);  // an error here is that of earlier work
    }

    Handle get() const noexcept { return handle_; }

  private:
    Handle handle_{};
    Free free_ = nullptr;
};

// A GPU as engines ask for it.
struct Gpu {
    int number = 0;
    std::string name, capability;  // "NVIDIA H200", "SM90"
};

class CudaDriver {
  public:
    // The driver of this process; it stays open. Throws Error MAHTRT_MISSING: no driver, or none
    // that starts.
    static const CudaDriver& find();

    // "CUDA_ERROR_OUT_OF_MEMORY (out of memory)".
    std::string name_of(CuResult result) const;

    // Throws Error MAHTRT_OUT_OF_MEMORY or MAHTRT_FAILED with the driver's name of a result that
    // is not success.
    void check(CuResult result, const char* function) const;

    // Throws Error MAHTRT_MISSING: no GPU of that number.
    Gpu gpu(int number) const;

    // What these make is of the current context. Throw as check() does.
    CudaOwned<CuAddress> allocate(std::size_t bytes) const;
    CudaOwned<void*> allocate_pinned(std::size_t bytes) const;
    CudaOwned<CuStream> make_stream() const;  // does not wait for the default stream
    CudaOwned<CuEvent> make_event() const;

    // Functions by their names without "cu".
    CuResult (*init)(unsigned flags);
    CuResult (*get_error_name)(CuResult, const char** name);
    CuResult (*get_error_string)(CuResult, const char** text);
    CuResult (*device_get_count)(int* count);
    CuResult (*device_get)(CuDevice*, int number);
    CuResult (*device_get_name)(char* name, int room, CuDevice);
    CuResult (*device_get_attribute)(int* value, int attribute, CuDevice);
    CuResult (*device_primary_ctx_retain)(CuContext*, CuDevice);
    CuResult (*device_primary_ctx_release)(CuDevice);
    CuResult (*ctx_push_current)(CuContext);
    CuResult (*ctx_pop_current)(CuContext*);
    CuResult (*mem_alloc)(CuAddress*, std::size_t bytes);
    CuResult (*mem_free)(CuAddress);
    CuResult (*mem_host_alloc)(void**, std::size_t bytes, unsigned flags);
    CuResult (*mem_free_host)(void*);
    CuResult (*memcpy_to_device)(CuAddress, const void*, std::size_t bytes, CuStream);
    CuResult (*memcpy_to_host)(void*, CuAddress, std::size_t bytes, CuStream);
    CuResult (*stream_create)(CuStream*, unsigned flags);
    CuResult (*stream_destroy)(CuStream);
    CuResult (*stream_synchronize)(CuStream);
    CuResult (*stream_wait_event)(CuStream, CuEvent, unsigned flags);
    CuResult (*stream_get_ctx)(CuStream, CuContext*);
    CuResult (*stream_is_capturing)(CuStream, int* status);
    CuResult (*event_create)(CuEvent*, unsigned flags);
    CuResult (*event_destroy)(CuEvent);
    CuResult (*event_record)(CuEvent, CuStream);
    CuResult (*event_query)(CuEvent);
    CuResult (*event_synchronize)(CuEvent);
    CuResult (*pointer_get_attribute)(void* value, int attribute, CuAddress);

  private:
    CudaDriver();
};

// The primary context of a GPU, which other libraries of the process use as well.
class CudaContext {
  public:
    CudaContext(const CudaDriver& driver, const Gpu& gpu);
    CudaContext(const CudaContext&) = delete;
    CudaContext& operator=(const CudaContext&) = delete;
    ~CudaContext();

    const CudaDriver& driver() const noexcept { return driver_; }
    CuContext handle() const noexcept { return handle_; }
    const Gpu& gpu() const noexcept { return gpu_; }

    // With this context current: throws Error MAHTRT_USAGE for a stream of a caller that cannot
    // be used, as far as the driver can tell.
    void check_stream(CuStream stream) const;

  private:
    const CudaDriver& driver_;
    Gpu gpu_;
    CuDevice device_ = 0;
    CuContext handle_ = nullptr;
};

// Makes a context current for the calling thread as long as it lives; what was current is again
// afterwards.
class CurrentContext {
  public:
    // Throws Error MAHTRT_FAILED: the context is lost.
    explicit CurrentContext(const CudaContext& context);

    // For what frees memory: tries twice, since the first try may be answered by the error of
    // earlier work, and tells by is_current() whether it is.
    CurrentContext(const CudaContext& context, std::nothrow_t) noexcept;

    CurrentContext(const CurrentContext&) = delete;
    CurrentContext& operator=(const CurrentContext&) = delete;
    ~CurrentContext();

    bool is_current() const noexcept { return is_current_; }

  private:
    const CudaDriver& driver_;
    bool is_current_ = false;
};

}  // namespace mahtrt
