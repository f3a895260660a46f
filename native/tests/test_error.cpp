#include "check.h"
#include "error.h"

using mahtrt::quoted;
using mahtrt::sentence;

int main() {
    CHECK_EQUAL(sentence("image", "a", "b", "Do c."), "image: got a, expected b. Do c.");
    CHECK_EQUAL(sentence("image", "", "b"), "image: expected b.");
    CHECK_EQUAL(sentence("image", "a", ""), "image: got a.");
    CHECK_EQUAL(quoted("a\nb"), "\"a\\x0ab\"");
    CHECK_EQUAL(quoted(std::string(300, 'x')).size(), std::size_t{205});
    return 0;
}
