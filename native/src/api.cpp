// The functions of mahtrt.h that open, close and tell what a session is.
#include <string>
#include <utility>

#include "registry.h"
#include "replay.h"
#include "status.h"

using mahtrt::given;
using mahtrt::guarded;
using mahtrt::refuse;
using mahtrt::Registry;
using mahtrt::Session;

namespace {

// Calls a function with the open session. Not a template: each copy would bring its own handlers.
void with_session(const mahtrt_session* handle, void (*work)(Session&, void*),
                  void* context) noexcept {
    guarded([&] { work(*Registry::get().need(handle), context); });
}

// A text or number of a session; what is missing where there is no such session.
template <typename Value, typename Work>
Value of_session(const mahtrt_session* handle, Value missing, Work work) noexcept {
    struct Context {
        Work& work;
        Value value;
    } context{work, missing};
    with_session(
        handle,
        [](Session& open, void* any) {
            auto& asked = *static_cast<Context*>(any);
            asked.value = asked.work(open);
        },
        &context);
    return context.value;
}

[[noreturn]] void refuse_number(const char* what, std::size_t number, std::size_t count) {
    refuse(what, "number " + std::to_string(number), "one below " + std::to_string(count));
}

template <typename Things>
const auto& at(const Things& things, std::size_t number, const char* what) {
    if (number >= things.size()) refuse_number(what, number, things.size());
    return things[number];
}

mahtrt::OpenOptions checked_options(const mahtrt_options* options) {
    mahtrt::OpenOptions wanted;
    if (options == nullptr) return wanted;
    const mahtrt_options given = mahtrt::taken(options, "options");
    if (given.require < MAHTRT_ANY || given.require > MAHTRT_GPU)
        refuse("options.require", std::to_string(given.require),
               "MAHTRT_ANY, MAHTRT_CPU or MAHTRT_GPU");
    if (given.threads < 0 || given.threads > 4096)
        refuse("options.threads", std::to_string(given.threads), "0 to 4096");
    if (given.device < 0) refuse("options.device", std::to_string(given.device), "0 or more");
    if (given.engine != nullptr) wanted.engine = given.engine;
    if (given.runtime_dir != nullptr) wanted.runtime_dir = given.runtime_dir;
    wanted.require = given.require;
    wanted.threads = given.threads;
    wanted.device = given.device;
    wanted.check = given.skip_digests == 0;
    wanted.stream = given.stream;
    return wanted;
}

mahtrt_input described(const mahtrt::InputSpec& spec) {
    mahtrt_input input{};
    input.name = spec.name.c_str();
    input.height = spec.size.height;
    input.width = spec.size.width;
    input.channels = spec.channels;
    input.color_order = static_cast<std::int32_t>(spec.color_order);
    input.resize = static_cast<std::int32_t>(spec.resize);
    input.interpolation = static_cast<std::int32_t>(spec.interpolation);
    for (std::size_t i = 0; i < 3; ++i) {
        input.mean[i] = spec.mean[i];
        input.std[i] = spec.std[i];
    }
    input.pad_value = spec.pad_value;
    return input;
}

mahtrt_output described(const mahtrt::OutputSpec& spec, const mahtrt::TensorInfo& info) {
    mahtrt_output output{};
    output.name = spec.name.c_str();
    output.kind = static_cast<std::int32_t>(spec.kind);
    if (info.shape.size() > 4)
        refuse("output " + mahtrt::quoted(spec.name),
               std::to_string(info.shape.size()) + " dimensions", "at most 4");
    output.rank = static_cast<std::int32_t>(info.shape.size());
    for (std::size_t i = 0; i < info.shape.size(); ++i) output.shape[i] = info.shape[i];
    output.threshold = spec.threshold;
    output.labels = spec.labels.size();
    return output;
}

}  // namespace

