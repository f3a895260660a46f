#include "check.h"
#include "error.h"
#include "status.h"

using mahtrt::quoted;
using mahtrt::sentence;

namespace {

std::string remembered(const std::string& text) {
    mahtrt::remember_error(text.c_str());
    return mahtrt::remembered_error();
}

}  // namespace

int main() {
    CHECK_EQUAL(sentence("image", "a", "b", "Do c."), "image: got a, expected b. Do c.");
    CHECK_EQUAL(sentence("image", "", "b"), "image: expected b.");
    CHECK_EQUAL(sentence("image", "a", ""), "image: got a.");
    CHECK_EQUAL(quoted("a\nb"), "\"a\\x0ab\"");
    CHECK_EQUAL(quoted("\xc3\xa4 \xff\xe2\x82"), "\"\xc3\xa4 \\xff\\xe2\\x82\"");  // no UTF-8
    CHECK_EQUAL(quoted("a\xe2\x80\xae"), "\"a\\xe2\\x80\\xae\"");  // turns the direction
    CHECK_EQUAL(quoted(std::string(199, 'x') + "\xc3\xa4").size(), std::size_t{203});
    CHECK_EQUAL(quoted(std::string(300, 'x')).size(), std::size_t{205});
    CHECK_EQUAL(remembered("a \xc3\xa4 \xff.so\n"), "a \xc3\xa4 \\xff.so\\x0a");
    std::string umlauts;
    while (umlauts.size() < 5000) umlauts += "\xc3\xa4";
    CHECK_EQUAL(remembered(umlauts), umlauts.substr(0, 2046));  // no half of a character
    CHECK_EQUAL(remembered(std::string(5000, '\xff')).size(), std::size_t{2044});
    CHECK_EQUAL(remembered(""), "");
    return 0;
}
