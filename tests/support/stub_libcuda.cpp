// A CUDA driver library on the memory of the host, for cuda-bindings to be tried on: do its
// functions get the arguments that they are given? Work is done at once, in a capture it is kept.
// Types and numbers are those of cuda.h.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <vector>

using Work = std::vector<std::function<void()>>;
struct Stream { bool capturing = false; Work recorded; };
struct Event { unsigned flags; double ms; };

static std::map<uint64_t, std::pair<size_t, int>> allocations;  // start -> bytes, CUmemorytype
static double clock_ms = 0;
static int contexts = 0;
static void *const kContext = reinterpret_cast<void *>(0x4200);

static void submit(void *handle, std::function<void()> work) {
  clock_ms += 1;
  auto *stream = static_cast<Stream *>(handle);
  if (stream && stream->capturing) stream->recorded.push_back(work);
  else work();
}

static int init(unsigned flags) { return flags ? 1 : 0; }
static int driver_version(int *version) { return *version = 13000, 0; }
static int device_count(int *count) { return *count = 1, 0; }
static int device_get(int *device, int ordinal) { return *device = ordinal, 0; }
static int device_name(char *name, int size, int device) {
  std::strncpy(name, "NVIDIA Stub", size);
  return device;
}
static int device_attribute(int *value, int attribute, int device) {
  *value = attribute == 75 ? 9 : attribute == 76 ? 0 : attribute == 16 ? 132 : -1;
  return device;
}
static int retain(void **context, int device) { return *context = kContext, ++contexts, device; }
static int release(int device) { return --contexts, device; }
static int push(void *context) { return context == kContext ? 0 : 201; }
static int pop(void **context) { return *context = kContext, 0; }
static int name_of(int code, const char **text) {
  *text = code == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_OF_STUB";
  return 0;
}
static int string_of(int code, const char **text) {
  *text = code == 2 ? "out of memory" : "an error of the stub";
  return 0;
}
static int allocate(uint64_t *address, size_t bytes) {
  if (bytes > 1u << 30) return 2;
  *address = reinterpret_cast<uint64_t>(std::malloc(bytes));
  allocations[*address] = {bytes, 2};
  return 0;
}
static int free_device(uint64_t address) {
  if (!allocations.erase(address)) return 1;
  std::free(reinterpret_cast<void *>(address));
  return 0;
}
static int allocate_host(void **place, size_t bytes, unsigned flags) {
  *place = std::malloc(bytes);
  allocations[reinterpret_cast<uint64_t>(*place)] = {bytes, 1};
  return flags;
}
static int free_host(void *place) { return free_device(reinterpret_cast<uint64_t>(place)); }
static int memory_info(size_t *free, size_t *total) { return *free = 3 << 20, *total = 24 << 20, 0; }
static int to_device(uint64_t to, const void *source, size_t bytes, void *stream) {
  return submit(stream, [=] { std::memcpy(reinterpret_cast<void *>(to), source, bytes); }), 0;
}
static int to_host(void *to, uint64_t source, size_t bytes, void *stream) {
  return submit(stream, [=] { std::memcpy(to, reinterpret_cast<void *>(source), bytes); }), 0;
}
static int on_device(uint64_t to, uint64_t source, size_t bytes, void *stream) {
  return to_device(to, reinterpret_cast<void *>(source), bytes, stream);
}
static int fill(uint64_t to, unsigned char value, size_t count, void *stream) {
  return submit(stream, [=] { std::memset(reinterpret_cast<void *>(to), value, count); }), 0;
}
static int pointer_attributes(unsigned count, const int *wanted, void **values, uint64_t address) {
  auto found = allocations.upper_bound(address);
  bool known = found != allocations.begin();
  if (known) known = address < (--found)->first + found->second.first;
  for (unsigned i = 0; i < count; ++i) {
    switch (wanted[i]) {
      case 2: *static_cast<unsigned *>(values[i]) = known ? found->second.second : 0; break;
      case 8: *static_cast<unsigned *>(values[i]) = 0; break;
      case 9: *static_cast<int *>(values[i]) = known ? 0 : -2; break;
      case 11: *static_cast<uint64_t *>(values[i]) = known ? found->first : 0; break;
      case 12: *static_cast<size_t *>(values[i]) = known ? found->second.first : 0; break;
      default: return 1;
    }
  }
  return 0;
}
static int stream_create(void **stream, unsigned flags) { return *stream = new Stream, flags - 1; }
static int stream_destroy(void *stream) { return delete static_cast<Stream *>(stream), 0; }
static int stream_synchronize(void *stream) {
  return stream && static_cast<Stream *>(stream)->capturing ? 900 : 0;
}
static int stream_wait(void *, void *event, unsigned flags) { return event ? flags : 400; }
static int stream_context(void *, void **context) { return *context = kContext, 0; }
static int begin(void *stream, int mode) {
  static_cast<Stream *>(stream)->capturing = true;
  return mode == 1 ? 0 : 1;
}
static int end(void *handle, void **graph) {
  auto *stream = static_cast<Stream *>(handle);
  stream->capturing = false;
  *graph = new Work(std::move(stream->recorded));
  stream->recorded.clear();
  return 0;
}
static int instantiate(void **exec, void *graph, unsigned long long flags) {
  *exec = new Work(*static_cast<Work *>(graph));
  return static_cast<int>(flags);
}
static int graph_launch(void *exec, void *) {
  for (auto &work : *static_cast<Work *>(exec)) work();
  return 0;
}
static int graph_destroy(void *graph) { return delete static_cast<Work *>(graph), 0; }
static int event_create(void **event, unsigned flags) { return *event = new Event{flags, -1}, 0; }
static int event_record(void *event, void *) {
  static_cast<Event *>(event)->ms = clock_ms;
  return 0;
}
static int event_query(void *event) { return static_cast<Event *>(event)->ms < 0 ? 600 : 0; }
static int event_synchronize(void *) { return 0; }
static int event_elapsed(float *ms, void *start, void *last) {
  auto *first = static_cast<Event *>(start), *second = static_cast<Event *>(last);
  if (first->flags || second->flags) return 400;
  return *ms = static_cast<float>(second->ms - first->ms), 0;
}
static int event_destroy(void *event) { return delete static_cast<Event *>(event), 0; }
static int load(void **module, const void *image, unsigned count, int *options, void **values) {
  *module = const_cast<char *>("module");
  if (!std::strstr(static_cast<const char *>(image), "BROKEN")) return 0;
  char *log = nullptr;
  size_t size = 0;
  for (unsigned i = 0; i < count; ++i) {
    if (options[i] == 5) log = static_cast<char *>(values[i]);
    if (options[i] == 6) size = reinterpret_cast<size_t>(values[i]);
  }
  if (log) std::strncpy(log, "ptxas fatal : BROKEN", size);
  return 218;
}
static int function(void **function, void *, const char *name) {
  static char scale[] = "scale";
  *function = scale;
  return std::string(name) == "scale" ? 0 : 500;
}
static int unload(void *module) { return module ? 0 : 400; }
static int launch(void *, unsigned x, unsigned y, unsigned z, unsigned bx, unsigned by, unsigned bz,
                  unsigned shared, void *stream, void **arguments, void **extra) {
  if (x * y * z != 6 || bx * by * bz != 32 || shared != 64 || extra) return 1;
  auto place = *static_cast<float **>(arguments[0]);
  auto count = *static_cast<int *>(arguments[1]);
  auto factor = *static_cast<float *>(arguments[2]);
  return submit(stream, [=] { for (int i = 0; i < count; ++i) place[i] *= factor; }), 0;
}

