#include "error.h"

#include <cstddef>
#include <cstdio>

#include "utf8.h"

namespace mahtrt {
namespace {

constexpr std::size_t kLongest = 200;  // bytes of a quoted text

void append_escaped(std::string& text, char byte) {
    char escaped[8];
    std::snprintf(escaped, sizeof escaped, "\\x%02x", static_cast<unsigned char>(byte) + 0u);
    text += escaped;
}

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

// Messages are UTF-8, and nothing in them acts on a terminal, whatever a name is made of.
std::string quoted(const std::string& text) {
    std::string shown = "\"";
    const char *at = text.data(), *end = at + text.size();
    while (at != end && static_cast<std::size_t>(at - text.data()) < kLongest) {
        const Utf8Character found = read_utf8(at, end);
        const std::size_t bytes = found.bytes == 0 ? 1 : found.bytes;
        if (found.bytes != 0 && !is_hidden(found.code))
            shown.append(at, bytes);
        else
            for (std::size_t i = 0; i < bytes; ++i) append_escaped(shown, at[i]);
        at += bytes;
    }
    return shown + (at != end ? "...\"" : "\"");
}

}  // namespace mahtrt
