// The JSON reader: what it takes, every limit, and what it refuses.
#include <clocale>
#include <cmath>
#include <string>

#include "check.h"
#include "json.h"

using mahtrt::Json;
using mahtrt::JsonDocument;
using mahtrt::JsonKind;

namespace {

void check_read(const std::string& text) { JsonDocument(text, "text", MAHTRT_FAILED); }

double number_of(const std::string& text) {
    return JsonDocument(text, "text", MAHTRT_FAILED).root().number();
}

std::string text_of(const std::string& text) {
    const JsonDocument document(text, "text", MAHTRT_FAILED);
    return std::string(document.root().text());
}

std::string repeated(const std::string& text, std::size_t times) {
    std::string all;
    all.reserve(text.size() * times);
    for (std::size_t i = 0; i < times; ++i) all += text;
    return all;
}

void check_refused(const std::string& text, const std::string& part) {
    CHECK_REFUSED(JsonDocument(text, "text", MAHTRT_FAILED), MAHTRT_FAILED, part);
}

void check_values() {
    const std::string text =
        " {\"a\": [1, -2.5, true, false, null], \"b\": {\"\": \"x\"}, \"c\": []} \n";
    const JsonDocument document(text, "text", MAHTRT_FAILED);
    const Json root = document.root();
    CHECK_EQUAL(root.size(), std::size_t{3});
    CHECK_EQUAL(root["a"].size(), std::size_t{5});
    CHECK(root["b"][""].text() == "x");
    CHECK(root["d"].is_null() && root["a"]["b"].is_null() && root["d"]["e"].is_null());
    CHECK_EQUAL(root["c"].size(), std::size_t{0});
    std::string kinds;
    for (const auto& item : root["a"].items()) kinds += item.value.shown() + " ";
    CHECK_EQUAL(kinds, "1 -2.5 true false null ");
    for (const auto& item : root["c"].items()) CHECK(item.name == "never");
    CHECK_EQUAL(root.shown(), "a table of 3");
}

void check_numbers() {
    CHECK_EQUAL(number_of("0"), 0.0);
    CHECK_EQUAL(number_of("-9223372036854775808"), -9223372036854775808.0);
    CHECK_EQUAL(JsonDocument("9223372036854775807", "t", MAHTRT_FAILED).root().integer(),
                INT64_MAX);
    CHECK_EQUAL(JsonDocument("-9223372036854775808", "t", MAHTRT_FAILED).root().integer(),
                INT64_MIN);
    CHECK_EQUAL(number_of("0.1"), 0.1);
    CHECK_EQUAL(number_of("2.2250738585072014e-308"), 2.2250738585072014e-308);
    CHECK_EQUAL(number_of("5e-324"), 5e-324);
    CHECK_EQUAL(number_of("1e-400"), 0.0);
    CHECK(std::signbit(number_of("-0.0")));
    CHECK_EQUAL(number_of("1.7976931348623157E+308"), 1.7976931348623157e308);
    CHECK_EQUAL(number_of("9007199254740993.0"), 9007199254740992.0);  // a half, to even
    for (const char* each : {"01", "+1", "1.", ".5", "1e", "1e+", "-", "0x1", "1_0", "--1"})
        check_refused(each, "at byte");
    check_refused("1e999", "not finite");
    check_refused("NaN", "no value");
    check_refused("-Infinity", "a digit");
    check_refused("9223372036854775808", "64 bits");
    check_refused("-9223372036854775809", "64 bits");
}

void check_texts() {
    CHECK_EQUAL(text_of("\"a\\\"\\\\\\/b\""), "a\"\\/b");
    CHECK_EQUAL(text_of("\"\\u00e9\\u20AC\\ud83d\\ude00\""),
                "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
    CHECK_EQUAL(text_of("\"\xe2\x82\xac\""), "\xe2\x82\xac");
    CHECK_EQUAL(text_of("\"a\xe2\x80\x8d"
                        "b\""),
                "a\xe2\x80\x8d"
                "b");  // a joiner
    for (const char* each : {"\"\\u0000\"", "\"\\n\"", "\"a\nb\"", "\"\\u2028\"", "\"\\u202e\"",
                             "\"\\u200b\"", "\"\\udb40\\udc41\"", "\"\x7f\"", "\"\\ufeff\""})
        check_refused(each, "hidden character");
    for (const char* each : {"\"\\ud800\"", "\"\\udc00\"", "\"\\ud800\\u0041\"", "\"\\ud800\\n\""})
        check_refused(each, "half a character");
    for (const char* each : {"\"\xff\"", "\"\xc0\x80\"", "\"\xe2\x82\"", "\"\xed\xa0\x80\"",
                             "\"\xf4\x90\x80\x80\"", "\"\x80\""})
        check_refused(each, "UTF-8");
    for (const char* each : {"\"\\x41\"", "\"\\u12g4\"", "\"\\", "\"\\u12"})
        check_refused(each, "escape");
    check_refused("\"abc", "without an end");
}

void check_forms() {
    check_refused("", "an end where");
    check_refused("\xef\xbb\xbf{}", "no value");
    check_refused("{} {}", "behind the end");
    for (const char* each : {"[1,]", "[1 2]", "{\"a\":1,}", "{\"a\" 1}", "{a:1}", "[", "{",
                             "{\"a\":", "tru", "nul", "'a'", "[1}", "// x\n1"})
        check_refused(each, "at byte");
    check_refused("{\"a\": 1, \"b\": 2, \"\\u0061\": 3}", "field \"a\" twice");
}

void check_limits() {
    check_read(std::string(std::size_t{16} << 20, ' ').replace(0, 1, "1"));
    check_refused(std::string((std::size_t{16} << 20) + 1, ' '), "16777217 bytes");
    check_read(std::string(64, '[') + std::string(64, ']'));
    check_refused(std::string(65, '[') + std::string(65, ']'), "within each other");
    check_refused(repeated("{\"a\":", 65), "within each other");
    check_read("0." + std::string(62, '1'));
    check_refused("0." + std::string(63, '1'), "65 characters");
    check_read("\"" + std::string(65536, 'x') + "\"");
    check_read("\"" + repeated("\xe2\x82\xac", 65536) + "\"");
    check_refused("\"" + std::string(65537, 'x') + "\"", "65536 characters");
    check_read("[" + repeated("0,", 999999) + "0]");
    check_refused("[" + repeated("0,", 1000000) + "0]", "1000000 items");
    const std::string list = "[" + repeated("0,", 999999) + "0]";
    const std::string five = "[" + repeated(list + ",", 4) + list + "]";
    check_refused(five, "5000000 values");
}

}  // namespace

int main() {
    if (std::setlocale(LC_ALL, "de_DE.UTF-8") != nullptr) std::puts("with a comma for numbers");
    check_values();
    check_texts();
    check_forms();
    check_limits();
    check_numbers();
    return 0;
}
