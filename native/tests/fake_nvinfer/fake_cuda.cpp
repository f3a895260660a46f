// A driver without a GPU: libcuda.so.1 for tests. Memory of the "GPU" is that of the host.
#include <cstdlib>
#include <cstring>
#include <vector>

#include "fake_state.h"

using namespace fake;

namespace {

thread_local std::vector<void*> current;

// Whether a call may be made now; it fails where its number says so.
int enter(const char* function, bool needs_context = true) {
    if (needs_context && current.empty()) {
        fake_violate((std::string(function) + " without a context").c_str());
        return kInvalidContext;
    }
    if (!fake_step(function)) return kSuccess;
    const std::string name(function);
    return name.find("Alloc") != std::string::npos ? kOutOfMemory : kLaunchFailed;
}

void copy(void* to, const void* from, std::size_t bytes) {
    if (!fake_is_memory(to, bytes) || !fake_is_memory(from, bytes))
        fake_violate("a copy of memory that is not there any more");
    else
        std::memcpy(to, from, bytes);
}

int make_memory(void** memory, std::size_t bytes, unsigned type) {
    *memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
    std::memset(*memory, 0xee, bytes);
    state().memory[reinterpret_cast<std::uintptr_t>(*memory)] = {bytes, type};
    fake_count(1);
    return kSuccess;
}

int free_memory(void* memory, unsigned type) {
    const auto found = state().memory.find(reinterpret_cast<std::uintptr_t>(memory));
    if (found == state().memory.end() || found->second.type != type) {
        fake_violate("memory freed that is not there");
        return kInvalidValue;
    }
    state().memory.erase(found);
    fake_count(-1);
    std::free(memory);
    return kSuccess;
}

}  // namespace

