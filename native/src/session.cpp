#include "session.h"

#include <algorithm>
#include <utility>

#include "choice.h"
#include "error.h"
#include "machine.h"
#include "status.h"

namespace mahtrt {
namespace {

constexpr char kSaturates[] =
    "Its INT8 weights use 8 bits, and this CPU has no VNNI: sums can saturate and move landmarks. "
    "Compare them with mahtrt_replay, or build with --weight-bits 7.";
constexpr std::int64_t kExactBits = 7;  // of weights, where sums of products saturate

// What to tell of weights with more bits than this CPU multiplies exactly.
std::string doubt_int8(const Manifest& manifest, const EngineRecord& record, bool gpu) {
    if (gpu || has_int8_dot_products()) return "";
    for (const auto& [role, path] : record.files) {
        const auto bits = manifest.weight_bits.find(path);
        if (bits != manifest.weight_bits.end() && bits->second > kExactBits) return kSaturates;
    }
    return "";
}

std::string doubt_pixels(const Manifest& manifest) {
    if (manifest.preprocess_version == kPreprocessVersion) return "";
    return "The bundle was measured with version " + std::to_string(manifest.preprocess_version) +
           " of the preprocessing; this library prepares images by version " +
           std::to_string(kPreprocessVersion) +
           ", whose pixels can differ by one grey level. Build the bundle again.";
}

std::string told_verdict(const EngineRecord& record) {
    if (record.passed.value_or(true)) return "";
    std::string reasons;
    for (const std::string& each : record.reasons) reasons += (reasons.empty() ? "" : "; ") + each;
    return record.name + " did not pass its accuracy gate: " +
           (reasons.empty() ? "no reason was kept" : reasons) + ".";
}

std::vector<LandmarkAccuracy> usual_of(const EngineRecord& record) {
    return record.accuracy ? record.accuracy->per_landmark : std::vector<LandmarkAccuracy>{};
}

template <typename Infos>
std::size_t number_by_name(const Infos& infos, const std::string& name, const char* what) {
    std::string known;
    for (std::size_t i = 0; i < infos.size(); ++i) {
        if (infos[i].name == name) return i;
        known += (i == 0 ? "" : ", ") + infos[i].name;
    }
    refuse(std::string(what) + " " + quoted(name), "no such one", "one of " + known);
}

}  // namespace

// A request of the pool, or a new one where all are in use; goes back at the end, unless an
// inference with it failed.
class Session::Borrowed {
  public:
    explicit Borrowed(Session& session) : session_(session) {
        {
            const std::lock_guard<std::mutex> lock(session.mutex_);
            if (!session.free_.empty()) {
                request_ = std::move(session.free_.back());
                session.free_.pop_back();
            }
        }
        if (request_ == nullptr) request_ = session.engine_->make_request();
    }

    void give_back() {
        const std::lock_guard<std::mutex> lock(session_.mutex_);
        session_.free_.push_back(std::move(request_));
    }

    Request* operator->() const noexcept { return request_.get(); }

  private:
    Session& session_;
    std::unique_ptr<Request> request_;
};

Session::Session(Bundle bundle, const EngineRecord& record)
    : bundle_(std::move(bundle)), record_(record) {}

Session::~Session() = default;

std::shared_ptr<Session> Session::open(const std::string& path, const OpenOptions& options) {
    Bundle bundle = Bundle::open(path);
    const Choice choice = choose_engine(bundle, options);
    std::shared_ptr<Session> session(new Session(std::move(bundle), *choice.record));
    const EngineToOpen wanted{session->bundle_, session->record_, options.runtime_dir,
                              options.threads,  options.device,   options.stream,
                              options.check};
    session->engine_ = choice.backend->open(wanted);
    session->decoder_ = std::make_unique<Decoder>(session->spec(), session->outputs(),
                                                  usual_of(session->record_));
    session->device_ = session->engine_->device();
    session->runtime_path_ = session->engine_->runtime_path();
    const Manifest& manifest = session->bundle_.manifest();
    auto& notes = session->notes_;
    notes = {choice.note, told_verdict(session->record_),
             doubt_int8(manifest, session->record_, choice.backend->gpu), doubt_pixels(manifest)};
    notes.erase(std::remove(notes.begin(), notes.end(), ""), notes.end());
    notes.insert(notes.end(), session->record_.notes.begin(), session->record_.notes.end());
    const auto& here = session->engine_->notes();
    notes.insert(notes.end(), here.begin(), here.end());
    return session;
}

std::size_t Session::output_number(const std::string& name) const {
    return number_by_name(engine_->outputs(), name, "output");
}

std::size_t Session::input_number(const std::string& name) const {
    return number_by_name(engine_->inputs(), name, "input");
}

std::vector<mahtrt_landmark> Session::run(const std::vector<Case>& cases,
                                          const std::vector<Wanted>& wanted) {
    std::vector<mahtrt_landmark> landmarks(cases.size() * decoder_->landmarks());
    for (std::size_t start = 0; start < cases.size(); start += batch())
        run_chunk(&cases[start], std::min(batch(), cases.size() - start), start, wanted,
                  landmarks.data() + start * decoder_->landmarks());
    return landmarks;
}

void Session::run_chunk(const Case* cases, std::size_t count, std::size_t start,
                        const std::vector<Wanted>& wanted, mahtrt_landmark* landmarks) {
    Borrowed request(*this);
    std::vector<Placement> placements;
    for (std::size_t i = 0; i < spec().inputs.size(); ++i) {
        const std::size_t floats = inputs()[i].floats() / batch();
        float* tensor = request->input(i);
        for (std::size_t c = 0; c < count; ++c) {
            const Placement placement =
                prepare(spec().inputs[i], cases[c].images[i], tensor + c * floats);
            if (i == 0) placements.push_back(placement);
        }
        std::fill(tensor + count * floats, tensor + batch() * floats, 0.0F);
    }
    request->infer();
    std::vector<const float*> values(outputs().size());
    for (const std::size_t number : decoder_->needed()) values[number] = request->output(number);
    for (std::size_t c = 0; c < count; ++c) {
        decoder_->decode(values, placements[c], cases[c].spacing,
                         landmarks + c * decoder_->landmarks());
        for (const std::size_t number : decoder_->needed())
            values[number] += outputs()[number].floats() / batch();
    }
    for (const Wanted& each : wanted) {
        const std::size_t floats = outputs()[each.output].floats() / batch();
        std::copy_n(request->output(each.output), count * floats, each.data + start * floats);
    }
    request.give_back();
}

void Session::infer(const std::vector<const float*>& tensors,
                    const std::vector<float*>& wanted) {
    Borrowed request(*this);
    for (std::size_t i = 0; i < tensors.size(); ++i)
        std::copy_n(tensors[i], inputs()[i].floats(), request->input(i));
    request->infer();
    for (std::size_t i = 0; i < wanted.size(); ++i)
        if (wanted[i] != nullptr)
            std::copy_n(request->output(i), outputs()[i].floats(), wanted[i]);
    request.give_back();
}

}  // namespace mahtrt
