// What the caller's structs say, checked once: everything behind these functions may rely on it.
#include <cmath>
#include <cstddef>
#include <string>

#include "error.h"
#include "prepare.h"
#include "status.h"

namespace mahtrt {
namespace {

constexpr std::int32_t kLeastSide = 2, kMostSide = 32767;
constexpr std::int64_t kMostPixels = std::int64_t{1} << 26;
constexpr std::int32_t kMostInputSide = 65536;

struct Format {
    std::int32_t samples;
    bool wide, bgr;
};
// By the constants of mahtrt.h.
constexpr Format kFormats[] = {{1, false, false}, {1, true, false}, {3, false, false},
                               {3, true, false},  {3, false, true}, {3, true, true},
                               {4, false, false}, {4, false, true}};
constexpr std::int32_t kFormatCount = static_cast<std::int32_t>(sizeof kFormats / sizeof *kFormats);

[[noreturn]] void refuse(mahtrt_status status, const std::string& subject, const std::string& got,
                         const std::string& expected, const std::string& fix = "") {
    throw Error(status, sentence(subject, got, expected, fix));
}

void check_struct(std::size_t size, std::size_t least, const std::string& name) {
    if (size >= least && size <= kMostStruct) return;
    refuse(MAHTRT_USAGE, name + ".size", std::to_string(size), "sizeof(" + name + ")",
           "Call " + name + "_init first.");
}

void check_choice(std::int32_t value, std::int32_t count, const std::string& field) {
    if (value >= 0 && value < count) return;
    refuse(MAHTRT_USAGE, field, std::to_string(value),
           "one of the constants of mahtrt.h, 0 to " + std::to_string(count - 1));
}

void check_number(double value, double least, double most, const std::string& field) {
    if (value >= least && value <= most) return;  // false for NaN
    refuse(MAHTRT_USAGE, field, std::to_string(value),
           std::to_string(least) + " to " + std::to_string(most));
}

void check_sides(std::int32_t width, std::int32_t height) {
    const std::string got = std::to_string(width) + "x" + std::to_string(height) + " pixels";
    if (width < kLeastSide || height < kLeastSide)
        refuse(MAHTRT_BAD_IMAGE, "image", got, "at least 2 pixels on each side");
    if (width > kMostSide || height > kMostSide || std::int64_t{width} * height > kMostPixels)
        refuse(MAHTRT_BAD_IMAGE, "image", got,
               "at most " + std::to_string(kMostPixels) + " pixels, and " +
                   std::to_string(kMostSide) + " on a side",
               "Make the image smaller first.");
}

void check_normalization(const mahtrt_input& input) {
    for (std::int32_t channel = 0; channel < input.channels; ++channel) {
        const std::string place = "[" + std::to_string(channel) + "]";
        check_number(input.mean[channel], -1e6, 1e6, "mahtrt_input.mean" + place);
        check_number(input.std[channel], 1e-6, 1e6, "mahtrt_input.std" + place);
    }
}

}  // namespace

Image checked_image(const mahtrt_image& image) {
    // The spacings behind the format are not read here: a caller may not know them.
    check_struct(image.size, offsetof(mahtrt_image, spacing_row_mm), "mahtrt_image");
    if (image.data == nullptr)
        refuse(MAHTRT_USAGE, "mahtrt_image.data", "NULL", "the address of the first sample");
    check_choice(image.format, kFormatCount, "mahtrt_image.format");
    check_sides(image.width, image.height);
    const Format format = kFormats[image.format];
    const std::size_t packed = static_cast<std::size_t>(image.width) *
                               static_cast<std::size_t>(format.samples) * (format.wide ? 2 : 1);
    if (image.row_bytes != 0 && image.row_bytes < packed)
        refuse(MAHTRT_BAD_IMAGE, "mahtrt_image.row_bytes", std::to_string(image.row_bytes),
               "at least " + std::to_string(packed) + " for a row of " +
                   std::to_string(image.width) + " pixels",
               "Give the bytes from the start of a row to that of the next.");
    Image checked;
    checked.data = static_cast<const unsigned char*>(image.data);
    checked.row_bytes = image.row_bytes == 0 ? packed : image.row_bytes;
    checked.width = image.width;
    checked.height = image.height;
    checked.samples = format.samples;
    checked.wide = format.wide;
    checked.bgr = format.bgr;
    return checked;
}

InputSpec checked_input(const mahtrt_input& input) {
    check_struct(input.size, offsetof(mahtrt_input, pad_value) + sizeof input.pad_value,
                 "mahtrt_input");
    check_number(input.height, 1, kMostInputSide, "mahtrt_input.height");
    check_number(input.width, 1, kMostInputSide, "mahtrt_input.width");
    if (input.channels != 1 && input.channels != 3)
        refuse(MAHTRT_USAGE, "mahtrt_input.channels", std::to_string(input.channels), "1 or 3");
    check_choice(input.color_order, MAHTRT_BGR_ORDER + 1, "mahtrt_input.color_order");
    check_choice(input.resize, MAHTRT_CENTER_CROP + 1, "mahtrt_input.resize");
    check_choice(input.interpolation, MAHTRT_ANTIALIASED_CUBIC + 1, "mahtrt_input.interpolation");
    check_number(input.pad_value, 0, 1, "mahtrt_input.pad_value");
    check_normalization(input);
    InputSpec spec;
    spec.size = {input.height, input.width};
    spec.channels = input.channels;
    spec.color_order = static_cast<ColorOrder>(input.color_order);
    spec.resize = static_cast<Resize>(input.resize);
    spec.interpolation = static_cast<Interpolation>(input.interpolation);
    spec.pad_value = input.pad_value;
    for (std::size_t channel = 0; channel < static_cast<std::size_t>(input.channels); ++channel) {
        spec.mean[channel] = input.mean[channel];
        spec.std[channel] = input.std[channel];
    }
    return spec;
}

}  // namespace mahtrt
