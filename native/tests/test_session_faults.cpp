// Every call of the runtime that can fail does so once: the caller gets a status, and nothing is
// left behind.
#include "stub_session.h"

namespace {

// Opens, runs and closes; the first status that is not MAHTRT_OK.
mahtrt_status whole_life() {
    const mahtrt_options options = stub::options("openvino-fp32");
    mahtrt_session* session = nullptr;
    mahtrt_status status = mahtrt_open(STUB_BUNDLE, &options, &session);
    CHECK((session != nullptr) == (status == MAHTRT_OK));
    if (status != MAHTRT_OK) return status;
    const stub::Images images(255);
    mahtrt_landmark found[2];
    status = stub::run_pair(session, images.pair, found, sizeof found[0], 2);
    CHECK_EQUAL(mahtrt_close(session), MAHTRT_OK);
    return status;
}

}  // namespace

int main() {
    const stub::Counters counters;
    CHECK_EQUAL(whole_life(), MAHTRT_OK);  // loads the runtime and makes its core
    CHECK_EQUAL(counters.live_objects(), 1L);
    counters.fail_at(0);
    CHECK_EQUAL(whole_life(), MAHTRT_OK);
    const long calls = counters.calls();
    CHECK(calls > 20);
    for (long call = 1; call <= calls; ++call) {
        counters.fail_at(call);
        CHECK_EQUAL(whole_life(), MAHTRT_FAILED);
        CHECK(std::strstr(mahtrt_last_error(), "the stub was told to fail") != nullptr);
        CHECK_EQUAL(counters.live_objects(), 1L);
    }
    return 0;
}
