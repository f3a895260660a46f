#include "tensorrt_library.h"

#include <array>
#include <cstdlib>
#include <cstring>

#include "../error.h"

namespace mahtrt {
namespace {

struct Names {
    bool is_rtx;
    const char *target, *title, *library, *package, *install;
};

constexpr Names kTensorRtNames = {
    false,
    "tensorrt",
    "TensorRT",
    "libnvinfer.so",
    "tensorrt_libs",
    "Install it (pip install tensorrt), and name the folder of its libraries with the option "
    "runtime_dir or the environment variable MAHTRT_RUNTIME_DIR."};
constexpr Names kRtxNames = {
    true,
    "tensorrt-rtx",
    "TensorRT-RTX",
    "libtensorrt_rtx.so",
    "tensorrt_rtx_libs",
    "Install it (pip install tensorrt-rtx-cu13-libs), and name the folder of its libraries with "
    "the option runtime_dir or the environment variable MAHTRT_RUNTIME_DIR."};

const Names& names_of(TensorRtFlavour flavour) {
    return flavour == TensorRtFlavour::kTensorRt ? kTensorRtNames : kRtxNames;
}

TensorRtVersion version_of(const EngineRecord& record, const Names& names) {
    const auto found = record.versions.find(names.target);
    const std::string text = found == record.versions.end() ? "" : found->second;
    const auto version = parse_tensorrt_version(text);
    if (!version)
        throw Error(
            MAHTRT_FAILED,
            sentence("engine " + record.name, "version " + quoted(text) + " of " + names.title,
                     "numbers such as 10.13.2.6", "Build the bundle again."));
    const int oldest_major = names.is_rtx ? 1 : 10, oldest_minor = names.is_rtx ? 2 : 12;
    const bool is_known = version->major > oldest_major ||
                          (version->major == oldest_major && version->minor >= oldest_minor);
    if (!is_known)
        throw Error(MAHTRT_FAILED,
                    sentence("engine " + record.name, std::string(names.title) + " " + text,
                             std::to_string(oldest_major) + "." + std::to_string(oldest_minor) +
                                 " or newer"));
    return *version;
}

// Folders that the caller or the environment names come alone, as for all runtimes.
std::vector<std::string> library_candidates(const EngineToOpen& wanted, const Names& names,
                                            int major) {
    const std::string file = std::string(names.library) + "." + std::to_string(major);
    const auto folders = runtime_folders(wanted.runtime_dir, names.package);
    std::vector<std::string> found;
    for (const std::string& folder : folders)
        for (const std::string& path : versions_of(folder, file)) found.push_back(path);
    if (found.empty())
        for (const std::string& folder : folders) found.push_back(folder + "/" + file);
    if (!names_runtime(wanted.runtime_dir)) found.push_back(file);  // the loader's own places
    return found;
}

std::vector<std::string> module_candidates(const EngineToOpen& wanted, const std::string& file) {
    std::vector<std::string> found;
    if (const std::string own = own_folder(); !own.empty()) found.push_back(own + "/" + file);
    const char* environment = std::getenv("MAHTRT_RUNTIME_DIR");
    if (!wanted.runtime_dir.empty())
        found.push_back(wanted.runtime_dir + "/" + file);
    else if (environment != nullptr && *environment != '\0')
        found.push_back(std::string(environment) + "/" + file);
    found.push_back(file);
    return found;
}

// What the library calls itself. The build number came later than the others.
TensorRtVersion told_version(const SharedLibrary& library) {
    using Number = std::int32_t();
    Number* whole = nullptr;
    library.find("getInferLibVersion", whole);
    const int number = whole();
    TensorRtVersion version{number / 10000, number / 100 % 100, number % 100, -1};
    try {
        Number* build = nullptr;
        library.find("getInferLibBuildVersion", build);
        version.build = build();
    } catch (const Error&) {
        // Without it, three numbers are compared.
    }
    return version;
}

bool is_same(const TensorRtVersion& here, const TensorRtVersion& wanted) {
    TensorRtVersion known = here;
    if (here.build < 0) known.build = wanted.build;
    return known == wanted;
}

struct Found {
    SharedLibrary library;
    TensorRtVersion version;
};

// The first library whose version is the engine's.
Found find_library(const EngineToOpen& wanted, const Names& names, const TensorRtVersion& built) {
    std::string failures, others;
    for (const std::string& path : library_candidates(wanted, names, built.major)) {
        try {
            SharedLibrary library(names.title, {path}, "");
            const TensorRtVersion version = told_version(library);
            if (is_same(version, built)) return {library, version};
            others += (others.empty() ? "" : "; ") + version.text() + " at " + library.path();
        } catch (const Error& error) {
            failures += (failures.empty() ? "" : " ") + std::string(error.what());
        }
    }
    const std::string subject = "engine " + wanted.record.name + ": " + names.title;
    const std::string target = names.target;
    if (!others.empty())
        throw Error(
            MAHTRT_FAILED,
            sentence(subject, others, built.text() + ", which it was built for",
                     "Compile it for this host: mahtrt compile BUNDLE --target " + target + "."));
    throw Error(MAHTRT_MISSING,
                sentence(subject, failures.empty() ? "no place to look in" : failures,
                         "a library of version " + built.text(), names.install));
}

const mahtrt_tensorrt_table* open_module(const EngineToOpen& wanted, const Names& names,
                                         TensorRtFlavour flavour, const TensorRtVersion& built,
                                         std::string& path) {
    const std::string file = module_name(flavour, built);
    const std::string subject = "the module of libmahtrt for " + std::string(names.title);
    const std::string fix = "Build it: docs/c-library.md, On a GPU.";
    const SharedLibrary module(subject, module_candidates(wanted, file), fix);
    const mahtrt_tensorrt_table* (*entry)(void) = nullptr;
    module.find(MAHTRT_TENSORRT_ENTRY, entry);
    const mahtrt_tensorrt_table* table = entry();
    path = module.path();
    const bool fits = table != nullptr && table->version == MAHTRT_TENSORRT_TABLE &&
                      std::strcmp(table->flavour, names.target) == 0 &&
                      table->major == built.major &&
                      (flavour == TensorRtFlavour::kTensorRt || table->minor == built.minor);
    if (!fits)
        throw Error(MAHTRT_MISSING,
                    sentence(subject, "another module at " + quoted(path),
                             std::string("one compiled with the headers of ") + names.title + " " +
                                 std::to_string(built.major) + "." + std::to_string(built.minor),
                             fix));
    return table;
}

}  // namespace

std::string TensorRtVersion::text() const {
    std::string text =
        std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch);
    return build < 0 ? text : text + "." + std::to_string(build);
}

