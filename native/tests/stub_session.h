// Sessions on the stand-in for OpenVINO, for tests.
#pragma once

#include <dlfcn.h>

#include <cstring>
#include <string>
#include <vector>

#include "check.h"
#include "mahtrt.h"

namespace stub {

// The counters of the stand-in that the library has loaded.
struct Counters {
    long (*live_objects)() = nullptr;
    long (*calls)() = nullptr;
    void (*fail_at)(long) = nullptr;

    Counters() {
        void* library = dlopen(STUB_FOLDER "/libopenvino_c.so.2641", RTLD_NOW);
        CHECK(library != nullptr);
        live_objects = reinterpret_cast<long (*)()>(dlsym(library, "stub_live_objects"));
        calls = reinterpret_cast<long (*)()>(dlsym(library, "stub_calls"));
        fail_at = reinterpret_cast<void (*)(long)>(dlsym(library, "stub_fail_at"));
        CHECK(live_objects != nullptr && calls != nullptr && fail_at != nullptr);
    }
};

inline mahtrt_options options(const char* engine = nullptr) {
    mahtrt_options wanted;
    mahtrt_options_init(&wanted, sizeof wanted);
    wanted.engine = engine;
    wanted.runtime_dir = STUB_FOLDER;
    return wanted;
}

inline mahtrt_session* opened(const char* engine = nullptr) {
    const mahtrt_options wanted = options(engine);
    mahtrt_session* session = nullptr;
    const mahtrt_status status = mahtrt_open(STUB_BUNDLE, &wanted, &session);
    if (status != MAHTRT_OK) std::fprintf(stderr, "%s\n", mahtrt_last_error());
    CHECK_EQUAL(status, MAHTRT_OK);
    return session;
}

// A case of the stub's network: 8x8 and 4x4 pixels of one grey level each.
struct Images {
    std::vector<unsigned char> first, second;
    mahtrt_image pair[2];

    explicit Images(unsigned char level) : first(64, level), second(16, level) {
        for (mahtrt_image& each : pair) mahtrt_image_init(&each, sizeof each);
        pair[0].data = first.data();
        pair[0].width = pair[0].height = 8;
        pair[1].data = second.data();
        pair[1].width = pair[1].height = 4;
    }
};

inline mahtrt_status run_pair(mahtrt_session* session, const mahtrt_image* pair,
                              mahtrt_landmark* found, std::size_t landmark_size,
                              std::size_t capacity) {
    return mahtrt_run_batch(session, pair, 2, found, landmark_size, capacity, nullptr, 0);
}

}  // namespace stub
