// Landmarks from heatmaps against numbers that Python's definitions gave, and the file of the role.
#include <cmath>
#include <fstream>
#include <iterator>
#include <limits>
#include <vector>

#include "check.h"
#include "error.h"
#include "json.h"
#include "kernel_decode.h"
#include "tiny_manifest.h"

using namespace mahtrt;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::string content(const char* path) {
    std::ifstream file(path, std::ios::binary);
    CHECK(file.good());
    return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<double> numbers(Json list) {
    std::vector<double> found;
    for (const auto& each : list.items()) found.push_back(each.value.number());
    return found;
}

bool is_near(double got, double wanted) {
    return std::abs(got - wanted) <= 1e-9 * (1 + std::abs(wanted));
}

void check_case(Json json) {
    std::vector<float> map;
    for (const double each : numbers(json["map"])) map.push_back(static_cast<float>(each));
    const auto shape = numbers(json["shape"]), size = numbers(json["input_size"]);
    const auto rows = static_cast<std::int64_t>(shape[0]);
    const auto columns = static_cast<std::int64_t>(shape[1]);
    const Size input{static_cast<std::int32_t>(size[0]), static_cast<std::int32_t>(size[1])};
    const double parameter = json["parameter"].number();
    const DecodedPoint point = json["kernel"].text() == "dark"
                                   ? dark(map.data(), rows, columns, parameter, input)
                                   : soft_argmax(map.data(), rows, columns, parameter, input);
    const auto landmark = numbers(json["landmark"]);
    const bool fits = is_near(point.x, landmark[0]) && is_near(point.y, landmark[1]) &&
                      is_near(point.confidence, json["confidence"].number()) &&
                      is_near(point.spread, json["spread"].number());
    if (!fits)
        std::fprintf(stderr, "%s, %s: %.12g %.12g %.12g %.12g\n",
                     std::string(json["name"].text()).c_str(),
                     std::string(json["kernel"].text()).c_str(), point.x, point.y, point.confidence,
                     point.spread);
    CHECK(fits);
}

void check_vectors() {
    const std::string text = content("vectors/kernel_decode.json");
    const JsonDocument document(text, "vectors", MAHTRT_FAILED);
    std::size_t count = 0;
    for (const auto& each : document.root()["cases"].items()) {
        check_case(each.value);
        ++count;
    }
    CHECK_EQUAL(count, std::size_t{30});
}

// "Values that are no heatmap" of mahtrt/runtime/soft_argmax.py.
void check_no_heatmaps() {
    const Size size{4, 4};
    const float with_nan[] = {0, kNan, 1, 2}, with_infinity[] = {0, kInfinity, 1, 2};
    const float all_below[] = {-kInfinity, -kInfinity, -kInfinity, -kInfinity};
    const float one_below[] = {-kInfinity, 3, -kInfinity, -kInfinity};
    DecodedPoint point = soft_argmax(with_nan, 2, 2, 1, size);
    CHECK(std::isnan(point.x) && std::isnan(point.y) && std::isnan(point.spread));
    CHECK(std::isnan(point.confidence));
    point = soft_argmax(with_infinity, 2, 2, 1, size);
    CHECK(std::isnan(point.x) && std::isnan(point.spread) && point.confidence > 1e308);
    point = soft_argmax(all_below, 2, 2, 1, size);
    CHECK(std::isnan(point.x) && std::isnan(point.spread) && point.confidence < -1e308);
    point = soft_argmax(one_below, 2, 2, 1, size);
    CHECK_EQUAL(point.x, 2.5);
    CHECK_EQUAL(point.y, 0.5);
    CHECK_EQUAL(point.spread, 1e-6);
    const float nine[] = {0, 0, 0, 0, kNan, 0, 0, 0, 0};
    CHECK(std::isnan(dark(nine, 3, 3, 2, size).x));
}

void check_halves() {
    const std::uint16_t halves[] = {0x0000, 0x8000, 0x3c00, 0xc000, 0x0001, 0x03ff,
                                    0x0400, 0x7bff, 0x7c00, 0xfc00, 0x7e00};
    float floats[std::size(halves)];
    widen_halves(halves, floats, std::size(halves));
    const float wanted[] = {0.0f,       -0.0f,    1.0f,     -2.0f,     0x1p-24f,
                            0x3ffp-24f, 0x1p-14f, 65504.0f, kInfinity, -kInfinity};
    for (std::size_t i = 0; i < std::size(wanted); ++i) CHECK_EQUAL(floats[i], wanted[i]);
    CHECK(std::signbit(floats[1]));
    CHECK(std::isnan(floats[10]));
}

const std::string kRecord = R"({"kernel": "dark", "heatmaps": "m", "dtype": "float16",
    "shape": [2, 3, 8, 9], "input_size": [32, 36], "landmarks": "l", "confidence": "c",
    "spread": "s", "temperature": null, "sigma": 2.5, "schema": "mahtrt.kernel-decode/1"})";

