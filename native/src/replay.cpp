#include "replay.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "error.h"
#include "golden_check.h"
#include "png.h"
#include "prepare.h"
#include "ssim.h"
#include "verify_limits.h"

namespace mahtrt {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr char kRebuild[] = "Build the bundle again.";

// An image of a golden vector, unpacked.
struct Picture {
    std::vector<unsigned char> pixels;
    Image image;
};

[[noreturn]] void refuse_file(const std::string& path, const std::string& got,
                              const std::string& expected) {
    throw Error(MAHTRT_INTEGRITY, sentence("golden file " + quoted(path), got, expected, kRebuild));
}

Picture read_picture(const Bundle& bundle, const GoldenPicture& record) {
    const Content file = bundle.read(record.image, true);
    Picture picture;
    try {
        const PngHeader header = read_png_header(file.data(), file.size());
        const std::vector<std::int64_t> shape =
            header.rgb ? std::vector<std::int64_t>{header.height, header.width, 3}
                       : std::vector<std::int64_t>{header.height, header.width};
        if (shape != record.shape || header.wide != record.wide)
            refuse_file(record.image, "another size or type", "what the manifest says");
        picture.pixels.resize(header.bytes());
        read_png(file.data(), file.size(), header, picture.pixels.data());
        picture.image = {picture.pixels.data(), header.row_bytes(), header.width, header.height,
                         header.rgb ? 3 : 1,    header.wide,        false};
    } catch (const Error& error) {
        if (error.status() != MAHTRT_BAD_IMAGE) throw;
        refuse_file(record.image, error.what(), "the PNG that was written");
    }
    return picture;
}

// Little-endian floats, exactly so many.
std::vector<float> read_floats(const Bundle& bundle, const std::string& path, std::size_t count) {
    const Content file = bundle.read(path, true);
    if (file.size() != count * sizeof(float))
        refuse_file(path, std::to_string(file.size()) + " bytes",
                    std::to_string(count * sizeof(float)));
    std::vector<float> values(count);
    for (std::size_t i = 0; i < count; ++i) {
        const unsigned char* byte = file.data() + 4 * i;
        const std::uint32_t bits = std::uint32_t{byte[0]} | std::uint32_t{byte[1]} << 8U |
                                   std::uint32_t{byte[2]} << 16U | std::uint32_t{byte[3]} << 24U;
        std::memcpy(&values[i], &bits, sizeof bits);
    }
    return values;
}

// Displacements of landmarks over all vectors.
class Displacements {
  public:
    explicit Displacements(std::size_t landmarks) : sums_px_(landmarks) {}

    void add(const mahtrt_landmark* found, const std::vector<float>& wanted,
             const Placement& placement, const Spacing& spacing) {
        for (std::size_t k = 0; k < sums_px_.size(); ++k) {
            const double dx = double{found[k].x_px} - double{wanted[2 * k]};
            const double dy = double{found[k].y_px} - double{wanted[2 * k + 1]};
            double moved = std::hypot(dx * placement.scale_x, dy * placement.scale_y);
            if (!std::isfinite(moved)) moved = kInfinity;
            sums_px_[k] += moved;
            max_px_ = std::max(max_px_, moved);
            if (spacing.known()) {
                sum_mm_ += std::hypot(dx * spacing.column_mm, dy * spacing.row_mm);
                ++points_mm_;
            }
        }
        ++images_;
    }

    void into(Found& found) const {
        found.landmarks = !sums_px_.empty();
        if (!found.landmarks) return;
        double sum = 0;
        for (const double each : sums_px_) sum += each;
        found.mean_px = sum / (images_ * static_cast<double>(sums_px_.size()));
        found.worst_landmark_px = *std::max_element(sums_px_.begin(), sums_px_.end()) / images_;
        found.max_px = max_px_;
        found.has_length = points_mm_ > 0;
        if (found.has_length) found.mean_mm = sum_mm_ / points_mm_;
    }

  private:
    std::vector<double> sums_px_;
    double max_px_ = 0, sum_mm_ = 0, points_mm_ = 0, images_ = 0;
};

// One map, logits or visibility over all vectors.
class OutputTally {
  public:
    OutputTally(const OutputSpec& spec, const TensorInfo& info) : info_(info) {
        found_.name = spec.name;
        found_.kind = spec.kind;
        // A threshold on the sigmoid is one on the logit, which nothing rounds to 0 or 1.
        threshold_ = spec.kind == OutputKind::kLogits
                         ? std::log(spec.threshold / (1 - spec.threshold))
                         : spec.threshold;
    }

