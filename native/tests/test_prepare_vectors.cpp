// The test vectors of docs/preprocessing.md: weights of axes, whole tensors, digests.
#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "check.h"
#include "error.h"
#include "json.h"
#include "prepare_with.h"
#include "random_images.h"
#include "resample_axis.h"
#include "sha256.h"

using mahtrt::Interpolation;
using mahtrt::Json;

namespace {

template <std::size_t kCount>
std::int32_t place_of(std::string_view name, const char* const (&names)[kCount]) {
    for (std::size_t i = 0; i < kCount; ++i)
        if (name == names[i]) return static_cast<std::int32_t>(i);
    std::fprintf(stderr, "unknown: %.*s\n", static_cast<int>(name.size()), name.data());
    std::exit(1);
}

std::int32_t interpolation_of(Json name) {
    return place_of(name.text(), {"area", "linear", "cubic", "nearest", "nearest_floor",
                                  "antialiased_linear", "antialiased_cubic"});
}

std::int32_t integer(Json value) { return static_cast<std::int32_t>(value.integer()); }

Json item(Json list, std::size_t number) {
    for (const auto& each : list.items())
        if (number-- == 0) return each.value;
    return Json();
}

// ---- Axes ----------------------------------------------------------------------------------

using Weights = std::vector<std::vector<std::int64_t>>;  // per new pixel, per pixel

Weights exact_weights(const mahtrt::ExactAxis& axis) {
    const std::int64_t length = axis.old_length();
    Weights all;
    for (std::int64_t i = 0; i < axis.new_length(); ++i) {
        std::vector<std::int64_t> row(static_cast<std::size_t>(length));
        for (std::int64_t j = 0; j < length && axis.is_mean(); ++j) {
            const std::int64_t low = std::max(axis.edge(i), j * axis.new_length());
            const std::int64_t high = std::min(axis.edge(i + 1), (j + 1) * axis.new_length());
            row[static_cast<std::size_t>(j)] = std::max<std::int64_t>(0, high - low);
        }
        for (int k = 0; k < axis.tap_count() && !axis.is_mean(); ++k) {
            const std::int64_t j = std::clamp<std::int64_t>(axis.taps(i).first + k, 0, length - 1);
            row[static_cast<std::size_t>(j)] += axis.taps(i).weights[static_cast<std::size_t>(k)];
        }
        all.push_back(row);
    }
    return all;
}

Weights antialiased_weights(Interpolation interpolation, std::int64_t length, std::int64_t count) {
    const mahtrt::AntialiasedAxis axis(interpolation, length, count, {0, count});
    Weights all;
    for (std::size_t i = 0; i < axis.windows.size(); ++i) {
        std::vector<std::int64_t> row(static_cast<std::size_t>(length));
        const auto first = static_cast<std::size_t>(axis.windows[i].first);
        for (std::size_t k = 0; k < static_cast<std::size_t>(axis.windows[i].count); ++k)
            row[first + k] = axis.weights[i * static_cast<std::size_t>(axis.longest) + k];
        all.push_back(row);
    }
    return all;
}

void test_axis(Json axis) {
    const auto interpolation = static_cast<Interpolation>(interpolation_of(axis["interpolation"]));
    const std::int64_t length = axis["length"].integer(), count = axis["count"].integer();
    Weights found;
    if (interpolation < Interpolation::kAntialiasedLinear) {
        const mahtrt::ExactAxis exact(interpolation, length, count);
        CHECK_EQUAL(exact.sum(), axis["total"].integer());
        found = exact_weights(exact);
    } else if (length != count) {  // else the pass is left out
        found = antialiased_weights(interpolation, length, count);
    }
    for (std::size_t i = 0; i < found.size(); ++i)
        for (std::size_t j = 0; j < found[i].size(); ++j)
            CHECK_EQUAL(found[i][j], item(item(axis["weights"], i), j).integer());
}

// ---- Tensors -------------------------------------------------------------------------------

struct Picture {
    std::vector<unsigned char> bytes;
    mahtrt_image image{};
};

Picture picture_of(Json image) {
    const bool wide = image["bits"].integer() == 16;
    const bool binary = image["pattern"].text() == "black_or_white";
    CHECK(binary || image["pattern"].text() == "noise");
    const bool rgb = image["samples"].integer() == 3;
    Picture picture;
    picture.image.size = sizeof picture.image;
    picture.image.width = integer(image["columns"]);
    picture.image.height = integer(image["rows"]);
    picture.image.format =
        rgb ? (wide ? MAHTRT_RGB16 : MAHTRT_RGB8) : (wide ? MAHTRT_GRAY16 : MAHTRT_GRAY8);
    mahtrt_tests::Generator generator(static_cast<std::uint32_t>(image["seed"].integer()));
    const std::int64_t samples =
        image["rows"].integer() * image["columns"].integer() * image["samples"].integer();
    for (std::int64_t i = 0; i < samples; ++i) {
        const std::uint32_t state = generator.next();
        const std::uint32_t level = binary ? 0 - (state >> 31) : state >> (wide ? 16 : 24);
        const auto sample = static_cast<std::uint16_t>(level);
        unsigned char bytes[2];
        std::memcpy(bytes, &sample, 2);
        if (!wide) bytes[0] = static_cast<unsigned char>(level);
        picture.bytes.insert(picture.bytes.end(), bytes, bytes + (wide ? 2 : 1));
    }
    picture.image.data = picture.bytes.data();
    return picture;
}

mahtrt_input input_of(Json spec) {
    mahtrt_input input{};
    input.size = sizeof input;
    input.height = integer(item(spec["size"], 0));
    input.width = integer(item(spec["size"], 1));
    input.channels = integer(spec["channels"]);
    input.color_order = spec["color_order"].text() == "bgr" ? MAHTRT_BGR_ORDER : MAHTRT_RGB_ORDER;
    input.resize = place_of(spec["resize"].text(), {"letterbox", "stretch", "center_crop"});
    input.interpolation = interpolation_of(spec["interpolation"]);
    input.pad_value = spec["pad_value"].number();
    for (std::size_t channel = 0; channel < static_cast<std::size_t>(input.channels); ++channel) {
        input.mean[channel] = item(spec["mean"], channel).number();
        input.std[channel] = item(spec["std"], channel).number();
    }
    return input;
}

void check_values(Json vector, const std::vector<std::uint32_t>& tensor) {
    std::size_t next = 0;
    const Json some = vector["some"], all = vector["tensor"];
    for (const auto& each : some.is_null() ? all.items() : some.items()) {
        const std::size_t place = some.is_null() ? next++ : std::stoul(std::string(each.name));
        CHECK_EQUAL(tensor.at(place), std::stoul(std::string(each.value.text()), nullptr, 16));
    }
    if (some.is_null()) CHECK_EQUAL(next, tensor.size());
}

void test_tensor(Json vector, const mahtrt::Kernels& with) {
    const Picture picture = picture_of(vector["image"]);
    const mahtrt::InputSpec input = mahtrt::checked_input(input_of(vector["input"]));
    std::vector<float> tensor(static_cast<std::size_t>(input.channels) *
                              static_cast<std::size_t>(input.size.height) *
                              static_cast<std::size_t>(input.size.width));
    const mahtrt::Placement placement =
        mahtrt::prepare_with(with, input, mahtrt::checked_image(picture.image), tensor.data());
    CHECK_EQUAL(placement.scale_x, item(vector["scale"], 0).number());
    CHECK_EQUAL(placement.scale_y, item(vector["scale"], 1).number());
    CHECK_EQUAL(placement.offset_x, item(vector["offset"], 0).number());
    CHECK_EQUAL(placement.offset_y, item(vector["offset"], 1).number());
    std::vector<std::uint32_t> bits(tensor.size());
    std::memcpy(bits.data(), tensor.data(), tensor.size() * sizeof(float));
    check_values(vector, bits);
    std::vector<unsigned char> bytes;
    for (const std::uint32_t each : bits)
        for (int shift = 0; shift < 32; shift += 8)
            bytes.push_back(static_cast<unsigned char>(each >> shift));
    CHECK_EQUAL(mahtrt::sha256_hex(bytes.data(), bytes.size()), vector["sha256"].text());
}

}  // namespace

int main() {
    std::ifstream file("vectors/preprocess.json", std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    const mahtrt::JsonDocument document(text, "preprocess.json", MAHTRT_FAILED);
    const Json root = document.root();
    CHECK_EQUAL(root["preprocess_version"].integer(), mahtrt::kPreprocessVersion);
    CHECK(root["axes"].size() > 40 && root["whole"].size() > 10 && root["vectors"].size() > 100);
    for (const auto& axis : root["axes"].items()) test_axis(axis.value);
    for (const mahtrt::Kernels* const* set = mahtrt::all_kernels(); *set != nullptr; ++set)
        for (const char* list : {"whole", "vectors"})
            for (const auto& vector : root[list].items()) test_tensor(vector.value, **set);
    return 0;
}