extern "C" int cuGetProcAddress_v2(const char *, void **, int, uint64_t, int *);

#define GIVEN(name, function) {name, reinterpret_cast<void *>(function)}
static const std::map<std::string, void *> kFunctions = {
    GIVEN("cuInit", init), GIVEN("cuDriverGetVersion", driver_version),
    GIVEN("cuDeviceGetCount", device_count), GIVEN("cuDeviceGet", device_get),
    GIVEN("cuDeviceGetName", device_name), GIVEN("cuDeviceGetAttribute", device_attribute),
    GIVEN("cuDevicePrimaryCtxRetain", retain), GIVEN("cuDevicePrimaryCtxRelease", release),
    GIVEN("cuCtxPushCurrent", push), GIVEN("cuCtxPopCurrent", pop),
    GIVEN("cuGetErrorName", name_of), GIVEN("cuGetErrorString", string_of),
    GIVEN("cuMemAlloc", allocate), GIVEN("cuMemFree", free_device),
    GIVEN("cuMemHostAlloc", allocate_host), GIVEN("cuMemFreeHost", free_host),
    GIVEN("cuMemGetInfo", memory_info), GIVEN("cuMemcpyHtoDAsync", to_device),
    GIVEN("cuMemcpyDtoHAsync", to_host), GIVEN("cuMemcpyDtoDAsync", on_device),
    GIVEN("cuMemsetD8Async", fill), GIVEN("cuPointerGetAttributes", pointer_attributes),
    GIVEN("cuStreamCreate", stream_create), GIVEN("cuStreamDestroy", stream_destroy),
    GIVEN("cuStreamSynchronize", stream_synchronize), GIVEN("cuStreamWaitEvent", stream_wait),
    GIVEN("cuStreamGetCtx", stream_context), GIVEN("cuStreamBeginCapture", begin),
    GIVEN("cuStreamEndCapture", end), GIVEN("cuGraphInstantiate", instantiate),
    GIVEN("cuGraphInstantiateWithFlags", instantiate), GIVEN("cuGraphLaunch", graph_launch),
    GIVEN("cuGraphDestroy", graph_destroy), GIVEN("cuGraphExecDestroy", graph_destroy),
    GIVEN("cuEventCreate", event_create), GIVEN("cuEventRecord", event_record),
    GIVEN("cuEventQuery", event_query), GIVEN("cuEventSynchronize", event_synchronize),
    GIVEN("cuEventElapsedTime", event_elapsed), GIVEN("cuEventDestroy", event_destroy),
    GIVEN("cuModuleLoadDataEx", load), GIVEN("cuModuleGetFunction", function),
    GIVEN("cuModuleUnload", unload), GIVEN("cuLaunchKernel", launch),
    GIVEN("cuGetProcAddress", cuGetProcAddress_v2),
};

extern "C" {
int cuGetProcAddress_v2(const char *name, void **place, int, uint64_t, int *status) {
  auto found = kFunctions.find(name);
  *place = found == kFunctions.end() ? nullptr : found->second;
  if (status) *status = *place ? 0 : 1;
  return *place ? 0 : 500;
}
int cuGetProcAddress(const char *name, void **place, int version, uint64_t flags) {
  return cuGetProcAddress_v2(name, place, version, flags, nullptr);
}
// What mahtrt.cuda.probe asks for by name.
int cuInit(unsigned flags) { return init(flags); }
int cuDriverGetVersion(int *version) { return driver_version(version); }
int cuDeviceGetCount(int *count) { return device_count(count); }
int cuDeviceGet(int *device, int ordinal) { return device_get(device, ordinal); }
int cuDeviceGetName(char *name, int size, int device) { return device_name(name, size, device); }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
  return device_attribute(value, attribute, device);
}
int cuGetErrorName(int code, const char **text) { return name_of(code, text); }
}
