// Images and inputs of every size and kind, as a caller may give them.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "error.h"
#include "prepare.h"

namespace {

// Numbers from the front of the data, zeros behind their end.
class Numbers {
  public:
    Numbers(const std::uint8_t* data, std::size_t size) : at_(data), end_(data + size) {}

    std::int32_t byte() { return at_ == end_ ? 0 : *at_++; }
    // Mostly small, so that images are; seldom what no image has.
    std::int32_t side() {
        const std::int32_t kind = byte(), value = byte();
        if (kind < 250) return value * (kind % 4 == 0 ? 2 : 1) + 1;
        return kind == 255 ? -value : value * 300;
    }
    double from(double least, double most) { return least + byte() * (most - least) / 255; }
    std::vector<std::uint8_t> rest(std::size_t size) {
        std::vector<std::uint8_t> bytes(size);
        for (std::size_t i = 0; i < size; ++i)
            bytes[i] = at_ + i % 4096 < end_ ? at_[i % 4096] : static_cast<std::uint8_t>(i * 37);
        return bytes;
    }

  private:
    const std::uint8_t *at_, *end_;
};

mahtrt_input read_input(Numbers& numbers) {
    mahtrt_input input = {};
    input.size = sizeof input;
    input.height = numbers.side();
    input.width = numbers.side();
    input.channels = numbers.byte() % 2 == 0 ? 1 : 3;
    input.color_order = numbers.byte() % 2;
    input.resize = numbers.byte() % 3;
    input.interpolation = numbers.byte() % 7;
    input.pad_value = numbers.from(-0.01, 1);
    for (int channel = 0; channel < 3; ++channel) {
        input.mean[channel] = numbers.from(-1, 2);
        input.std[channel] = numbers.from(0, 2);
    }
    return input;
}

mahtrt_image read_image(Numbers& numbers) {
    mahtrt_image image = {};
    image.size = sizeof image;
    image.width = numbers.side();
    image.height = numbers.side();
    image.format = numbers.byte() % 9 - (numbers.byte() == 1 ? 1 : 0);
    image.row_bytes = static_cast<std::size_t>(numbers.byte());
    return image;
}

// Memory of exactly the bytes that the image has, so that a sanitizer sees one read too many.
void prepare(const mahtrt_input& wanted, mahtrt_image image, Numbers& numbers) {
    image.data = &image;
    const std::size_t pad = image.row_bytes % 8;
    image.row_bytes = 0;
    const mahtrt::InputSpec input = mahtrt::checked_input(wanted);
    mahtrt::Image checked = mahtrt::checked_image(image);
    const std::size_t row = checked.row_bytes;
    checked.row_bytes += pad;
    const auto rows = static_cast<std::size_t>(checked.height);
    const std::size_t floats = static_cast<std::size_t>(input.size.height) *
                               static_cast<std::size_t>(input.size.width) *
                               static_cast<std::size_t>(input.channels);
    if (rows * checked.row_bytes > 1u << 22 || floats > 1u << 20) return;
    const std::vector<std::uint8_t> data = numbers.rest((rows - 1) * checked.row_bytes + row);
    checked.data = data.data();
    std::vector<float> tensor(floats, std::nanf(""));
    const mahtrt::Placement placement = mahtrt::prepare(input, checked, tensor.data());
    const bool whole =
        std::all_of(tensor.begin(), tensor.end(), [](float v) { return std::isfinite(v); });
    if (!whole || !(placement.scale_x > 0) || !(placement.scale_y > 0)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Numbers numbers(data, size);
    const mahtrt_input input = read_input(numbers);
    const mahtrt_image image = read_image(numbers);
    try {
        prepare(input, image, numbers);
    } catch (const mahtrt::Error& error) {
        if (error.status() != MAHTRT_USAGE && error.status() != MAHTRT_BAD_IMAGE) std::abort();
        if (*error.what() == 0) std::abort();
    }
    return 0;
}