extern "C" {

uint32_t mahtrt_abi(void) { return MAHTRT_ABI; }

const char* mahtrt_version(void) { return MAHTRT_VERSION; }

int32_t mahtrt_preprocess_version(void) {
    return static_cast<int32_t>(mahtrt::kPreprocessVersion);
}

const char* mahtrt_last_error(void) { return mahtrt::remembered_error(); }

void mahtrt_options_init(mahtrt_options* options, size_t size) {
    mahtrt::initialise(options, size, mahtrt_options{});
}

void mahtrt_input_init(mahtrt_input* input, size_t size) {
    mahtrt_input defaults{};
    defaults.channels = 1;
    for (int i = 0; i < 3; ++i) {
        defaults.mean[i] = 0.5;
        defaults.std[i] = 0.25;
    }
    mahtrt::initialise(input, size, defaults);
}

void mahtrt_output_init(mahtrt_output* output, size_t size) {
    mahtrt::initialise(output, size, mahtrt_output{});
}

void mahtrt_image_init(mahtrt_image* image, size_t size) {
    mahtrt::initialise(image, size, mahtrt_image{});
}

mahtrt_status mahtrt_open(const char* bundle, const mahtrt_options* options,
                          mahtrt_session** session) {
    return guarded([&] {
        *given(session, "session") = nullptr;
        const mahtrt::OpenOptions wanted = checked_options(options);
        *session = Registry::get().add(Session::open(given(bundle, "bundle"), wanted));
    });
}

mahtrt_status mahtrt_close(mahtrt_session* session) {
    return guarded([&] {
        if (session != nullptr) Registry::get().remove(session);
    });
}

mahtrt_status mahtrt_verify(const char* bundle) {
    return guarded([&] { mahtrt::Bundle::open(given(bundle, "bundle")).verify(); });
}

mahtrt_status mahtrt_replay(mahtrt_session* session, double* worst_px) {
    return guarded([&] {
        const mahtrt::Replay found = mahtrt::replay(*Registry::get().need(session));
        if (worst_px != nullptr) *worst_px = found.worst_px;
        if (!found.over.empty())
            throw mahtrt::Error(
                MAHTRT_OVER_BUDGET,
                mahtrt::sentence("engine on golden images", found.over,
                                 "what the build's gate allows, or what it gave then",
                                 found.advice));
    });
}

const char* mahtrt_engine_name(const mahtrt_session* session) {
    return of_session<const char*>(session, nullptr,
                                   [](Session& open) { return open.record().name.c_str(); });
}

const char* mahtrt_device_name(const mahtrt_session* session) {
    return of_session<const char*>(session, nullptr,
                                   [](Session& open) { return open.device().c_str(); });
}

const char* mahtrt_runtime_path(const mahtrt_session* session) {
    return of_session<const char*>(session, nullptr,
                                   [](Session& open) { return open.runtime_path().c_str(); });
}

int32_t mahtrt_gate_passed(const mahtrt_session* session) {
    return of_session<int32_t>(session, -1, [](Session& open) {
        return open.record().passed ? static_cast<int32_t>(*open.record().passed) : -1;
    });
}

size_t mahtrt_batch(const mahtrt_session* session) {
    return of_session<size_t>(session, 0, [](Session& open) { return open.batch(); });
}

size_t mahtrt_note_count(const mahtrt_session* session) {
    return of_session<size_t>(session, 0, [](Session& open) { return open.notes().size(); });
}

const char* mahtrt_note(const mahtrt_session* session, size_t note) {
    return of_session<const char*>(
        session, nullptr, [&](Session& open) { return at(open.notes(), note, "note").c_str(); });
}

size_t mahtrt_landmark_count(const mahtrt_session* session) {
    return of_session<size_t>(session, 0,
                              [](Session& open) { return open.decoder().landmarks(); });
}

const char* mahtrt_landmark_name(const mahtrt_session* session, size_t landmark) {
    return of_session<const char*>(session, nullptr, [&](Session& open) {
        if (open.decoder().landmarks() == 0)
            refuse("landmark", "a network without landmarks", "one with landmarks");
        return at(open.spec().landmarks, landmark, "landmark").c_str();
    });
}

size_t mahtrt_input_count(const mahtrt_session* session) {
    return of_session<size_t>(session, 0, [](Session& open) { return open.spec().inputs.size(); });
}

size_t mahtrt_output_count(const mahtrt_session* session) {
    return of_session<size_t>(session, 0, [](Session& open) { return open.outputs().size(); });
}

mahtrt_status mahtrt_input_info(const mahtrt_session* session, size_t number,
                                mahtrt_input* input) {
    return guarded([&] {
        const auto open = Registry::get().need(session);
        mahtrt::hand_out(described(at(open->spec().inputs, number, "input")), input, "input");
    });
}

mahtrt_status mahtrt_output_info(const mahtrt_session* session, size_t number,
                                 mahtrt_output* output) {
    return guarded([&] {
        const auto open = Registry::get().need(session);
        const auto& spec = at(open->spec().outputs, number, "output");
        mahtrt::hand_out(described(spec, open->outputs()[number]), output, "output");
    });
}

const char* mahtrt_label(const mahtrt_session* session, size_t output, size_t label) {
    return of_session<const char*>(session, nullptr, [&](Session& open) {
        return at(at(open.spec().outputs, output, "output").labels, label, "label").c_str();
    });
}

}  // extern "C"
