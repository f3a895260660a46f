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

mahtrt_status status_of_exception() noexcept {
    try {
        throw;
    } catch (const Error& error) {
        remember_error(error.what());
        return error.status();
    } catch (const std::bad_alloc&) {
        remember_error("memory: there is not enough left for this call.");
        return MAHTRT_OUT_OF_MEMORY;
    } catch (const std::exception& error) {
        remember_error(error.what());
    } catch (...) {
        remember_error("an error without a text, inside of the library.");
    }
    return MAHTRT_FAILED;
}

void refuse(const std::string& subject, const std::string& got, const std::string& expected,
            const std::string& fix) {
    throw Error(MAHTRT_USAGE, sentence(subject, got, expected, fix));
}

void refuse_null(const char* name) { refuse(name, "NULL", "an address"); }

void refuse_size(const char* name, std::size_t size, std::size_t least) {
    refuse(name, "a size of " + std::to_string(size) + " bytes",
           "at least " + std::to_string(least), "Call its _init function first.");
}

}  // namespace mahtrt
