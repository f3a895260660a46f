#include "json.h"

#include <locale.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "utf8.h"

namespace mahtrt {
namespace {

using Node = Json::Node;

const Node kNothing{};

// What is wrong with a text, and where; JsonDocument makes the Error of it.
struct Wrong {
    std::string what;
    std::size_t at;
};

bool is_digit(char each) noexcept { return each >= '0' && each <= '9'; }

class Reader {
  public:
    Reader(std::string_view text, std::vector<Node>& nodes, std::string& unescaped)
        : begin_(text.data()),
          at_(begin_),
          end_(begin_ + text.size()),
          nodes_(nodes),
          unescaped_(unescaped) {}

    void read() {
        if (static_cast<std::size_t>(end_ - begin_) > kMostJsonBytes)
            refuse(std::to_string(end_ - begin_) + " bytes, of at most " +
                   std::to_string(kMostJsonBytes));
        skip_space();
        read_value(0);
        skip_space();
        if (at_ != end_) refuse("something behind the end");
    }

  private:
    [[noreturn]] void refuse(const std::string& what) const {
        throw Wrong{what, static_cast<std::size_t>(at_ - begin_)};
    }

    void skip_space() noexcept {
        while (at_ != end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) ++at_;
    }

    bool take(char wanted) noexcept {
        if (at_ == end_ || *at_ != wanted) return false;
        ++at_;
        return true;
    }

    bool take_word(std::string_view word) noexcept {
        if (static_cast<std::size_t>(end_ - at_) < word.size()) return false;
        if (std::memcmp(at_, word.data(), word.size()) != 0) return false;
        at_ += word.size();
        return true;
    }

    std::size_t add(JsonKind kind) {
        if (nodes_.size() - names_ >= kMostJsonValues)
            refuse("more than " + std::to_string(kMostJsonValues) + " values");
        nodes_.emplace_back();
        nodes_.back().kind = kind;
        return nodes_.size() - 1;
    }

    void read_value(std::size_t depth) {
        if (at_ == end_) refuse("an end where a value should be");
        if (*at_ == '{' || *at_ == '[') return read_container(depth + 1);
        if (*at_ == '"') return read_text(add(JsonKind::kText));
        if (*at_ == '-' || is_digit(*at_)) return read_number();
        if (take_word("null")) return void(add(JsonKind::kNull));
        if (take_word("true"))
            nodes_[add(JsonKind::kBoolean)].integer = 1;
        else if (take_word("false"))
            nodes_[add(JsonKind::kBoolean)].integer = 0;
        else
            refuse("no value that JSON has");
    }

    void read_container(std::size_t depth) {
        if (depth > kMostJsonDepth)
            refuse("more than " + std::to_string(kMostJsonDepth) +
                   " tables and lists within each other");
        const bool table = *at_++ == '{';
        const char close = table ? '}' : ']';
        const std::size_t node = add(table ? JsonKind::kTable : JsonKind::kList);
        std::size_t items = 0;
        skip_space();
        if (!take(close)) {
            do {
                if (++items > kMostItems)
                    refuse("more than " + std::to_string(kMostItems) + " items");
                skip_space();
                if (table) read_name();
                read_value(depth);
                skip_space();
            } while (take(','));
            if (!take(close)) refuse(std::string("no ',' or '") + close + "'");
        }
        nodes_[node].count = static_cast<std::uint32_t>(items);
        nodes_[node].next = static_cast<std::uint32_t>(nodes_.size() - node);
        if (table) refuse_repeated(nodes_[node]);
    }

    void read_name() {
        if (at_ == end_ || *at_ != '"') refuse("no name of a field");
        const std::size_t node = add(JsonKind::kText);
        ++names_;
        read_text(node);
        skip_space();
        if (!take(':')) refuse("no ':'");
        skip_space();
    }

    void refuse_repeated(const Node& table) {
        std::vector<std::string_view> names;
        names.reserve(table.count);
        for (const auto& item : Json(&table).items()) names.push_back(item.name);
        std::sort(names.begin(), names.end());
        const auto twice = std::adjacent_find(names.begin(), names.end());
        if (twice != names.end()) refuse("field " + quoted(std::string(*twice)) + " twice");
    }

    void read_text(std::size_t node) {
        const char* start = ++at_;
        std::size_t kept_from = std::string::npos;  // in unescaped_, once there was an escape
        for (std::size_t characters = 0;; ++characters) {
            if (at_ == end_) refuse("a text without an end");
            if (*at_ == '"') break;
            if (characters == kMostTextCharacters)
                refuse("a text of more than " + std::to_string(kMostTextCharacters) +
                       " characters");
            if (*at_ == '\\' && kept_from == std::string::npos) {
                if (unescaped_.capacity() < static_cast<std::size_t>(end_ - begin_))
                    unescaped_.reserve(static_cast<std::size_t>(end_ - begin_));
                kept_from = unescaped_.size();
                unescaped_.append(start, at_);
            }
            read_character(kept_from != std::string::npos);
        }
        const bool kept = kept_from != std::string::npos;
        const std::size_t bytes =
            kept ? unescaped_.size() - kept_from : static_cast<std::size_t>(at_ - start);
        nodes_[node].text = kept ? unescaped_.data() + kept_from : start;
        nodes_[node].count = static_cast<std::uint32_t>(bytes);
        ++at_;
    }

    void read_character(bool keep) {
        std::uint32_t code = static_cast<unsigned char>(*at_);
        if (code == '\\') {
            code = read_escape();
        } else if (code >= 0x20 && code < 0x7f) {  // nearly all
            ++at_;
            if (keep) unescaped_ += static_cast<char>(code);
            return;
        } else {
            const Utf8Character found = read_utf8(at_, end_);
            if (found.bytes == 0) refuse("bytes that are not UTF-8");
            code = found.code;
            at_ += found.bytes;
        }
        if (is_hidden(code)) refuse("a hidden character in a text");
        if (keep) append_utf8(unescaped_, code);
    }

