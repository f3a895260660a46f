// What cuda_driver.h declares of the driver against NVIDIA's cuda.h, where that is installed.
#if defined(__has_include)
#if __has_include(<cuda.h>)
#include <cuda.h>
#endif
#endif

#include "backends/cuda_driver.h"

#ifdef CUDA_VERSION
namespace {

// Types that are passed alike: cuda.h has enumerations where we have integers.
template <typename Left, typename Right>
constexpr bool kAlike =
    sizeof(Left) == sizeof(Right) && std::is_pointer_v<Left> == std::is_pointer_v<Right>;

template <typename Left, typename Right>
struct Compared;
template <typename LeftResult, typename... Left, typename RightResult, typename... Right>
struct Compared<LeftResult (*)(Left...), RightResult (*)(Right...)> {
    static constexpr bool alike() {
        if constexpr (sizeof...(Left) == sizeof...(Right))
            return kAlike<LeftResult, RightResult> && (kAlike<Left, Right> && ...);
        else
            return false;
    }
};

using Ours = mahtrt::CudaDriver;

#define CHECK_ALIKE(ours, theirs) \
    static_assert(Compared<decltype(Ours::ours), decltype(&theirs)>::alike(), #theirs)

CHECK_ALIKE(init, cuInit);
CHECK_ALIKE(get_error_name, cuGetErrorName);
CHECK_ALIKE(get_error_string, cuGetErrorString);
CHECK_ALIKE(device_get_count, cuDeviceGetCount);
CHECK_ALIKE(device_get, cuDeviceGet);
CHECK_ALIKE(device_get_name, cuDeviceGetName);
CHECK_ALIKE(device_get_attribute, cuDeviceGetAttribute);
CHECK_ALIKE(device_primary_ctx_retain, cuDevicePrimaryCtxRetain);
CHECK_ALIKE(device_primary_ctx_release, cuDevicePrimaryCtxRelease_v2);
CHECK_ALIKE(ctx_push_current, cuCtxPushCurrent_v2);
CHECK_ALIKE(ctx_pop_current, cuCtxPopCurrent_v2);
CHECK_ALIKE(mem_alloc, cuMemAlloc_v2);
CHECK_ALIKE(mem_free, cuMemFree_v2);
CHECK_ALIKE(mem_host_alloc, cuMemHostAlloc);
CHECK_ALIKE(mem_free_host, cuMemFreeHost);
CHECK_ALIKE(memcpy_to_device, cuMemcpyHtoDAsync_v2);
CHECK_ALIKE(memcpy_to_host, cuMemcpyDtoHAsync_v2);
CHECK_ALIKE(stream_create, cuStreamCreate);
CHECK_ALIKE(stream_destroy, cuStreamDestroy_v2);
CHECK_ALIKE(stream_synchronize, cuStreamSynchronize);
CHECK_ALIKE(stream_wait_event, cuStreamWaitEvent);
CHECK_ALIKE(stream_get_ctx, cuStreamGetCtx);
CHECK_ALIKE(stream_is_capturing, cuStreamIsCapturing);
CHECK_ALIKE(event_create, cuEventCreate);
CHECK_ALIKE(event_destroy, cuEventDestroy_v2);
CHECK_ALIKE(event_record, cuEventRecord);
CHECK_ALIKE(event_query, cuEventQuery);
CHECK_ALIKE(event_synchronize, cuEventSynchronize);
CHECK_ALIKE(pointer_get_attribute, cuPointerGetAttribute);

static_assert(mahtrt::kCudaSuccess == CUDA_SUCCESS);
static_assert(mahtrt::kCudaInvalidValue == CUDA_ERROR_INVALID_VALUE);
static_assert(mahtrt::kCudaOutOfMemory == CUDA_ERROR_OUT_OF_MEMORY);
static_assert(mahtrt::kCudaMajorAttribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
static_assert(mahtrt::kCudaMinorAttribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
static_assert(mahtrt::kCudaNonBlocking == CU_STREAM_NON_BLOCKING);
static_assert(mahtrt::kCudaDisableTiming == CU_EVENT_DISABLE_TIMING);
static_assert(mahtrt::kCudaMemoryType == CU_POINTER_ATTRIBUTE_MEMORY_TYPE);
static_assert(mahtrt::kCudaDeviceOrdinal == CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL);
static_assert(mahtrt::kCudaDeviceMemory == CU_MEMORYTYPE_DEVICE);
static_assert(CU_STREAM_CAPTURE_STATUS_NONE == 0);

}  // namespace
#endif

int main() { return 0; }
