#include "schema.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>

namespace mahtrt {

// Turns the texts into types; they are the library's own, and right.
class Schema::Parser {
  public:
    explicit Parser(Schema& schema) : schema_(schema) {}

    void read_fields(const char* text, std::vector<Field>& fields) {
        for (at_ = text; *at_ != 0; take(' ')) {
            Field field;
            field.name = word(":?");
            field.required = !take('?');
            take(':');
            field.type = read_type();
            fields.push_back(field);
        }
    }

  private:
    bool take(char wanted) noexcept {
        if (*at_ != wanted) return false;
        ++at_;
        return true;
    }

    std::string_view word(std::string_view ends) noexcept {
        const char* start = at_;
        while (*at_ != 0 && ends.find(*at_) == ends.npos) ++at_;
        return {start, static_cast<std::size_t>(at_ - start)};
    }

    double bound(std::string_view ends) { return nearest_double(std::string(word(ends)).c_str()); }

    std::size_t read_type() {
        Type type;
        if (take('['))
            read_list(type);
        else if (take('{'))
            type.kind = Kind::kTable, type.inner = read_type(), take('}');
        else if (take('<'))
            type.kind = Kind::kOneOf, type.choices = word(">"), take('>');
        else
            read_plain(type);
        type.nullable = take('?');
        schema_.types_.push_back(type);
        return schema_.types_.size() - 1;
    }

    void read_list(Type& type) {
        type.kind = Kind::kList;
        type.inner = read_type();
        if (take(';')) type.length = static_cast<std::size_t>(bound("]"));
        take(']');
    }

    void read_plain(Type& type) {
        const std::string_view name = word(" ?()];}");
        if (name == "text")
            type.kind = Kind::kText;
        else if (name == "flag")
            type.kind = Kind::kFlag;
        else if (name == "int")
            type.kind = Kind::kInteger;
        else if (name == "number")
            type.kind = Kind::kNumber;
        else if (name != "any")
            type.kind = Kind::kRecord, type.inner = schema_.record(name);
        if (!take('(')) return;
        type.bounded = true;
        type.least = bound(",");
        take(',');
        type.most = bound(")");
        take(')');
    }

    Schema& schema_;
    const char* at_ = "";
};

// Walks a value along its type. The path to a value is a chain on the stack, so that only an error
// costs a text.
class Schema::Checker {
  public:
    Checker(const Schema& schema, const std::string& subject, mahtrt_status status)
        : schema_(schema), subject_(subject), status_(status) {}

    struct Place {
        const Place* outer;
        std::string_view name;  // empty for an item of a list
        std::size_t number;
    };

    void check_record(Json value, const Record& record, const Place* at) const {
        if (value.kind() != JsonKind::kTable) refuse(at, value.shown(), "a table");
        std::uint64_t seen = 0;
        for (const auto& item : value.items()) {
            std::size_t number = 0;
            while (number < record.fields.size() && record.fields[number].name != item.name)
                ++number;
            if (number == record.fields.size())
                refuse(at, "unknown field " + quoted(std::string(item.name)),
                       "only fields of this version of the format");
            seen |= std::uint64_t{1} << number;
            const Place place{at, item.name, 0};
            check(item.value, schema_.types_[record.fields[number].type], &place);
        }
        for (std::size_t i = 0; i < record.fields.size(); ++i)
            if (record.fields[i].required && !(seen >> i & 1))
                refuse(at, "no field " + quoted(std::string(record.fields[i].name)), "it");
    }

  private:
    [[noreturn]] void refuse(const Place* at, const std::string& got,
                             const std::string& expected) const {
        std::string path;
        for (; at != nullptr; at = at->outer) {
            const bool dot = at->outer != nullptr && !at->name.empty();
            path = (at->name.empty() ? "[" + std::to_string(at->number) + "]"
                                     : (dot ? "." : "") + std::string(at->name)) +
                   path;
        }
        const std::string subject = path.empty() ? subject_ : subject_ + ": " + path;
        throw Error(status_, sentence(subject, got, expected));
    }

    void check(Json value, const Type& type, const Place* at) const {
        if (value.is_null() && type.nullable) return;
        switch (type.kind) {
            case Kind::kText:
                return expect(value, JsonKind::kText, "a text", at);
            case Kind::kFlag:
                return expect(value, JsonKind::kBoolean, "true or false", at);
            case Kind::kInteger:
                expect(value, JsonKind::kInteger, "an integer", at);
                return check_bounds(value, type, at);
            case Kind::kNumber:
                if (value.kind() != JsonKind::kInteger)
                    expect(value, JsonKind::kNumber, "a number", at);
                return check_bounds(value, type, at);
            case Kind::kOneOf:
                return check_choice(value, type, at);
            case Kind::kList:
                return check_list(value, type, at);
            case Kind::kTable:
                return check_table(value, type, at);
            case Kind::kRecord:
                return check_record(value, schema_.records_[type.inner], at);
            case Kind::kAny:
                return;
        }
    }

    void expect(Json value, JsonKind kind, const char* what, const Place* at) const {
        if (value.kind() != kind) refuse(at, value.shown(), what);
    }

    void check_bounds(Json value, const Type& type, const Place* at) const {
        if (!type.bounded) return;
        if (value.number() >= type.least && value.number() <= type.most) return;
        char text[80];
        std::snprintf(text, sizeof text, "a number from %g to %g", type.least, type.most);
        refuse(at, value.shown(), text);
    }

    void check_choice(Json value, const Type& type, const Place* at) const {
        expect(value, JsonKind::kText, "a text", at);
        for (std::size_t start = 0; start <= type.choices.size();) {
            const std::size_t bar = std::min(type.choices.find('|', start), type.choices.size());
            if (type.choices.substr(start, bar - start) == value.text()) return;
            start = bar + 1;
        }
        std::string choices;
        for (const char each : type.choices) choices += each == '|' ? ", " : std::string(1, each);
        refuse(at, value.shown(), "one of " + choices);
    }

    void check_list(Json value, const Type& type, const Place* at) const {
        expect(value, JsonKind::kList, "a list", at);
        if (type.length != 0 && value.size() != type.length)
            refuse(at, value.shown(), "a list of " + std::to_string(type.length));
        std::size_t number = 0;
        for (const auto& item : value.items()) {
            const Place place{at, {}, number++};
            check(item.value, schema_.types_[type.inner], &place);
        }
    }

    void check_table(Json value, const Type& type, const Place* at) const {
        expect(value, JsonKind::kTable, "a table", at);
        for (const auto& item : value.items()) {
            const Place place{at, item.name.empty() ? "\"\"" : item.name, 0};
            check(item.value, schema_.types_[type.inner], &place);
        }
    }

    const Schema& schema_;
    const std::string& subject_;
    mahtrt_status status_;
};

Schema::Schema(const RecordText* records, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) records_.push_back({records[i].name, {}});
    Parser parser(*this);
    for (std::size_t i = 0; i < count; ++i)
        parser.read_fields(records[i].fields, records_[i].fields);
}

std::size_t Schema::record(std::string_view name) const noexcept {
    std::size_t number = 0;
    while (number + 1 < records_.size() && records_[number].name != name) ++number;
    return number;
}

void Schema::check(Json value, std::string_view name, const std::string& subject,
                   mahtrt_status status) const {
    Checker(*this, subject, status).check_record(value, records_[record(name)], nullptr);
}

}  // namespace mahtrt
