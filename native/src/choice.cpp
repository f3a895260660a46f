#include "choice.h"

#include <limits>

#include "error.h"
#include "session.h"
#include "status.h"

namespace mahtrt {
namespace {

std::string names_of(const Manifest& manifest) {
    std::string names;
    for (const EngineRecord& each : manifest.engines)
        names += (names.empty() ? "" : ", ") + each.name;
    return names;
}

bool fits(const Backend& backend, std::int32_t require) {
    return require == MAHTRT_ANY || backend.gpu == (require == MAHTRT_GPU);
}

const char* device_words(std::int32_t require) {
    return require == MAHTRT_GPU ? "a GPU" : require == MAHTRT_CPU ? "a CPU" : "this machine";
}

// Why an engine cannot run, "" where it can.
std::string problem_of(const Bundle& bundle, const EngineRecord& record,
                       const OpenOptions& options) {
    const Backend* backend = find_backend(record.target);
    if (backend == nullptr) return "this library does not run the target " + quoted(record.target);
    if (!fits(*backend, options.require))
        return std::string("it does not run on ") + device_words(options.require);
    return backend->problem({bundle, record, options.runtime_dir, options.threads,
                             options.device, options.stream, options.check});
}

const EngineRecord& named(const Manifest& manifest, const std::string& name) {
    if (const EngineRecord* found = manifest.engine(name)) return *found;
    const EngineRecord* fitting = nullptr;
    for (const EngineRecord& each : manifest.engines) {
        if (each.target != name) continue;
        // Of several engines of a target, the default is meant, else the one of the precision
        // that the bundle was built for, else the first.
        const bool meant = each.precision == manifest.precision &&
                           (fitting == nullptr || fitting->name != manifest.default_engine);
        if (fitting == nullptr || each.name == manifest.default_engine || meant) fitting = &each;
    }
    if (fitting == nullptr)
        refuse("engine " + quoted(name), "no such engine or target",
               "one of " + names_of(manifest));
    return *fitting;
}

double ms_per_case(const EngineRecord& record) {
    if (!record.p50_ms) return std::numeric_limits<double>::infinity();
    return *record.p50_ms / static_cast<double>(record.batch);
}

Choice asked_for(const Bundle& bundle, const OpenOptions& options) {
    const EngineRecord& record = named(bundle.manifest(), options.engine);
    const Backend* backend = find_backend(record.target);
    const std::string subject = "engine " + record.name;
    if (backend == nullptr)
        throw Error(MAHTRT_MISSING, sentence(subject, "target " + quoted(record.target),
                                             "openvino, tensorrt or tensorrt-rtx",
                                             "Name another engine: " +
                                                 names_of(bundle.manifest()) + "."));
    if (!fits(*backend, options.require))
        refuse(subject,
               std::string("an engine that does not run on ") + device_words(options.require),
               "one that does, as is required");
    return {&record, backend, ""};
}

// There is a limit to a message: a reason that another engine has is not told again.
std::string told_once(const std::string& problem, const std::string& reasons) {
    const std::size_t end = reasons.find(": " + problem);
    if (end == reasons.npos) return problem;
    const std::size_t before = reasons.rfind("; ", end);
    const std::size_t start = before == reasons.npos ? 0 : before + 2;
    return "as " + reasons.substr(start, end - start);
}

}  // namespace

Choice choose_engine(const Bundle& bundle, const OpenOptions& options) {
    if (!options.engine.empty()) return asked_for(bundle, options);
    const Manifest& manifest = bundle.manifest();
    const EngineRecord& preferred = named(manifest, manifest.default_engine);
    const std::string why = problem_of(bundle, preferred, options);
    if (why.empty()) return {&preferred, find_backend(preferred.target), ""};
    std::string reasons = preferred.name + ": " + why;
    const EngineRecord* fastest = nullptr;
    for (const EngineRecord& each : manifest.engines) {
        if (&each == &preferred) continue;
        std::string problem = problem_of(bundle, each, options);
        if (problem.empty() && !each.passed.value_or(false))
            problem = "it did not pass its accuracy gate; name it to run it all the same";
        if (!problem.empty())
            reasons += "; " + each.name + ": " + told_once(problem, reasons);
        else if (fastest == nullptr || ms_per_case(each) < ms_per_case(*fastest))
            fastest = &each;
    }
    if (fastest == nullptr)
        throw Error(MAHTRT_MISSING,
                    sentence("bundle " + quoted(bundle.path()), reasons,
                             std::string("an engine that runs on ") +
                                 device_words(options.require)));
    return {fastest, find_backend(fastest->target),
            "The default, " + preferred.name + ", cannot run here: " + why + ". " +
                fastest->name + " runs instead."};
}

}  // namespace mahtrt
