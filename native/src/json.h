// JSON as docs/bundle-format.md ("Conventions") allows it, read within limits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "error.h"

namespace mahtrt {

// Limits of a text; what is over one is refused before it is kept.
constexpr std::size_t kMostJsonBytes = std::size_t{16} << 20;
constexpr std::size_t kMostJsonValues = 5000000;
constexpr std::size_t kMostJsonDepth = 64;  // tables and lists within each other
constexpr std::size_t kMostNumberCharacters = 64;
constexpr std::size_t kMostTextCharacters = 65536;
constexpr std::size_t kMostItems = 1000000;  // of one list or table

enum class JsonKind : std::uint8_t { kNull, kBoolean, kInteger, kNumber, kText, kList, kTable };

class JsonItems;

// The double that is nearest to a number's digits, in any locale of the process.
double nearest_double(const char* digits) noexcept;

// A value of a document, which has to outlive it. A field that is not there reads as null.
class Json {
  public:
    // The values of a document in the order of the text, each before what it holds. A table holds
    // names (texts) and values in turn.
    struct Node {
        JsonKind kind = JsonKind::kNull;
        std::uint32_t next = 1;   // how many nodes this one and what it holds take
        std::uint32_t count = 0;  // items of a list or table, bytes of a text
        union {
            std::int64_t integer = 0;
            double number;
            const char* text;
        };
    };

    Json() noexcept;  // null
    explicit Json(const Node* node) noexcept : node_(node) {}

    JsonKind kind() const noexcept { return node_->kind; }
    bool is_null() const noexcept { return kind() == JsonKind::kNull; }

    // Each needs its kind; `number` takes an integer as well.
    bool boolean() const noexcept { return node_->integer != 0; }
    std::int64_t integer() const noexcept { return node_->integer; }
    double number() const noexcept {
        if (kind() == JsonKind::kInteger) return static_cast<double>(node_->integer);
        return node_->number;
    }
    std::string_view text() const noexcept { return {node_->text, node_->count}; }

    // Items of a list, or fields of a table; nothing for other kinds.
    std::size_t size() const noexcept;
    JsonItems items() const noexcept;
    Json operator[](std::string_view field) const noexcept;

    // The value for a message: "the text \"x\"", "the number 3", "a list of 2".
    std::string shown() const;

  private:
    const Node* node_;
};

// For range-based for: `name` is empty in a list.
class JsonItems {
  public:
    struct Item {
        std::string_view name;
        Json value;
    };
    class Iterator {
      public:
        Iterator(const Json::Node* at, bool named) noexcept : at_(at), named_(named) {}
        Item operator*() const noexcept;
        Iterator& operator++() noexcept;
        bool operator!=(const Iterator& other) const noexcept { return at_ != other.at_; }

      private:
        const Json::Node* at_;
        bool named_;
    };

    JsonItems(const Json::Node* first, const Json::Node* end, bool named) noexcept
        : first_(first), end_(end), named_(named) {}
    Iterator begin() const noexcept { return {first_, named_}; }
    Iterator end() const noexcept { return {end_, named_}; }

  private:
    const Json::Node *first_, *end_;
    bool named_;
};

class JsonDocument {
  public:
    // Reads a text, which has to outlive the document.
    // subject: what the text is, for messages. status: of the Error for a text that is refused.
    JsonDocument(std::string_view text, const std::string& subject, mahtrt_status status);
    JsonDocument(const JsonDocument&) = delete;
    JsonDocument& operator=(const JsonDocument&) = delete;

    Json root() const noexcept { return Json(nodes_.data()); }

  private:
    std::vector<Json::Node> nodes_;
    std::string unescaped_;  // texts that have escapes; reserved once, so that they never move
};

}  // namespace mahtrt