    // values: the engine's of one case. kept: the reference's, of `record.shape`.
    void add(const float* values, const std::vector<float>& kept, const GoldenOutput& record) {
        const std::vector<double> ours = found_.kind == OutputKind::kMap
                                             ? at_places(values, record)
                                             : std::vector<double>(values, values + kept.size());
        const std::vector<double> theirs(kept.begin(), kept.end());
        const double span = found_.kind == OutputKind::kMap ? span_of(theirs) : 1;
        bool finite = true;
        for (std::size_t i = 0; i < ours.size(); ++i) {
            const bool both = std::isfinite(ours[i]) && std::isfinite(theirs[i]);
            const double apart = both ? std::fabs(ours[i] - theirs[i]) / span : kInfinity;
            sum_ += apart;
            found_.max = std::max(found_.max, apart);
            finite = finite && both;
            found_.disagreements += !(both && (ours[i] >= threshold_) == (theirs[i] >= threshold_));
        }
        found_.decisions += static_cast<long>(ours.size());
        if (found_.kind == OutputKind::kMap) add_similarity(ours, theirs, record, span, finite);
    }

    FoundOutput result() const {
        FoundOutput found = found_;
        found.mean = sum_ / static_cast<double>(found.decisions);
        if (found.kind == OutputKind::kMap)
            found.ssim = std::isfinite(found.max) ? similarity_ / vectors_ : -1.0;
        return found;
    }

  private:
    // The engine's map (C, h, w) at the rows and columns that are kept.
    std::vector<double> at_places(const float* map, const GoldenOutput& record) const {
        const std::size_t rank = info_.shape.size();
        if (rank < 3 || info_.floats() == 0)
            throw Error(MAHTRT_FAILED, sentence("output " + quoted(info_.name),
                                                std::to_string(rank) + " dimensions",
                                                "a map with a batch, rows and columns"));
        const auto rows = info_.shape[rank - 2], columns = info_.shape[rank - 1];
        const auto channels =
            static_cast<std::int64_t>(info_.floats()) / (info_.shape[0] * rows * columns);
        const auto kept = [&](std::int64_t length) {
            return (length + record.step - 1) / record.step;
        };
        if (record.shape != std::vector<std::int64_t>{channels, kept(rows), kept(columns)})
            refuse_file(record.file, "another shape of a map", "that of the engine's output");
        std::vector<double> values;
        for (std::int64_t c = 0; c < channels; ++c)
            for (std::int64_t y = 0; y < rows; y += record.step)
                for (std::int64_t x = 0; x < columns; x += record.step)
                    values.push_back(double{map[(c * rows + y) * columns + x]});
        return values;
    }

    static double span_of(const std::vector<double>& values) {
        double least = kInfinity, most = -kInfinity;
        for (const double each : values) {
            if (!std::isfinite(each)) continue;
            least = std::min(least, each);
            most = std::max(most, each);
        }
        return most >= least ? std::max(1.0, most - least) : 1.0;
    }

    void add_similarity(const std::vector<double>& ours, const std::vector<double>& theirs,
                        const GoldenOutput& record, double span, bool finite) {
        vectors_ += 1;
        if (!finite) return;  // the result is -1 then
        const auto channels = static_cast<std::size_t>(record.shape[0]);
        const auto rows = static_cast<std::size_t>(record.shape[1]);
        const auto columns = static_cast<std::size_t>(record.shape[2]);
        double sum = 0;
        for (std::size_t c = 0; c < channels; ++c) {
            const auto begin = static_cast<std::ptrdiff_t>(c * rows * columns);
            const auto end = static_cast<std::ptrdiff_t>((c + 1) * rows * columns);
            sum +=
                mahtrt::ssim({ours.begin() + begin, ours.begin() + end},
                             {theirs.begin() + begin, theirs.begin() + end}, rows, columns, span);
        }
        similarity_ += sum / static_cast<double>(channels);
    }

