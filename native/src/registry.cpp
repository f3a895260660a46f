#include "registry.h"

#include <mutex>
#include <utility>

#include "status.h"

namespace mahtrt {
namespace {

std::uintptr_t number_of(const mahtrt_session* handle) {
    return reinterpret_cast<std::uintptr_t>(handle);
}

[[noreturn]] void refuse_handle(const mahtrt_session* handle) {
    refuse("session", handle == nullptr ? "NULL" : "one that is closed or never was one",
           "an open session", "Open the bundle again with mahtrt_open.");
}

}  // namespace

Registry& Registry::get() {
    static Registry& registry = *new Registry;
    return registry;
}

mahtrt_session* Registry::add(std::shared_ptr<Session> session) {
    const std::unique_lock<std::shared_mutex> lock(mutex_);
    const std::uintptr_t number = next_++;
    sessions_.emplace(number, std::move(session));
    return reinterpret_cast<mahtrt_session*>(number);
}

std::shared_ptr<Session> Registry::find(const mahtrt_session* handle) const noexcept {
    const std::shared_lock<std::shared_mutex> lock(mutex_);
    const auto found = sessions_.find(number_of(handle));
    return found == sessions_.end() ? nullptr : found->second;
}

std::shared_ptr<Session> Registry::need(const mahtrt_session* handle) const {
    std::shared_ptr<Session> session = find(handle);
    if (session == nullptr) refuse_handle(handle);
    return session;
}

void Registry::remove(const mahtrt_session* handle) {
    std::shared_ptr<Session> last;  // closed behind the lock, which may take a while
    const std::unique_lock<std::shared_mutex> lock(mutex_);
    const auto found = sessions_.find(number_of(handle));
    if (found == sessions_.end()) refuse_handle(handle);
    last = std::move(found->second);
    sessions_.erase(found);
}

}  // namespace mahtrt
