#include "status.h"

#include "utf8.h"

namespace mahtrt {
namespace {

// A plain array: a thread that ends frees it without a destructor of ours.
thread_local char last_error[2048] = "";

}  // namespace

// As much of the text as there is room for, in whole characters. A name in a message of the loader
// or of a runtime may be made of anything: \xNN stands for what is no UTF-8 or cannot be seen.
void remember_error(const char* text) noexcept {
    constexpr char kDigits[] = "0123456789abcdef";
    const char* const end = text + std::strlen(text);
    std::size_t used = 0;
    while (text != end) {
        const Utf8Character found = read_utf8(text, end);
        const bool shown = found.bytes != 0 && !is_hidden(found.code);
        const auto byte = static_cast<unsigned char>(*text);
        const char escaped[] = {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
        const std::size_t bytes = shown ? found.bytes : sizeof escaped;
        if (used + bytes >= sizeof last_error) break;
        std::memcpy(last_error + used, shown ? text : escaped, bytes);
        used += bytes;
        text += shown ? bytes : 1;
    }
    last_error[used] = '\0';
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
           std::to_string(least) + " to " + std::to_string(kMostStruct),
           "Call its _init function first, or give its sizeof where it has none.");
}

}  // namespace mahtrt