    std::uint32_t read_escape() {
        static constexpr std::string_view kNames = "\"\\/bfnrt", kValues = "\"\\/\b\f\n\r\t";
        ++at_;
        if (take('u')) return read_code();
        const std::size_t which = at_ == end_ ? kNames.npos : kNames.find(*at_);
        if (which == kNames.npos) refuse("an unknown escape in a text");
        ++at_;
        return static_cast<unsigned char>(kValues[which]);
    }

    std::uint32_t read_code() {
        const std::uint32_t first = read_four();
        if (first < 0xd800 || first > 0xdfff) return first;
        if (first > 0xdbff || !take_word("\\u")) refuse("half a character");
        const std::uint32_t second = read_four();
        if (second < 0xdc00 || second > 0xdfff) refuse("half a character");
        return 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
    }

    std::uint32_t read_four() {
        std::uint32_t code = 0;
        for (int i = 0; i < 4; ++i) {
            const char each = at_ == end_ ? '"' : *at_;
            const char lower = static_cast<char>(each | 0x20);
            if (is_digit(each))
                code = code * 16 + static_cast<std::uint32_t>(each - '0');
            else if (lower >= 'a' && lower <= 'f')
                code = code * 16 + 10 + static_cast<std::uint32_t>(lower - 'a');
            else
                refuse("an unknown escape in a text");
            ++at_;
        }
        return code;
    }

    void take_digits() {
        if (at_ == end_ || !is_digit(*at_)) refuse("a number without a digit");
        while (at_ != end_ && is_digit(*at_)) ++at_;
    }

    void read_number() {
        const char* start = at_;
        take('-');
        if (!take('0')) take_digits();
        bool whole = true;
        if (take('.')) whole = false, take_digits();
        if (take('e') || take('E')) {
            whole = false;
            if (!take('+')) take('-');
            take_digits();
        }
        const auto characters = static_cast<std::size_t>(at_ - start);
        if (characters > kMostNumberCharacters)
            refuse("a number of " + std::to_string(characters) + " characters, of at most " +
                   std::to_string(kMostNumberCharacters));
        char digits[kMostNumberCharacters + 1] = {};
        std::memcpy(digits, start, characters);
        whole ? read_integer(digits) : read_double(digits);
    }

    void read_integer(const char* digits) {
        const bool negative = *digits == '-';
        const std::uint64_t most = (std::uint64_t{1} << 63) - (negative ? 0 : 1);
        std::uint64_t value = 0;
        for (const char* each = digits + (negative ? 1 : 0); *each != 0; ++each) {
            const auto digit = static_cast<std::uint64_t>(*each - '0');
            if (value > (most - digit) / 10) refuse("an integer of more than 64 bits");
            value = value * 10 + digit;
        }
        const std::uint64_t bits = negative ? ~value + 1 : value;  // two's complement
        std::memcpy(&nodes_[add(JsonKind::kInteger)].integer, &bits, sizeof bits);
    }

    void read_double(const char* digits) {
        const double value = nearest_double(digits);
        if (!std::isfinite(value)) refuse("a number that is not finite");
        nodes_[add(JsonKind::kNumber)].number = value;
    }

    const char *begin_, *at_, *end_;
    std::vector<Node>& nodes_;
    std::string& unescaped_;
    std::size_t names_ = 0;
};

}  // namespace

// std::from_chars for double is missing in several standard libraries that are in use.
double nearest_double(const char* digits) noexcept {
    static const locale_t plain = newlocale(LC_ALL_MASK, "C", nullptr);
    return strtod_l(digits, nullptr, plain);
}

Json::Json() noexcept : node_(&kNothing) {}

std::size_t Json::size() const noexcept {
    return kind() == JsonKind::kList || kind() == JsonKind::kTable ? node_->count : 0;
}

JsonItems Json::items() const noexcept {
    const Node* end = size() > 0 ? node_ + node_->next : node_ + 1;
    return {node_ + 1, end, kind() == JsonKind::kTable};
}

Json Json::operator[](std::string_view field) const noexcept {
    if (kind() == JsonKind::kTable)
        for (const auto& item : items())
            if (item.name == field) return item.value;
    return Json();
}

std::string Json::shown() const {
    switch (kind()) {
        case JsonKind::kNull:
            return "null";
        case JsonKind::kBoolean:
            return boolean() ? "true" : "false";
        case JsonKind::kInteger:
            return std::to_string(integer());
        case JsonKind::kText:
            return quoted(std::string(text()));
        case JsonKind::kList:
            return "a list of " + std::to_string(size());
        case JsonKind::kTable:
            return "a table of " + std::to_string(size());
        case JsonKind::kNumber:
            break;
    }
    char digits[32];
    std::snprintf(digits, sizeof digits, "%.17g", number());
    return digits;
}

JsonItems::Item JsonItems::Iterator::operator*() const noexcept {
    if (!named_) return {{}, Json(at_)};
    return {Json(at_).text(), Json(at_ + 1)};
}

JsonItems::Iterator& JsonItems::Iterator::operator++() noexcept {
    if (named_) ++at_;
    at_ += at_->next;
    return *this;
}

JsonDocument::JsonDocument(std::string_view text, const std::string& subject,
                           mahtrt_status status) {
    try {
        Reader(text, nodes_, unescaped_).read();
    } catch (const Wrong& wrong) {
        throw Error(status, sentence(subject, wrong.what + " at byte " + std::to_string(wrong.at),
                                     "JSON within the limits of the format"));
    }
}

}  // namespace mahtrt
