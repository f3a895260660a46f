// What the structs of a caller may hold.
#include <cmath>
#include <cstddef>
#include <vector>

#include "check.h"
#include "error.h"
#include "prepare.h"
#include "random_images.h"

using mahtrt::checked_image;
using mahtrt::checked_input;
using mahtrt_tests::input_of;

namespace {

unsigned char pixels[64 * 64 * 6];

mahtrt_image image_of(std::int32_t width, std::int32_t height, std::int32_t format) {
    mahtrt_image image{};
    image.size = sizeof image;
    image.data = pixels;
    image.width = width;
    image.height = height;
    image.format = format;
    return image;
}

void test_images() {
    const mahtrt_image good = image_of(5, 7, MAHTRT_BGR16);
    const mahtrt::Image checked = checked_image(good);
    CHECK_EQUAL(checked.row_bytes, std::size_t{30});
    CHECK(checked.wide && checked.bgr && checked.rgb() && checked.samples == 3);
    const auto with = [&](auto change) {
        mahtrt_image image = good;
        change(image);
        return image;
    };
    CHECK_REFUSED(checked_image(with([](auto& i) { i.data = nullptr; })), MAHTRT_USAGE, "NULL");
    CHECK_REFUSED(checked_image(with([](auto& i) { i.format = 8; })), MAHTRT_USAGE, "format");
    CHECK_REFUSED(checked_image(with([](auto& i) { i.format = -1; })), MAHTRT_USAGE, "format");
    CHECK_REFUSED(checked_image(with([](auto& i) { i.row_bytes = 29; })), MAHTRT_BAD_IMAGE, "30");
    CHECK_REFUSED(checked_image(with([](auto& i) { i.width = 1; })), MAHTRT_BAD_IMAGE, "1x7");
    CHECK_REFUSED(checked_image(with([](auto& i) { i.width = -5; })), MAHTRT_BAD_IMAGE, "-5x7");
    CHECK_REFUSED(checked_image(with([](auto& i) { i.height = 0; })), MAHTRT_BAD_IMAGE, "5x0");
    CHECK_REFUSED(checked_image(image_of(32768, 2, 0)), MAHTRT_BAD_IMAGE, "32767");
    CHECK_REFUSED(checked_image(image_of(8193, 8192, 0)), MAHTRT_BAD_IMAGE, "67108864");
    CHECK_EQUAL(checked_image(image_of(8192, 8192, 0)).row_bytes, std::size_t{8192});
}

// Fields behind the caller's size are not read, and more than this library knows may be there.
void test_sizes_of_structs() {
    mahtrt_image image = image_of(5, 7, MAHTRT_GRAY8);
    const std::size_t least = offsetof(mahtrt_image, spacing_row_mm);
    std::vector<unsigned char> old(reinterpret_cast<unsigned char*>(&image),
                                   reinterpret_cast<unsigned char*>(&image) + least);
    reinterpret_cast<mahtrt_image*>(old.data())->size = least;
    CHECK_EQUAL(checked_image(*reinterpret_cast<mahtrt_image*>(old.data())).width, 5);
    image.size = sizeof image + 64;
    CHECK_EQUAL(checked_image(image).width, 5);
    for (const std::size_t wrong : {std::size_t{0}, least - 1, std::size_t{1} << 40}) {
        image.size = wrong;
        CHECK_REFUSED(checked_image(image), MAHTRT_USAGE, "mahtrt_image.size");
    }
    mahtrt_input input = input_of(4, 5, 1, 0, 0);
    input.size = sizeof input - 1;
    CHECK_REFUSED(checked_input(input), MAHTRT_USAGE, "mahtrt_input.size");
}

void test_inputs() {
    const mahtrt_input good = input_of(4, 5, 3, MAHTRT_STRETCH, MAHTRT_CUBIC);
    const mahtrt::InputSpec spec = checked_input(good);
    CHECK_EQUAL(spec.size.width, 4);
    CHECK_EQUAL(spec.std[2], good.std[2]);
    CHECK(spec.interpolation == mahtrt::Interpolation::kCubic);
    const auto refused = [&](auto change, const char* part) {
        mahtrt_input input = good;
        change(input);
        CHECK_REFUSED(checked_input(input), MAHTRT_USAGE, part);
    };
    refused([](auto& i) { i.height = 0; }, "height");
    refused([](auto& i) { i.width = 65537; }, "width");
    refused([](auto& i) { i.channels = 2; }, "channels");
    refused([](auto& i) { i.color_order = 2; }, "color_order");
    refused([](auto& i) { i.resize = 3; }, "resize");
    refused([](auto& i) { i.interpolation = 7; }, "interpolation");
    refused([](auto& i) { i.pad_value = 1.5; }, "pad_value");
    refused([](auto& i) { i.std[2] = 0; }, "std[2]");
    refused([](auto& i) { i.mean[1] = std::nan(""); }, "mean[1]");
}

void test_too_many_new_pixels() {
    const mahtrt::Image image = checked_image(image_of(2, 2000, MAHTRT_GRAY8));
    const mahtrt::InputSpec spec = checked_input(input_of(512, 512, 1, MAHTRT_CENTER_CROP, 0));
    CHECK_REFUSED(mahtrt::prepare(spec, image, nullptr), MAHTRT_BAD_IMAGE, "512x512000");
    CHECK_REFUSED(mahtrt::placement_of(spec, image), MAHTRT_BAD_IMAGE, "512x512000");
}

void test_placement() {
    const mahtrt::Image image = checked_image(image_of(40, 20, MAHTRT_GRAY8));
    const mahtrt::InputSpec spec = checked_input(input_of(20, 17, 1, MAHTRT_LETTERBOX, 0));
    std::vector<float> tensor(20 * 17);
    const mahtrt::Placement placement = mahtrt::prepare(spec, image, tensor.data());
    CHECK_EQUAL(placement.scale_x, 0.5);
    CHECK_EQUAL(placement.offset_y, 3.0);
    CHECK_EQUAL(mahtrt::placement_of(spec, image).offset_y, 3.0);
    // Half a pixel up where rows cannot be shared out.
    const mahtrt::InputSpec crop = checked_input(input_of(7, 20, 1, MAHTRT_CENTER_CROP, 0));
    CHECK_EQUAL(mahtrt::placement_of(crop, image).offset_x, -17.0);
}

}  // namespace

int main() {
    test_images();
    test_sizes_of_structs();
    test_inputs();
    test_too_many_new_pixels();
    test_placement();
    return 0;
}