void check_record() {
    const KernelDecode decode = read_kernel_decode(kRecord, "decode.json");
    CHECK(decode.kernel == KernelDecode::Kernel::kDark && decode.is_half);
    CHECK_EQUAL(decode.maps(), std::int64_t{6});
    CHECK_EQUAL(decode.cells(), std::int64_t{72});
    CHECK_EQUAL(decode.input_size.width, 36);
    CHECK_EQUAL(decode.sigma, 2.5);
}

void check_bad_record(const std::string& old, const std::string& now, const std::string& part) {
    CHECK_REFUSED(read_kernel_decode(replaced(kRecord, old, now), "decode.json"), MAHTRT_INTEGRITY,
                  part);
}

void check_bad_records() {
    check_bad_record("decode/1", "decode/2", "newer");
    check_bad_record("\"dark\"", "\"mean\"", "kernel");
    check_bad_record("null", "1", "temperature: got");
    check_bad_record("2.5", "null", "sigma: got null");
    check_bad_record("2.5", "0", "sigma");
    check_bad_record("2.5", "65", "64 cells");
    check_bad_record("8, 9]", "8, 2]", "at least 3 cells");
    check_bad_record("8, 9]", "8]", "shape");
    check_bad_record("[2, 3", "[0, 3", "shape");
    check_bad_record("\"spread\"", "\"deviation\"", "deviation");
    check_bad_record("}", "", "decode.json");
    CHECK_REFUSED(read_kernel_decode("[]", "decode.json"), MAHTRT_INTEGRITY, "schema");
}

// Batches: each map gives one landmark, at its place.
void check_batch() {
    KernelDecode decode = read_kernel_decode(kRecord, "decode.json");
    decode.kernel = KernelDecode::Kernel::kSoftArgmax;
    decode.temperature = 0.01;
    std::vector<float> maps(6 * 72, 0.0f);
    for (std::size_t i = 0; i < 6; ++i) maps[i * 72 + i * 10] = 5 + static_cast<float>(i);
    float landmarks[12], confidence[6], spread[6];
    decode_heatmaps(decode, maps.data(), landmarks, confidence, spread);
    for (std::size_t i = 0; i < 6; ++i) {
        const std::size_t at = i * 10;
        CHECK(std::abs(landmarks[2 * i] - (4 * static_cast<float>(at % 9) + 1.5f)) < 1e-4f);
        CHECK(std::abs(landmarks[2 * i + 1] - (4 * static_cast<float>(at / 9) + 1.5f)) < 1e-4f);
        CHECK_EQUAL(confidence[i], 5 + static_cast<float>(i));
        CHECK(spread[i] < 1e-3f);
    }
}

}  // namespace

int main() {
    check_vectors();
    check_no_heatmaps();
    check_halves();
    check_record();
    check_bad_records();
    check_batch();
    return 0;
}