    const TensorInfo& info_;
    FoundOutput found_;
    double threshold_ = 0, sum_ = 0, similarity_ = 0, vectors_ = 0;
};

// Outputs that every vector keeps, by their numbers.
std::vector<std::size_t> kept_outputs(const Session& session,
                                      const std::vector<GoldenImage>& golden) {
    std::vector<std::size_t> numbers;
    for (const GoldenOutput& first : golden.front().outputs) {
        const bool in_all = std::all_of(golden.begin(), golden.end(), [&](const GoldenImage& each) {
            return std::any_of(each.outputs.begin(), each.outputs.end(),
                               [&](const GoldenOutput& o) { return o.name == first.name; });
        });
        if (in_all) numbers.push_back(session.output_number(first.name));
    }
    return numbers;
}

std::size_t floats_of(const std::vector<std::int64_t>& shape) {
    std::size_t count = 1;
    for (const std::int64_t each : shape) count *= static_cast<std::size_t>(each);
    return count;
}

class Replayer {
  public:
    explicit Replayer(Session& session)
        : session_(session),
          golden_(session.bundle().manifest().golden),
          displacements_(session.decoder().landmarks()) {
        if (golden_.empty())
            throw Error(MAHTRT_FAILED, sentence("bundle " + quoted(session.bundle().path()),
                                                "no golden images", "some to replay"));
        check_golden(session.bundle().manifest());
        for (const std::size_t number : kept_outputs(session, golden_)) {
            numbers_.push_back(number);
            tallies_.emplace_back(session.spec().outputs[number], session.outputs()[number]);
        }
    }

    Found run() {
        for (const GoldenImage& each : golden_) add(each);
        Found found;
        displacements_.into(found);
        for (const OutputTally& each : tallies_) found.outputs.push_back(each.result());
        return found;
    }

  private:
    void add(const GoldenImage& vector) {
        std::vector<Picture> pictures;
        pictures.push_back(read_picture(session_.bundle(), vector.picture));
        for (const GoldenPicture& each : vector.others)
            pictures.push_back(read_picture(session_.bundle(), each));
        if (pictures.size() != session_.spec().inputs.size())
            refuse_file(vector.picture.image, std::to_string(pictures.size()) + " images",
                        "one for each input");
        Case one;
        for (const Picture& each : pictures) one.images.push_back(each.image);
        if (vector.spacing_row_mm && vector.spacing_column_mm)
            one.spacing = {*vector.spacing_row_mm, *vector.spacing_column_mm};
        std::vector<std::vector<float>> outputs;
        for (const std::size_t number : numbers_)
            outputs.emplace_back(session_.outputs()[number].floats() / session_.batch());
        std::vector<Wanted> wanted;
        for (std::size_t i = 0; i < numbers_.size(); ++i)
            wanted.push_back({numbers_[i], outputs[i].data()});
        const auto landmarks = session_.run({one}, wanted);
        compare(vector, one, landmarks, outputs);
    }

    void compare(const GoldenImage& vector, const Case& one,
                 const std::vector<mahtrt_landmark>& landmarks,
                 const std::vector<std::vector<float>>& outputs) {
        const auto points = read_floats(session_.bundle(), vector.points, 2 * landmarks.size());
        if (!landmarks.empty())
            displacements_.add(landmarks.data(), points,
                               placement_of(session_.spec().inputs[0], one.images[0]), one.spacing);
        for (std::size_t i = 0; i < numbers_.size(); ++i) {
            const std::string& name = session_.outputs()[numbers_[i]].name;
            const auto kept = std::find_if(vector.outputs.begin(), vector.outputs.end(),
                                           [&](const GoldenOutput& o) { return o.name == name; });
            const std::size_t count = floats_of(kept->shape);
            if (count > outputs[i].size())
                refuse_file(kept->file, "more values than the output has", "as many");
            tallies_[i].add(outputs[i].data(), read_floats(session_.bundle(), kept->file, count),
                            *kept);
        }
    }

    Session& session_;
    const std::vector<GoldenImage>& golden_;
    Displacements displacements_;
    std::vector<std::size_t> numbers_;
    std::vector<OutputTally> tallies_;
};

}  // namespace

Replay replay(Session& session) {
    const Found found = Replayer(session).run();
    Replay result;
    result.worst_px = found.landmarks ? found.max_px : std::numeric_limits<double>::quiet_NaN();
    const Manifest& manifest = session.bundle().manifest();
    result.over = over_limits(found, manifest, session.record());
    result.advice = manifest.preprocess_version == kPreprocessVersion
                        ? "Compile it for this machine: mahtrt compile BUNDLE."
                        : "It was measured with another version of the preprocessing: build the "
                          "bundle again.";
    return result;
}

}  // namespace mahtrt
