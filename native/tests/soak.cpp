// Runs a bundle over and over, to see that nothing grows: soak BUNDLE RUNS [ENGINE [THREADS]].
// Prints one line of JSON: runs, latencies in ms, and resident memory in KiB at the start (behind
// a hundredth of the runs), in the middle and at the end. Measures; no test.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "mahtrt.h"

namespace {

using Clock = std::chrono::steady_clock;

long resident_kib() {
    std::FILE* file = std::fopen("/proc/self/statm", "re");
    if (file == nullptr) return -1;
    long total = 0, resident = 0;
    const int read = std::fscanf(file, "%ld %ld", &total, &resident);
    std::fclose(file);
    return read == 2 ? resident * 4 : -1;
}

[[noreturn]] void give_up(const char* doing) {
    std::fprintf(stderr, "%s: %s\n", doing, mahtrt_last_error());
    std::exit(1);
}

// A gray ramp of 512x512 pixels, another one for each input.
struct Case {
    std::vector<unsigned char> pixels;
    std::vector<mahtrt_image> images;

    explicit Case(std::size_t inputs) : pixels(512 * 512), images(inputs) {
        for (std::size_t i = 0; i < pixels.size(); ++i)
            pixels[i] = static_cast<unsigned char>((i % 512 + i / 512) / 4);
        for (mahtrt_image& each : images) {
            mahtrt_image_init(&each, sizeof each);
            each.data = pixels.data();
            each.width = each.height = 512;
        }
    }
};

struct Progress {
    std::atomic<long> done{0};
    long start_kib = 0, middle_kib = 0;
};

void work(mahtrt_session* session, long runs, Progress& progress, std::vector<float>& ms) {
    const Case one(mahtrt_input_count(session));
    std::vector<mahtrt_landmark> found(std::max<std::size_t>(1, mahtrt_landmark_count(session)));
    for (long mine = 0;; ++mine) {
        const long number = progress.done.fetch_add(1);
        if (number >= runs) return;
        if (number == runs / 100) progress.start_kib = resident_kib();
        if (number == runs / 2) progress.middle_kib = resident_kib();
        const auto before = Clock::now();
        if (mahtrt_run_batch(session, one.images.data(), one.images.size(), found.data(),
                             sizeof found[0], found.size(), nullptr, 0) != MAHTRT_OK)
            give_up("running");
        const std::chrono::duration<float, std::milli> took = Clock::now() - before;
        if (ms.size() < 100000) ms.push_back(took.count());
    }
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 3) {
        std::fprintf(stderr, "usage: soak BUNDLE RUNS [ENGINE [THREADS]]\n");
        return 2;
    }
    const long runs = std::atol(argv[2]);
    const int threads = argc > 4 ? std::atoi(argv[4]) : 1;
    mahtrt_options options;
    mahtrt_options_init(&options, sizeof options);
    if (argc > 3) options.engine = argv[3];
    if (threads > 1) options.threads = 1;
    mahtrt_session* session = nullptr;
    const auto before = Clock::now();
    if (mahtrt_open(argv[1], &options, &session) != MAHTRT_OK) give_up("opening");
    const std::chrono::duration<double> opened = Clock::now() - before;

    Progress progress;
    std::vector<std::vector<float>> times(static_cast<std::size_t>(threads));
    std::vector<std::thread> workers;
    for (auto& each : times)
        workers.emplace_back([&] { work(session, runs, progress, each); });
    for (std::thread& each : workers) each.join();

    std::vector<float> ms;
    for (const auto& each : times) ms.insert(ms.end(), each.begin(), each.end());
    std::sort(ms.begin(), ms.end());
    const auto rank = [&](double share) {
        return double{ms[static_cast<std::size_t>(share * static_cast<double>(ms.size() - 1))]};
    };
    std::printf("{\"engine\": \"%s\", \"runs\": %ld, \"threads\": %d, \"open_s\": %.3f, "
                "\"p50_ms\": %.3f, \"p90_ms\": %.3f, \"p99_ms\": %.3f, \"start_kib\": %ld, "
                "\"middle_kib\": %ld, \"end_kib\": %ld}\n",
                mahtrt_engine_name(session), runs, threads, opened.count(), rank(0.5), rank(0.9),
                rank(0.99), progress.start_kib, progress.middle_kib, resident_kib());
    return mahtrt_close(session) == MAHTRT_OK ? 0 : 1;
}
