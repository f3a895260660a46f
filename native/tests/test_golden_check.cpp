// Golden vectors that are refused by what the manifest says of them.
#include <string>

#include "check.h"
#include "error.h"
#include "golden_check.h"

using namespace mahtrt;

namespace {

// Two inputs, a map and labels; one vector that fits.
Manifest whole() {
    Manifest manifest;
    manifest.spec.inputs.resize(2);
    manifest.spec.outputs = {{"map", OutputKind::kMap, Frame::kNone, {}, 0.5},
                             {"labels", OutputKind::kLogits, Frame::kNone, {}, 0.5}};
    manifest.spec.landmarks = {"a", "b"};
    manifest.spec.decode.method = DecodeMethod::kSoftArgmax;
    GoldenImage vector;
    vector.name = "first";
    vector.points = "0.f32";
    vector.picture = {"0.png", {20, 30, 3}, true};
    vector.others = {{"0-1.png", {20, 30}, false}};
    vector.outputs = {{"map", "map.f32", {1, 4, 5}, 2}, {"labels", "labels.f32", {7}, 1}};
    manifest.golden = {vector};
    manifest.files = {{"0.f32", "", 16},
                      {"0.png", "", 3000},
                      {"0-1.png", "", 500},
                      {"map.f32", "", 80},
                      {"labels.f32", "", 28}};
    return manifest;
}

template <class Change>
void check_refused(Change change, const std::string& part) {
    Manifest manifest = whole();
    change(manifest, manifest.golden[0]);
    CHECK_REFUSED(check_golden(manifest), MAHTRT_INTEGRITY, part);
}

void check_pictures() {
    check_refused([](auto&, auto& v) { v.others.clear(); }, "one for each input, 2");
    check_refused([](auto&, auto& v) { v.picture.shape = {20}; }, "a shape of 1 sizes");
    check_refused([](auto&, auto& v) { v.picture.shape = {20, 30, 4}; }, "(rows, columns, 3)");
    check_refused([](auto&, auto& v) { v.picture.shape = {32768, 2}; }, "32767 on a side");
    check_refused([](auto&, auto& v) { v.picture.shape = {8193, 8193}; }, "67108864");
    check_refused([](auto& m, auto&) { m.files[1].size = 15433; }, "at most 15432");
    check_refused(
        [](auto& m, auto& v) {
            v.picture.shape = {8192, 8192, 3};
            m.golden.push_back(v);  // 2 images of 402,653,184 bytes
        },
        "603979776");
}

void check_values() {
    check_refused([](auto&, auto& v) { v.outputs[0].name = "labels"; }, "an output of 3 sizes");
    check_refused([](auto&, auto& v) { v.outputs[0].name = "other"; }, "of the spec");
    check_refused([](auto&, auto& v) { v.outputs[1].step = 2; }, "of the spec");
    check_refused([](auto& m, auto&) { m.files[4].size = 24; }, "got 24 bytes, expected 28");
    check_refused([](auto& m, auto&) { m.files[0].size = 24; }, "landmarks of 24 bytes");
    check_refused(
        [](auto& m, auto& v) {
            v.outputs[0].shape = {65536, 65536, 65536};
            m.files[3].size = std::uint64_t{1} << 50;
        },
        "outputs of");
}

}  // namespace

int main() {
    check_golden(whole());
    check_pictures();
    check_values();
    return 0;
}
