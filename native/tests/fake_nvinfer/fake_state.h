// What the fake driver knows: memory, streams, events, and which call is to fail.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "fake_gpu.h"

namespace fake {

enum : int {
    kSuccess = 0,
    kInvalidValue = 1,
    kOutOfMemory = 2,
    kInvalidContext = 201,
    kNotReady = 600,
    kLaunchFailed = 719,
    kNoName = 12345
};
enum : unsigned { kHostMemory = 1, kDeviceMemory = 2 };

struct Stream {
    std::deque<std::function<void()>> work;
    std::uint64_t given = 0, done = 0;
    bool is_foreign = false, is_captured = false;
};

struct Event {
    std::shared_ptr<Stream> stream;
    std::uint64_t number = 0;
};

struct Region {
    std::size_t bytes;
    unsigned type;
};

struct State {
    std::recursive_mutex mutex;
    std::string name = "Fake GPU", failed, violations;
    int major = 8, minor = 9, count = 1, start = 0;
    std::int64_t calls = 0, fail_at = 0, alive = 0;
    std::map<std::uintptr_t, Region> memory;
    std::map<void*, std::shared_ptr<Stream>> streams;
    std::shared_ptr<Stream> usual = std::make_shared<Stream>();
};

State& state();

using Lock = std::lock_guard<std::recursive_mutex>;

extern int primary_context, other_context;

std::shared_ptr<Stream> find(void* handle);
// Does what was given to a stream, up to that number.
void drain(const std::shared_ptr<Stream>& stream, std::uint64_t until);
void give(const std::shared_ptr<Stream>& stream, std::function<void()> work);
const Region* region_of(std::uintptr_t address, std::size_t bytes);

}  // namespace fake
