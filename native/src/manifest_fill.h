// A manifest's structs from JSON that has been checked against its records.
#pragma once

#include "json.h"
#include "manifest.h"

namespace mahtrt {

ModelSpec spec_from(Json json);
EngineRecord engine_from(Json json);
GoldenImage golden_image_from(Json json);
Budgets budgets_from(Json json);

// What all of them use: a value, or what stands for one that is missing or null.
std::string text_from(Json json);
std::int64_t integer_from(Json json, std::int64_t other);
double number_from(Json json, double other);
std::vector<std::string> texts_from(Json json);

// A list of records, each by `from`.
template <class From>
auto list_from(Json json, From from) {
    std::vector<decltype(from(json))> list;
    list.reserve(json.size());
    for (const auto& item : json.items()) list.push_back(from(item.value));
    return list;
}

}  // namespace mahtrt
