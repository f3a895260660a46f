// Every set of vector instructions gives the bits of the portable one, in every format.
#include <cstring>
#include <string>
#include <vector>

#include "check.h"
#include "error.h"
#include "prepare_with.h"
#include "random_images.h"

using mahtrt::Kernels;
using mahtrt_tests::Generator;
using mahtrt_tests::RandomImage;

namespace {

std::vector<float> tensor_of(const Kernels& with, const mahtrt_input& input,
                             const mahtrt_image& image) {
    const auto floats = static_cast<std::size_t>(input.channels) *
                        static_cast<std::size_t>(input.height) *
                        static_cast<std::size_t>(input.width);
    std::vector<float> tensor(floats, -1e30f);  // what is not written is seen
    mahtrt::prepare_with(with, mahtrt::checked_input(input), mahtrt::checked_image(image),
                         tensor.data());
    return tensor;
}

void compare(const mahtrt_input& input, const mahtrt_image& image) {
    const Kernels* const* set = mahtrt::all_kernels();
    const std::vector<float> expected = tensor_of(**set, input, image);
    for (const float each : expected) CHECK(each > -1e29f);
    for (++set; *set != nullptr; ++set) {
        const std::vector<float> found = tensor_of(**set, input, image);
        if (std::memcmp(found.data(), expected.data(), found.size() * sizeof(float)) == 0) continue;
        std::fprintf(stderr, "%s differs: %dx%d, format %d, to %dx%dx%d, resize %d, %d\n",
                     (*set)->name, image.width, image.height, image.format, input.channels,
                     input.width, input.height, input.resize, input.interpolation);
        std::exit(1);
    }
}

void test_random_images(int images) {
    Generator random(1);
    for (int number = 0; number < images; ++number) {
        const std::int32_t format = number % (MAHTRT_BGRX8 + 1);
        const auto shift = static_cast<std::size_t>(random.between(0, 3));
        const auto gap = static_cast<std::size_t>(random.between(0, 5));
        const bool large = number % 16 < 2;
        const RandomImage image(random, random.between(2, large ? 900 : 80),
                                random.between(2, large ? 300 : 80), format, shift, gap);
        mahtrt_input input = mahtrt_tests::input_of(random.between(1, 90), random.between(1, 90),
                                                    number % 3 == 0 ? 1 : 3, random.between(0, 2),
                                                    random.between(0, MAHTRT_ANTIALIASED_CUBIC));
        input.color_order = random.between(0, 1);
        if (number % 5 == 0) input.width = image.image.width;
        if (number % 7 == 0) input.height = image.image.height;
        compare(input, image.image);
    }
}

// The largest sums there are: white images, as long as an axis may be.
void test_largest_sums() {
    for (const std::int32_t format : {MAHTRT_GRAY8, MAHTRT_GRAY16}) {
        const std::int32_t height = 32767;
        std::vector<unsigned char> white(static_cast<std::size_t>(height) * 4, 255);
        mahtrt_image image{};
        image.size = sizeof image;
        image.data = white.data();
        image.width = 2;
        image.height = height;
        image.format = format;
        for (int interpolation = 0; interpolation <= MAHTRT_ANTIALIASED_CUBIC; ++interpolation)
            for (const std::int32_t new_height : {1, 3, 32766, 32767, 40000, 65536}) {
                mahtrt_input input =
                    mahtrt_tests::input_of(3, new_height, 1, MAHTRT_STRETCH, interpolation);
                input.mean[0] = 0;
                input.std[0] = 1;
                const std::vector<float> tensor = tensor_of(mahtrt::kernels(), input, image);
                const float range = format == MAHTRT_GRAY8 ? 255.0f : 65535.0f;
                const float one = range * static_cast<float>(1.0 / static_cast<double>(range));
                // Antialiased weights are rounded one by one: a white pixel of thousands is a shade
                // off.
                const float least = interpolation < MAHTRT_ANTIALIASED_LINEAR ? one : 0.99f * one;
                for (const float each : tensor) CHECK(each >= least && each <= one);
            }
    }
}

void test_names() {
    CHECK_EQUAL(std::string((*mahtrt::all_kernels())->name), "portable");
    CHECK(mahtrt::kernels().name != nullptr);
}

}  // namespace

int main() {
    test_names();
    test_random_images(600);
    test_largest_sums();
    return 0;
}
