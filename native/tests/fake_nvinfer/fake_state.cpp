#include "fake_state.h"

namespace fake {

int primary_context, other_context;

State& state() {
    static State& made = *new State;
    return made;
}

std::shared_ptr<Stream> find(void* handle) {
    const auto found = state().streams.find(handle);
    if (handle == nullptr) return state().usual;
    if (found == state().streams.end()) {
        fake_violate("work for a stream that is not there");
        return state().usual;
    }
    return found->second;
}

void drain(const std::shared_ptr<Stream>& stream, std::uint64_t until) {
    while (stream->done < until) {
        const auto work = std::move(stream->work.front());
        stream->work.pop_front();
        work();
        ++stream->done;
    }
}

void give(const std::shared_ptr<Stream>& stream, std::function<void()> work) {
    stream->work.push_back(std::move(work));
    ++stream->given;
}

const Region* region_of(std::uintptr_t address, std::size_t bytes) {
    auto found = state().memory.upper_bound(address);
    if (found == state().memory.begin()) return nullptr;
    --found;
    return address + bytes <= found->first + found->second.bytes ? &found->second : nullptr;
}

}  // namespace fake

using namespace fake;

extern "C" {

void fake_gpu(const char* name, int major, int minor, int count) {
    const Lock lock(state().mutex);
    state().name = name;
    state().major = major;
    state().minor = minor;
    state().count = count;
}

void fake_start(int result) {
    const Lock lock(state().mutex);
    state().start = result;
}

void fake_fail_at(std::int64_t call) {
    const Lock lock(state().mutex);
    state().calls = 0;
    state().fail_at = call;
    state().failed.clear();
    state().violations.clear();
}

std::int64_t fake_calls() {
    const Lock lock(state().mutex);
    return state().calls;
}

const char* fake_failed() { return state().failed.c_str(); }

std::int64_t fake_alive() {
    const Lock lock(state().mutex);
    return state().alive;
}

const char* fake_violations() { return state().violations.c_str(); }

bool fake_step(const char* function) {
    const Lock lock(state().mutex);
    if (++state().calls != state().fail_at) return false;
    state().failed = function;
    return true;
}

void fake_count(int change) {
    const Lock lock(state().mutex);
    state().alive += change;
}

void fake_violate(const char* what) {
    const Lock lock(state().mutex);
    state().violations += std::string(what) + "; ";
}

bool fake_is_memory(const void* address, std::size_t bytes) {
    const Lock lock(state().mutex);
    return region_of(reinterpret_cast<std::uintptr_t>(address), bytes) != nullptr;
}

void fake_enqueue(void* stream, void (*work)(void*), void* data) {
    const Lock lock(state().mutex);
    give(find(stream), [work, data] { work(data); });
}

void* fake_stream() {
    const Lock lock(state().mutex);
    auto stream = std::make_shared<Stream>();
    state().streams[stream.get()] = stream;
    return stream.get();
}

void* fake_foreign_stream() {
    const Lock lock(state().mutex);
    auto stream = std::make_shared<Stream>();
    stream->is_foreign = true;
    state().streams[stream.get()] = stream;
    return stream.get();
}

void fake_capture(void* stream, bool on) {
    const Lock lock(state().mutex);
    find(stream)->is_captured = on;
}
}