extern "C" {

bool fake_is_current() { return !current.empty() && current.back() == &primary_context; }

// The driver, by the names that libcuda.so.1 exports.

int cuInit(unsigned) {
    const Lock lock(state().mutex);
    return state().start;
}

int cuGetErrorName(int result, const char** name) {
    *name = result == kOutOfMemory ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_LAUNCH_FAILED";
    return result == kNoName ? kInvalidValue : kSuccess;
}

int cuGetErrorString(int result, const char** text) {
    *text = "told to fail";
    return result == kNoName ? kInvalidValue : kSuccess;
}

int cuDeviceGetCount(int* count) {
    const Lock lock(state().mutex);
    *count = state().count;
    return enter("cuDeviceGetCount", false);
}

int cuDeviceGet(int* device, int number) {
    *device = number;
    return enter("cuDeviceGet", false);
}

int cuDeviceGetName(char* name, int room, int) {
    const Lock lock(state().mutex);
    std::strncpy(name, state().name.c_str(), static_cast<std::size_t>(room));
    return enter("cuDeviceGetName", false);
}

int cuDeviceGetAttribute(int* value, int attribute, int) {
    const Lock lock(state().mutex);
    *value = attribute == 75 ? state().major : state().minor;
    return enter("cuDeviceGetAttribute", false);
}

int cuDevicePrimaryCtxRetain(void** context, int) {
    if (const int failed = enter("cuDevicePrimaryCtxRetain", false)) return failed;
    *context = &primary_context;
    fake_count(1);
    return kSuccess;
}

int cuDevicePrimaryCtxRelease_v2(int) {
    fake_count(-1);
    return enter("cuDevicePrimaryCtxRelease", false);
}

int cuCtxPushCurrent_v2(void* context) {
    if (const int failed = enter("cuCtxPushCurrent", false)) return failed;
    current.push_back(context);
    return kSuccess;
}

int cuCtxPopCurrent_v2(void** context) {
    const int failed = enter("cuCtxPopCurrent");
    if (current.empty()) return kInvalidContext;
    *context = current.back();
    current.pop_back();
    return failed;
}

int cuMemAlloc_v2(unsigned long long* address, std::size_t bytes) {
    const Lock lock(state().mutex);
    if (const int failed = enter("cuMemAlloc")) return failed;
    void* memory = nullptr;
    make_memory(&memory, bytes, kDeviceMemory);
    *address = reinterpret_cast<std::uintptr_t>(memory);
    return kSuccess;
}

// A call that frees may answer with the error of earlier work; it has freed all the same.
int cuMemFree_v2(unsigned long long address) {
    const Lock lock(state().mutex);
    const int failed = enter("cuMemFree");
    const int freed = free_memory(reinterpret_cast<void*>(address), kDeviceMemory);
    return failed != kSuccess ? failed : freed;
}

int cuMemHostAlloc(void** memory, std::size_t bytes, unsigned) {
    const Lock lock(state().mutex);
    if (const int failed = enter("cuMemHostAlloc")) return failed;
    return make_memory(memory, bytes, kHostMemory);
}

int cuMemFreeHost(void* memory) {
    const Lock lock(state().mutex);
    const int failed = enter("cuMemFreeHost");
    const int freed = free_memory(memory, kHostMemory);
    return failed != kSuccess ? failed : freed;
}

int cuMemcpyHtoDAsync_v2(unsigned long long to, const void* from, std::size_t bytes, void* stream) {
    const Lock lock(state().mutex);
    if (const int failed = enter("cuMemcpyHtoDAsync")) return failed;
    give(find(stream), [=] { copy(reinterpret_cast<void*>(to), from, bytes); });
    return kSuccess;
}

int cuMemcpyDtoHAsync_v2(void* to, unsigned long long from, std::size_t bytes, void* stream) {
    const Lock lock(state().mutex);
    if (const int failed = enter("cuMemcpyDtoHAsync")) return failed;
    give(find(stream), [=] { copy(to, reinterpret_cast<const void*>(from), bytes); });
    return kSuccess;
}

int cuStreamCreate(void** stream, unsigned flags) {
    const Lock lock(state().mutex);
    if (const int failed = enter("cuStreamCreate")) return failed;
    if (flags != 1) fake_violate("a stream that waits for the default stream");
    auto made = std::make_shared<Stream>();
    *stream = made.get();
    state().streams[*stream] = made;
    fake_count(1);
    return kSuccess;
}

int cuStreamDestroy_v2(void* stream) {
    const Lock lock(state().mutex);
    const int failed = enter("cuStreamDestroy");
    const auto found = find(stream);
    drain(found, found->given);  // a GPU does it later
    state().streams.erase(stream);
    fake_count(-1);
    return failed;
}

int cuStreamSynchronize(void* stream) {
    const Lock lock(state().mutex);
    const int failed = enter("cuStreamSynchronize");
    const auto found = find(stream);
    drain(found, found->given);
    return failed;
}

int cuStreamWaitEvent(void* stream, void* event, unsigned) {
    const Lock lock(state().mutex);
    if (const int failed = enter("cuStreamWaitEvent")) return failed;
    const Event recorded = *static_cast<Event*>(event);
    if (recorded.stream != nullptr && recorded.stream != find(stream))
        give(find(stream), [recorded] { drain(recorded.stream, recorded.number); });
    return kSuccess;
}

int cuStreamGetCtx(void* stream, void** context) {
    const Lock lock(state().mutex);
    if (const int failed = enter("cuStreamGetCtx")) return failed;
    *context = find(stream)->is_foreign ? &other_context : &primary_context;
    return kSuccess;
}

int cuStreamIsCapturing(void* stream, int* status) {
    const Lock lock(state().mutex);
    if (const int failed = enter("cuStreamIsCapturing")) return failed;
    *status = find(stream)->is_captured ? 1 : 0;
    return kSuccess;
}

int cuEventCreate(void** event, unsigned) {
    if (const int failed = enter("cuEventCreate")) return failed;
    *event = new Event;
    fake_count(1);
    return kSuccess;
}

int cuEventDestroy_v2(void* event) {
    const Lock lock(state().mutex);
    const int failed = enter("cuEventDestroy");
    delete static_cast<Event*>(event);
    fake_count(-1);
    return failed;
}

int cuEventRecord(void* event, void* stream) {
    const Lock lock(state().mutex);
    if (const int failed = enter("cuEventRecord")) return failed;
    const auto found = find(stream);
    *static_cast<Event*>(event) = {found, found->given};
    return kSuccess;
}

int cuEventQuery(void* event) {
    const Lock lock(state().mutex);
    if (const int failed = enter("cuEventQuery")) return failed;
    const Event& recorded = *static_cast<Event*>(event);
    return recorded.stream == nullptr || recorded.stream->done >= recorded.number ? kSuccess
                                                                                  : kNotReady;
}

int cuEventSynchronize(void* event) {
    const Lock lock(state().mutex);
    const int failed = enter("cuEventSynchronize");
    const Event recorded = *static_cast<Event*>(event);
    if (recorded.stream != nullptr) drain(recorded.stream, recorded.number);
    return failed;
}

int cuPointerGetAttribute(void* value, int attribute, unsigned long long address) {
    const Lock lock(state().mutex);
    if (const int failed = enter("cuPointerGetAttribute")) return failed;
    const Region* region = region_of(address, 1);
    if (region == nullptr) return kInvalidValue;
    if (attribute == 2) std::memcpy(value, &region->type, sizeof region->type);
    if (attribute == 9) std::memset(value, 0, sizeof(int));
    return kSuccess;
}
}