bool TensorRtVersion::operator==(const TensorRtVersion& other) const noexcept {
    return major == other.major && minor == other.minor && patch == other.patch &&
           build == other.build;
}

std::optional<TensorRtVersion> parse_tensorrt_version(const std::string& text) {
    std::array<int, 4> numbers{};
    std::size_t count = 0, at = 0;
    while (at < text.size() && count < numbers.size()) {
        std::size_t digits = 0;
        int number = 0;
        for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, ++digits)
            if (digits < 6) number = number * 10 + (text[at] - '0');
        if (digits == 0 || digits > 6) return std::nullopt;
        numbers[count++] = number;
        if (at == text.size()) break;
        if (text[at++] != '.' || at == text.size()) return std::nullopt;
    }
    if (at != text.size() || count < 2) return std::nullopt;
    return TensorRtVersion{numbers[0], numbers[1], numbers[2], numbers[3]};
}

std::string module_name(TensorRtFlavour flavour, const TensorRtVersion& version) {
    const std::string major = std::to_string(version.major);
    if (flavour == TensorRtFlavour::kTensorRt) return "libmahtrt_tensorrt" + major + ".so";
    return "libmahtrt_tensorrt_rtx" + major + "." + std::to_string(version.minor) + ".so";
}

TensorRtLibrary TensorRtLibrary::find(TensorRtFlavour flavour, const EngineToOpen& wanted) {
    const Names& names = names_of(flavour);
    const TensorRtVersion built = version_of(wanted.record, names);
    TensorRtLibrary found;
    found.table_ = open_module(wanted, names, flavour, built, found.module_path_);
    const Found opened = find_library(wanted, names, built);
    opened.library.find("createInferRuntime_INTERNAL", found.create_);
    found.path_ = opened.library.path();
    found.version_ = opened.version;
    return found;
}

}  // namespace mahtrt
