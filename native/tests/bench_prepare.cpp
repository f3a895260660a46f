// How long preprocessing takes: one JSON line, milliseconds on one thread, by the clock and (cpu)
// as time of the processor, which other programs disturb less.
//     bench_prepare [ROUNDS [KERNELS]]        KERNELS: portable or avx2
// Cases take turns, so that what else the machine does falls on all of them alike.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <vector>

#include "prepare_with.h"
#include "random_images.h"

namespace {

struct Case {
    const char* name;
    std::int32_t format, channels, interpolation, resize;
    std::vector<double> times_ms = {}, cpu_ms = {};
};

std::vector<Case> cases() {
    return {
        {"gray8_area", MAHTRT_GRAY8, 1, MAHTRT_AREA, MAHTRT_LETTERBOX},
        {"gray16_area", MAHTRT_GRAY16, 1, MAHTRT_AREA, MAHTRT_LETTERBOX},
        {"rgb8_area", MAHTRT_RGB8, 3, MAHTRT_AREA, MAHTRT_LETTERBOX},
        {"rgb16_area", MAHTRT_RGB16, 3, MAHTRT_AREA, MAHTRT_LETTERBOX},
        {"gray8_to_3_channels_area", MAHTRT_GRAY8, 3, MAHTRT_AREA, MAHTRT_LETTERBOX},
        {"rgb8_to_gray_area", MAHTRT_RGB8, 1, MAHTRT_AREA, MAHTRT_LETTERBOX},
        {"bgrx8_area", MAHTRT_BGRX8, 3, MAHTRT_AREA, MAHTRT_LETTERBOX},
        {"gray8_area_center_crop", MAHTRT_GRAY8, 1, MAHTRT_AREA, MAHTRT_CENTER_CROP},
        {"gray8_linear", MAHTRT_GRAY8, 1, MAHTRT_LINEAR, MAHTRT_LETTERBOX},
        {"rgb8_linear", MAHTRT_RGB8, 3, MAHTRT_LINEAR, MAHTRT_LETTERBOX},
        {"gray8_cubic", MAHTRT_GRAY8, 1, MAHTRT_CUBIC, MAHTRT_LETTERBOX},
        {"rgb8_cubic", MAHTRT_RGB8, 3, MAHTRT_CUBIC, MAHTRT_LETTERBOX},
        {"gray8_nearest", MAHTRT_GRAY8, 1, MAHTRT_NEAREST, MAHTRT_LETTERBOX},
        {"gray8_antialiased_linear", MAHTRT_GRAY8, 1, MAHTRT_ANTIALIASED_LINEAR, MAHTRT_LETTERBOX},
        {"gray16_antialiased_linear", MAHTRT_GRAY16, 1, MAHTRT_ANTIALIASED_LINEAR,
         MAHTRT_LETTERBOX},
        {"rgb8_antialiased_linear", MAHTRT_RGB8, 3, MAHTRT_ANTIALIASED_LINEAR, MAHTRT_LETTERBOX},
        {"rgb8_antialiased_cubic", MAHTRT_RGB8, 3, MAHTRT_ANTIALIASED_CUBIC, MAHTRT_LETTERBOX}};
}

double now_ms(clockid_t clock) {
    timespec now{};
    clock_gettime(clock, &now);
    return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) * 1e-6;
}

void measure(const mahtrt::Kernels& with, Case& each, const mahtrt_image& image, float* tensor) {
    const mahtrt_input input =
        mahtrt_tests::input_of(512, 512, each.channels, each.resize, each.interpolation);
    const double start = now_ms(CLOCK_MONOTONIC), cpu = now_ms(CLOCK_THREAD_CPUTIME_ID);
    mahtrt::prepare_with(with, mahtrt::checked_input(input), mahtrt::checked_image(image), tensor);
    each.cpu_ms.push_back(now_ms(CLOCK_THREAD_CPUTIME_ID) - cpu);
    each.times_ms.push_back(now_ms(CLOCK_MONOTONIC) - start);
}

double percentile(const std::vector<double>& sorted, double part) {
    return sorted[static_cast<std::size_t>(part * static_cast<double>(sorted.size() - 1))];
}

const mahtrt::Kernels* kernels_named(const char* name) {
    for (const mahtrt::Kernels* const* set = mahtrt::all_kernels(); *set != nullptr; ++set)
        if (std::strcmp((*set)->name, name) == 0) return *set;
    return nullptr;
}

void print(const char* kernels, int rounds, std::vector<Case>& all) {
    std::printf(
        "{\"image\": \"1935x2400\", \"input\": \"512x512\", \"kernels\": \"%s\", "
        "\"rounds\": %d, \"cases\": {",
        kernels, rounds);
    const char* separator = "";
    for (Case& each : all) {
        std::sort(each.times_ms.begin(), each.times_ms.end());
        std::sort(each.cpu_ms.begin(), each.cpu_ms.end());
        std::printf(
            "%s\"%s\": {\"p50_ms\": %.3f, \"p90_ms\": %.3f, \"p99_ms\": %.3f, "
            "\"cpu_p50_ms\": %.3f}",
            separator, each.name, percentile(each.times_ms, 0.5), percentile(each.times_ms, 0.9),
            percentile(each.times_ms, 0.99), percentile(each.cpu_ms, 0.5));
        separator = ", ";
    }
    std::printf("}}\n");
}

}  // namespace

int main(int count, char** arguments) {
    const int rounds = count > 1 ? std::atoi(arguments[1]) : 50;
    const mahtrt::Kernels* with = count > 2 ? kernels_named(arguments[2]) : &mahtrt::kernels();
    if (rounds < 1 || with == nullptr) {
        std::fprintf(stderr, "bench_prepare [ROUNDS [portable | avx2]]\n");
        return 2;
    }
    mahtrt_tests::Generator random(1);
    std::vector<mahtrt_tests::RandomImage> images;
    for (std::int32_t format = 0; format <= MAHTRT_BGRX8; ++format)
        images.emplace_back(random, 1935, 2400, format);
    std::vector<float> tensor(3 * 512 * 512);
    std::vector<Case> all = cases();
    for (int round = 0; round < rounds; ++round)
        for (Case& each : all)
            measure(*with, each, images[static_cast<std::size_t>(each.format)].image,
                    tensor.data());
    print(with->name, rounds, all);
    return 0;
}
