#include "manifest_fill.h"

#include <limits>

namespace mahtrt {
namespace {

constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

std::optional<double> optional_number(Json json) {
    if (json.is_null()) return std::nullopt;
    return json.number();
}

std::optional<std::int64_t> optional_integer(Json json) {
    if (json.is_null()) return std::nullopt;
    return json.integer();
}

std::map<std::string, std::string> table_from(Json json) {
    std::map<std::string, std::string> table;
    for (const auto& item : json.items()) table[std::string(item.name)] = text_from(item.value);
    return table;
}

std::vector<std::int64_t> shape_from(Json json) {
    return list_from(json, [](Json each) { return each.integer(); });
}

DeviceRecord device_from(Json json) {
    DeviceRecord device;
    device.name = text_from(json["name"]);
    device.platform = text_from(json["platform"]);
    device.inference_precision = text_from(json["inference_precision"]);
    device.capabilities = texts_from(json["capabilities"]);
    device.threads = optional_integer(json["threads"]);
    device.cores = optional_integer(json["cores"]);
    device.settings = table_from(json["settings"]);
    return device;
}

LandmarkAccuracy landmark_from(Json json) {
    return {text_from(json["name"]), number_from(json["mean_px"], kUnknown),
            number_from(json["max_px"], kUnknown), number_from(json["usual_spread_px"], kUnknown)};
}

MapAccuracy map_from(Json json) {
    return {text_from(json["name"]), number_from(json["mean"], kUnknown),
            number_from(json["max"], kUnknown), json["ssim"].number()};
}

DecisionAccuracy decisions_from(Json json) {
    return {text_from(json["name"]), number_from(json["max"], kUnknown),
            json["agreement"].number()};
}

std::optional<AccuracyRecord> accuracy_from(Json json) {
    if (json.is_null()) return std::nullopt;
    AccuracyRecord accuracy;
    accuracy.mean_px = number_from(json["mean_px"], kUnknown);
    accuracy.max_px = number_from(json["max_px"], kUnknown);
    accuracy.worst_landmark_mean_px = number_from(json["worst_landmark_mean_px"], kUnknown);
    accuracy.mean_mm = number_from(json["mean_mm"], kUnknown);
    accuracy.p99_px = number_from(json["p99_px"], kUnknown);
    accuracy.per_landmark = list_from(json["per_landmark"], landmark_from);
    accuracy.maps = list_from(json["maps"], map_from);
    accuracy.logits = list_from(json["logits"], decisions_from);
    accuracy.visibility = list_from(json["visibility"], decisions_from);
    return accuracy;
}

GoldenPicture picture_from(Json json) {
    return {text_from(json["image"]), shape_from(json["shape"]), json["dtype"].text() == "uint16"};
}

GoldenOutput golden_output_from(Json json) {
    return {text_from(json["name"]), text_from(json["file"]), shape_from(json["shape"]),
            integer_from(json["step"], 1)};
}

}  // namespace

std::string text_from(Json json) {
    return json.is_null() ? std::string() : std::string(json.text());
}

std::int64_t integer_from(Json json, std::int64_t other) {
    return json.is_null() ? other : json.integer();
}

double number_from(Json json, double other) { return json.is_null() ? other : json.number(); }

std::vector<std::string> texts_from(Json json) { return list_from(json, text_from); }

EngineRecord engine_from(Json json) {
    EngineRecord engine;
    engine.name = text_from(json["name"]);
    engine.target = text_from(json["target"]);
    engine.precision = text_from(json["precision"]);
    engine.files = table_from(json["files"]);
    engine.batch = integer_from(json["batch"], 1);
    engine.device = device_from(json["device"]);
    engine.versions = table_from(json["versions"]);
    const Json verdict = json["verdict"];
    if (!verdict.is_null()) engine.passed = verdict["passed"].boolean();
    engine.reasons = texts_from(verdict["reasons"]);
    engine.notes = texts_from(json["notes"]);
    engine.accuracy = accuracy_from(json["accuracy"]);
    engine.golden = accuracy_from(json["golden"]);
    engine.p50_ms = optional_number(json["latency"]["p50_ms"]);
    return engine;
}

GoldenImage golden_image_from(Json json) {
    GoldenImage image;
    image.name = text_from(json["name"]);
    image.points = text_from(json["points"]);
    image.picture = picture_from(json);
    const std::vector<double> spacing =
        list_from(json["spacing_mm"], [](Json each) { return each.number(); });
    if (!spacing.empty()) {
        image.spacing_row_mm = spacing[0];
        image.spacing_column_mm = spacing[1];
    }
    image.others = list_from(json["others"], picture_from);
    image.outputs = list_from(json["outputs"], golden_output_from);
    return image;
}

Budgets budgets_from(Json json) {
    Budgets budgets;
    const auto set = [&json](const char* name, double& value) {
        value = number_from(json[name], value);
    };
    set("budget_px", budgets.budget_px);
    set("worst_landmark_px", budgets.worst_landmark_px);
    set("fp32_px", budgets.fp32_px);
    set("fp32_max_px", budgets.fp32_max_px);
    set("map_mean", budgets.map_mean);
    set("map_ssim", budgets.map_ssim);
    set("logits_agreement", budgets.logits_agreement);
    set("visibility_agreement", budgets.visibility_agreement);
    set("fp32_map_max", budgets.fp32_map_max);
    set("fp32_logits_max", budgets.fp32_logits_max);
    set("fp32_visibility_max", budgets.fp32_visibility_max);
    budgets.budget_mm = optional_number(json["budget_mm"]);
    budgets.delta_mre_mm = optional_number(json["delta_mre_mm"]);
    budgets.p99_px = optional_number(json["p99_px"]);
    budgets.max_px = optional_number(json["max_px"]);
    budgets.landmark_mre_percent = optional_number(json["landmark_mre_percent"]);
    budgets.map_max = optional_number(json["map_max"]);
    budgets.logits_max = optional_number(json["logits_max"]);
    return budgets;
}

}  // namespace mahtrt
