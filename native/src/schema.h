// What JSON has to look like, as a table of records: names, types and bounds of fields.
//
// A record is its name and its fields, "name:type" with a space between them. "name?:type" may be
// missing. Types, each of which takes a "?" behind it where null is allowed:
//
//     text  flag  int  number  any   a text, a boolean, 64 bits, a double (or an integer), any
//     value int(0,64)  number(0,1)         within bounds that belong to the range <gray|rgb> one of
//     these texts [type]  [type;2]  {type}       a list, a list of exactly 2, a table with free
//     names Name                           another record
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "json.h"

namespace mahtrt {

struct RecordText {
    const char* name;
    const char* fields;
};

class Schema {
  public:
    template <std::size_t N>
    explicit Schema(const RecordText (&records)[N]) : Schema(records, N) {}

    // Throws Error with `status`, which names the field by its path ("engines[0].device.name"),
    // unless `value` is such a record: every field is there, none is unknown, types are right.
    void check(Json value, std::string_view record, const std::string& subject,
               mahtrt_status status) const;

  private:
    enum class Kind { kText, kFlag, kInteger, kNumber, kAny, kOneOf, kList, kTable, kRecord };
    struct Type {
        Kind kind = Kind::kAny;
        bool nullable = false, bounded = false;
        double least = 0, most = 0;
        std::size_t inner = 0;     // of types_ (items), or of records_
        std::size_t length = 0;    // of a list, 0 for any
        std::string_view choices;  // "gray|rgb"
    };
    struct Field {
        std::string_view name;
        std::size_t type = 0;
        bool required = true;
    };
    struct Record {
        std::string_view name;
        std::vector<Field> fields;
    };
    class Parser;
    class Checker;

    Schema(const RecordText* records, std::size_t count);
    std::size_t record(std::string_view name) const noexcept;

    std::vector<Record> records_;
    std::vector<Type> types_;
};

}  // namespace mahtrt
