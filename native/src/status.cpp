#include "status.h"

#include <cstdio>

namespace mahtrt {
namespace {

// A plain array: a thread that ends frees it without a destructor of ours.
thread_local char last_error[2048] = "";

}  // namespace

void remember_error(const char* text) noexcept {
    std::snprintf(last_error, sizeof last_error, "%s", text);
}

const char* remembered_error() noexcept { return last_error; }

}  // namespace mahtrt
