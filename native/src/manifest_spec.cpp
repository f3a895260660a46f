// The spec of a manifest. Its enums have the order of the names that its records allow.
#include <algorithm>
#include <initializer_list>

#include "manifest_fill.h"

namespace mahtrt {
namespace {

// The number of the text among `names`, as an enum; `other` where the field is missing.
template <class Enum>
Enum choice(Json json, std::initializer_list<std::string_view> names, Enum other) {
    if (json.is_null()) return other;
    const auto found = std::find(names.begin(), names.end(), json.text());
    return static_cast<Enum>(found - names.begin());
}

Size size_from(Json json) {
    Size size;
    std::int32_t* sides[] = {&size.height, &size.width};
    std::size_t number = 0;
    for (const auto& item : json.items())
        *sides[number++] = static_cast<std::int32_t>(item.value.integer());
    return size;
}

std::array<double, 3> channels_from(Json json, double other, std::int32_t channels) {
    std::array<double, 3> values{other, other, other};
    const std::size_t given = json.is_null() ? values.size() : json.size();
    if (given != static_cast<std::size_t>(channels))
        throw Error(MAHTRT_INTEGRITY,
                    sentence("spec: inputs: mean or std", std::to_string(given) + " values",
                             "one per channel, " + std::to_string(channels)));
    std::size_t number = 0;
    for (const auto& item : json.items()) values[number++] = item.value.number();
    return values;
}

InputSpec input_from(Json json) {
    InputSpec input;
    input.name = json["name"].is_null() ? "image" : text_from(json["name"]);
    input.size = size_from(json["size"]);
    const std::int64_t channels = integer_from(json["channels"], 3);
    if (channels != 1 && channels != 3)
        throw Error(MAHTRT_INTEGRITY,
                    sentence("spec: inputs: channels", std::to_string(channels), "1 or 3"));
    input.channels = static_cast<std::int32_t>(channels);
    const Json order = json["color_order"];
    const bool gray = !order.is_null() && order.text() == "gray";
    if (gray != (channels == 1))
        throw Error(MAHTRT_INTEGRITY,
                    sentence("spec: inputs: color_order", order.shown(),
                             "an order for " + std::to_string(channels) + " channel(s)"));
    if (!gray) input.color_order = choice(order, {"rgb", "bgr"}, ColorOrder::kRgb);
    input.mean = channels_from(json["mean"], 0.5, input.channels);
    input.std = channels_from(json["std"], 0.25, input.channels);
    input.resize =
        choice(json["resize"], {"letterbox", "stretch", "center_crop"}, Resize::kLetterbox);
    input.interpolation = choice(json["interpolation"],
                                 {"area", "linear", "cubic", "nearest", "nearest_floor",
                                  "antialiased_linear", "antialiased_cubic"},
                                 Interpolation::kArea);
    input.pad_value = number_from(json["pad_value"], 0);
    if (!(input.pad_value >= 0 && input.pad_value <= 1))
        throw Error(MAHTRT_INTEGRITY, sentence("spec: inputs: pad_value", json["pad_value"].shown(),
                                               "an intensity from 0 to 1"));
    return input;
}

OutputSpec output_from(Json json) {
    OutputSpec output;
    output.name = text_from(json["name"]);
    output.kind =
        choice(json["kind"],
               {"heatmaps", "landmarks", "confidence", "spread", "map", "logits", "visibility"},
               OutputKind::kHeatmaps);
    output.frame =
        choice(json["frame"], {"none", "network", "heatmap", "normalized"}, Frame::kNone);
    output.labels = texts_from(json["labels"]);
    output.threshold = number_from(json["threshold"], 0.5);
    return output;
}

DecodeSpec decode_from(Json json) {
    DecodeSpec decode;
    decode.method = choice(json["method"], {"soft_argmax", "dark", "regression", "none"},
                           DecodeMethod::kSoftArgmax);
    decode.temperature = number_from(json["temperature"], 0.05);
    decode.sigma = number_from(json["sigma"], 2);
    if (!json["heatmap_size"].is_null()) decode.heatmap_size = size_from(json["heatmap_size"]);
    return decode;
}

}  // namespace

ModelSpec spec_from(Json json) {
    ModelSpec spec;
    spec.family = text_from(json["family"]);
    spec.inputs = list_from(json["inputs"], input_from);
    if (!json["input"].is_null()) spec.inputs.push_back(input_from(json["input"]));
    spec.outputs = list_from(json["outputs"], output_from);
    spec.landmarks = texts_from(json["landmarks"]);
    spec.decode = decode_from(json["decode"]);
    return spec;
}

}  // namespace mahtrt
