#include "kernel_decode.h"

#include <cstring>

#include "error.h"
#include "json.h"
#include "schema.h"

namespace mahtrt {
namespace {

constexpr char kSchema[] = "mahtrt.kernel-decode/1";
constexpr std::int64_t kLeastDarkSide = 3;  // cells: a peak inside of a map has neighbours
constexpr double kMostSigma = 64;           // cells, as in a spec

#define PIXELS "int(1,65536)"
#define POSITIVE "number(1e-38,3e38)"

const RecordText kRecords[] = {
    {"KernelDecode",
     "kernel:<soft_argmax|dark> heatmaps:text dtype:<float32|float16> shape:[" PIXELS
     ";4] input_size:[" PIXELS ";2] landmarks:text confidence:text spread:text"
     " temperature?:" POSITIVE "? sigma?:" POSITIVE "? schema:text"},
};

void check_schema(Json root, const std::string& where) {
    const Json schema = root["schema"];
    if (schema.kind() != JsonKind::kText || schema.text() != kSchema)
        throw Error(MAHTRT_INTEGRITY,
                    sentence(where + ": schema", schema.shown(), kSchema,
                             "Use a newer libmahtrt where the number is larger."));
    Schema(kRecords).check(root, "KernelDecode", where, MAHTRT_INTEGRITY);
}

// A number where this kernel has it, and null where not.
double number_of(Json root, const char* field, bool is_wanted, const std::string& where) {
    const Json value = root[field];
    if (value.is_null() == is_wanted)
        throw Error(MAHTRT_INTEGRITY,
                    sentence(where + ": " + field, value.shown(),
                             "a temperature for soft_argmax, a sigma for dark, and not the other"));
    return is_wanted ? value.number() : 1;
}

void check_dark(const KernelDecode& decode, const std::string& where) {
    if (decode.shape[2] < kLeastDarkSide || decode.shape[3] < kLeastDarkSide ||
        decode.sigma > kMostSigma)
        throw Error(MAHTRT_INTEGRITY,
                    sentence(where, "dark with maps or a sigma that it has none for",
                             "maps of at least 3 cells on a side, and at most 64 cells of sigma"));
}

float widened(std::uint16_t half) {
    const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
    const std::uint32_t exponent = (half >> 10) & 0x1fu, fraction = half & 0x3ffu;
    std::uint32_t bits = 0;
    if (exponent == 0) {
        const float value = static_cast<float>(fraction) * 5.9604644775390625e-8f;  // 2^-24
        return sign != 0 ? -value : value;
    }
    bits = sign | (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23) | fraction << 13;
    float value = 0;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

}  // namespace

KernelDecode read_kernel_decode(std::string_view json, const std::string& where) {
    const JsonDocument document(json, where, MAHTRT_INTEGRITY);
    const Json root = document.root();
    check_schema(root, where);
    const auto text = [&](const char* field) { return std::string(root[field].text()); };
    KernelDecode decode;
    const bool is_dark = root["kernel"].text() == "dark";
    decode.kernel = is_dark ? KernelDecode::Kernel::kDark : KernelDecode::Kernel::kSoftArgmax;
    decode.heatmaps = text("heatmaps");
    decode.is_half = root["dtype"].text() == "float16";
    std::size_t at = 0;
    for (const auto& each : root["shape"].items()) decode.shape[at++] = each.value.integer();
    std::array<std::int32_t, 2> size{};
    at = 0;
    for (const auto& each : root["input_size"].items())
        size[at++] = static_cast<std::int32_t>(each.value.integer());
    decode.input_size = {size[0], size[1]};
    decode.landmarks = text("landmarks");
    decode.confidence = text("confidence");
    decode.spread = text("spread");
    decode.temperature = number_of(root, "temperature", !is_dark, where);
    decode.sigma = number_of(root, "sigma", is_dark, where);
    if (is_dark) check_dark(decode, where);
    return decode;
}

void decode_heatmaps(const KernelDecode& decode, const float* maps, float* landmarks,
                     float* confidence, float* spread) {
    const std::int64_t rows = decode.shape[2], columns = decode.shape[3];
    const bool is_dark = decode.kernel == KernelDecode::Kernel::kDark;
    for (std::int64_t i = 0; i < decode.maps(); ++i) {
        const float* map = maps + i * decode.cells();
        const DecodedPoint point =
            is_dark ? dark(map, rows, columns, decode.sigma, decode.input_size)
                    : soft_argmax(map, rows, columns, decode.temperature, decode.input_size);
        landmarks[2 * i] = static_cast<float>(point.x);
        landmarks[2 * i + 1] = static_cast<float>(point.y);
        confidence[i] = static_cast<float>(point.confidence);
        spread[i] = static_cast<float>(point.spread);
    }
}

void widen_halves(const std::uint16_t* halves, float* floats, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) floats[i] = widened(halves[i]);
}

}  // namespace mahtrt
