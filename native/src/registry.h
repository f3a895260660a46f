// Handles of sessions. A handle is a number that is never used again, not an address: one that is
// closed already, or never was one, is found out without looking at memory.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <shared_mutex>

#include "mahtrt.h"
#include "session.h"

namespace mahtrt {

class Registry {
  public:
    // The one of the process. Never destroyed: threads may still call while the process ends.
    static Registry& get();

    mahtrt_session* add(std::shared_ptr<Session> session);

    // nullptr where the handle is of no open session.
    std::shared_ptr<Session> find(const mahtrt_session* handle) const noexcept;

    // Throws Error MAHTRT_USAGE where find() gives none.
    std::shared_ptr<Session> need(const mahtrt_session* handle) const;

    // Throws Error MAHTRT_USAGE where it is not open.
    void remove(const mahtrt_session* handle);

  private:
    mutable std::shared_mutex mutex_;
    std::map<std::uintptr_t, std::shared_ptr<Session>> sessions_;
    std::uintptr_t next_ = 1;
};

}  // namespace mahtrt
