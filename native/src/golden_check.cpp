#include "golden_check.h"

#include <algorithm>

#include "error.h"

namespace mahtrt {
namespace {

constexpr std::uint64_t kMostPixels = std::uint64_t{1} << 26;
constexpr std::uint64_t kMostSamples = 9 * kMostPixels;         // bytes, of all vectors together
constexpr std::uint64_t kMostOutputs = std::uint64_t{2} << 20;  // bytes, of a vector
constexpr std::int64_t kMostSide = 32767;

[[noreturn]] void refuse(const std::string& name, const std::string& got,
                         const std::string& expected) {
    throw Error(MAHTRT_INTEGRITY, sentence("golden vector " + quoted(name), got, expected,
                                           "Build the bundle again, or copy it again from where "
                                           "it was whole."));
}

std::uint64_t listed_size(const Manifest& manifest, const std::string& path) {
    const FileRecord* file = manifest.file(path);
    return file == nullptr ? 0 : file->size;
}

// Bytes of the samples, which a PNG may pack but hardly lengthen.
std::uint64_t check_picture(const Manifest& manifest, const GoldenPicture& picture) {
    const auto& shape = picture.shape;
    if (shape.size() < 2 || shape.size() > 3 || (shape.size() == 3 && shape[2] != 3))
        refuse(picture.image, "a shape of " + std::to_string(shape.size()) + " sizes",
               "(rows, columns) or (rows, columns, 3)");
    const auto pixels = static_cast<std::uint64_t>(shape[0] * shape[1]);
    if (std::max(shape[0], shape[1]) > kMostSide || pixels > kMostPixels)
        refuse(picture.image, std::to_string(shape[1]) + "x" + std::to_string(shape[0]) + " pixels",
               "at most " + std::to_string(kMostPixels) + ", and " + std::to_string(kMostSide) +
                   " on a side");
    const std::uint64_t samples = pixels * (shape.size() == 3 ? 3 : 1) * (picture.wide ? 2 : 1);
    const std::uint64_t most = 2 * (samples + static_cast<std::uint64_t>(shape[0]) + 4096);
    const std::uint64_t size = listed_size(manifest, picture.image);
    if (size > most)
        refuse(picture.image, "a PNG file of " + std::to_string(size) + " bytes",
               "at most " + std::to_string(most) + " for the image");
    return samples;
}

std::uint64_t check_output(const Manifest& manifest, const GoldenOutput& output) {
    const auto& outputs = manifest.spec.outputs;
    const auto spec = std::find_if(outputs.begin(), outputs.end(),
                                   [&](const auto& each) { return each.name == output.name; });
    const bool map = spec != outputs.end() && spec->kind == OutputKind::kMap;
    const bool flat = spec != outputs.end() &&
                      (spec->kind == OutputKind::kLogits || spec->kind == OutputKind::kVisibility);
    if (!(map && output.shape.size() == 3) &&
        !(flat && output.shape.size() == 1 && output.step == 1))
        refuse(output.name, "an output of " + std::to_string(output.shape.size()) + " sizes",
               "a map (C, h, w), or logits or visibility (n), of the spec");
    std::uint64_t bytes = sizeof(float);
    for (const std::int64_t each : output.shape) bytes *= static_cast<std::uint64_t>(each);
    const std::uint64_t size = listed_size(manifest, output.file);
    if (size != bytes) refuse(output.name, std::to_string(size) + " bytes", std::to_string(bytes));
    return bytes;
}

void check_vector(const Manifest& manifest, const GoldenImage& vector, std::uint64_t& samples) {
    if (vector.others.size() + 1 != manifest.spec.inputs.size())
        refuse(vector.name, std::to_string(vector.others.size() + 1) + " image(s)",
               "one for each input, " + std::to_string(manifest.spec.inputs.size()));
    samples += check_picture(manifest, vector.picture);
    for (const GoldenPicture& other : vector.others) samples += check_picture(manifest, other);
    if (samples > kMostSamples)
        refuse(vector.name, "images of more than " + std::to_string(kMostSamples) + " bytes",
               "no more of all vectors together");
    std::uint64_t kept = 0;
    for (const GoldenOutput& output : vector.outputs) {
        kept += check_output(manifest, output);
        if (kept > kMostOutputs)
            refuse(vector.name, "outputs of " + std::to_string(kept) + " bytes",
                   "at most " + std::to_string(kMostOutputs));
    }
    const bool points = manifest.spec.decode.method != DecodeMethod::kNone;
    const std::size_t wanted = points ? 8 * manifest.spec.landmarks.size() : 0;
    const std::uint64_t size = listed_size(manifest, vector.points);
    if (size != wanted)
        refuse(vector.name, "landmarks of " + std::to_string(size) + " bytes",
               std::to_string(wanted));
}

}  // namespace

void check_golden(const Manifest& manifest) {
    std::uint64_t samples = 0;
    for (const GoldenImage& vector : manifest.golden) check_vector(manifest, vector, samples);
}

}  // namespace mahtrt
