#include "error.h"

#include <cstddef>
#include <cstdio>

namespace mahtrt {
namespace {

constexpr std::size_t kLongest = 200;  // bytes of a quoted text

}  // namespace

std::string sentence(const std::string& subject, const std::string& got,
                     const std::string& expected, const std::string& fix) {
    std::string text = subject;
    std::string separator = ": ";
    if (!got.empty()) {
        text += separator + "got " + got;
        separator = ", ";
    }
    if (!expected.empty()) text += separator + "expected " + expected;
    text += ".";
    if (!fix.empty()) text += " " + fix;
    return text;
}

std::string quoted(const std::string& text) {
    std::string shown = "\"";
    for (const char each : text.substr(0, kLongest)) {
        const auto byte = static_cast<unsigned char>(each);
        if (byte < 0x20 || byte == 0x7f) {
            char escaped[8];
            std::snprintf(escaped, sizeof escaped, "\\x%02x", static_cast<unsigned>(byte));
            shown += escaped;
        } else {
            shown += each;
        }
    }
    return shown + (text.size() > kLongest ? "...\"" : "\"");
}

}  // namespace mahtrt
