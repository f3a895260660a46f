#include "shared_library.h"

#include <dirent.h>
#include <dlfcn.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "error.h"

namespace mahtrt {
namespace {

using Paths = std::vector<std::string>;

constexpr std::size_t kMostTold = 12;  // places that a message lists

std::string environment(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
}

// "" where neither the caller nor the environment names one.
std::string named_folder(const std::string& runtime_dir) {
    return runtime_dir.empty() ? environment("MAHTRT_RUNTIME_DIR") : runtime_dir;
}

Paths split(const std::string& list) {
    Paths parts;
    for (std::size_t start = 0; start <= list.size();) {
        const std::size_t end = std::min(list.find(':', start), list.size());
        if (end > start) parts.push_back(list.substr(start, end - start));
        start = end + 1;
    }
    return parts;
}

// Names of what a folder holds; none where it cannot be read.
Paths entries_of(const std::string& folder) {
    Paths names;
    DIR* open = opendir(folder.c_str());
    if (open == nullptr) return names;
    while (const dirent* each = readdir(open)) names.emplace_back(each->d_name);
    closedir(open);
    return names;
}

std::string parent_of(const std::string& path) {
    const std::size_t slash = path.find_last_of('/');
    return slash == std::string::npos ? "." : path.substr(0, slash);
}

// prefix/lib/python3.N/site-packages/package of every Python below a prefix.
void add_packages(const std::string& prefix, const std::string& package, Paths& folders) {
    const std::string libraries = prefix + "/lib";
    for (const std::string& name : entries_of(libraries)) {
        if (name.compare(0, 6, "python") != 0) continue;
        for (const char* each : {"/site-packages/", "/dist-packages/"})
            folders.push_back(libraries + "/" + name + each + package);
    }
}

void add_pythons(const std::string& package, Paths& folders) {
    for (const char* name : {"VIRTUAL_ENV", "CONDA_PREFIX"})
        if (const std::string prefix = environment(name); !prefix.empty())
            add_packages(prefix, package, folders);
    for (const std::string& folder : split(environment("PATH"))) {
        if (access((folder + "/python3").c_str(), X_OK) != 0) continue;
        add_packages(parent_of(folder), package, folders);
        return;  // the first is the one in use
    }
}

bool is_folder(const std::string& path) {
    struct stat found;
    return stat(path.c_str(), &found) == 0 && S_ISDIR(found.st_mode);
}

// The numbers in a name, so that .so.2641 comes before .so.999.
std::vector<unsigned long> numbers_of(const std::string& name) {
    std::vector<unsigned long> numbers;
    for (std::size_t at = 0; at < name.size();) {
        if (name[at] < '0' || name[at] > '9') {
            ++at;
            continue;
        }
        std::size_t end = at;
        while (end < name.size() && name[end] >= '0' && name[end] <= '9') ++end;
        numbers.push_back(std::strtoul(name.substr(at, end - at).c_str(), nullptr, 10));
        at = end;
    }
    return numbers;
}

std::string told(const Paths& tried) {
    std::string text;
    for (std::size_t i = 0; i < std::min(tried.size(), kMostTold); ++i)
        text += (i == 0 ? "" : "; ") + tried[i];
    if (tried.size() > kMostTold)
        text += "; and " + std::to_string(tried.size() - kMostTold) + " more";
    return tried.empty() ? "no place to look in" : text;
}

}  // namespace

SharedLibrary::SharedLibrary(const std::string& what, const Paths& candidates,
                             const std::string& fix)
    : what_(what) {
    Paths failures;
    for (const std::string& each : candidates) {
        handle_ = dlopen(each.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (handle_ != nullptr) {
            path_ = each;
            return;
        }
        const char* reason = dlerror();
        failures.push_back(reason == nullptr ? each : reason);
    }
    throw Error(MAHTRT_MISSING,
                sentence(what, told(failures), "a library that can be opened", fix));
}

void* SharedLibrary::symbol(const char* name) const {
    void* found = dlsym(handle_, name);
    if (found == nullptr)
        throw Error(MAHTRT_MISSING, sentence(what_ + " at " + quoted(path_),
                                             "no function " + std::string(name),
                                             "a version that has it"));
    return found;
}

bool names_runtime(const std::string& runtime_dir) { return !named_folder(runtime_dir).empty(); }

Paths runtime_folders(const std::string& runtime_dir, const std::string& package) {
    if (names_runtime(runtime_dir)) return {named_folder(runtime_dir)};
    Paths folders;
    if (const std::string own = own_folder(); !own.empty()) {
        folders.push_back(own);
        // The wheel: site-packages/mahtrt_native/lib beside site-packages/openvino/libs.
        folders.push_back(parent_of(parent_of(own)) + "/" + package);
    }
    add_pythons(package, folders);
    for (const std::string& each : split(environment("LD_LIBRARY_PATH"))) folders.push_back(each);
    for (const char* each :
         {"/usr/local/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu",
          "/usr/lib64", "/usr/lib", "/opt/intel/openvino/runtime/lib/intel64"})
        folders.emplace_back(each);
    folders.erase(std::remove_if(folders.begin(), folders.end(),
                                 [](const std::string& each) { return !is_folder(each); }),
                  folders.end());
    return folders;
}

Paths versions_of(const std::string& folder, const std::string& name) {
    Paths found;
    for (const std::string& file : entries_of(folder))
        if (file == name || file.compare(0, name.size() + 1, name + ".") == 0)
            found.push_back(file);
    std::sort(found.begin(), found.end(), [](const std::string& left, const std::string& right) {
        return numbers_of(left) > numbers_of(right);
    });
    for (std::string& each : found) each.insert(0, folder + "/");
    return found;
}

std::string own_folder() {
    Dl_info info;
    if (dladdr(reinterpret_cast<const void*>(&own_folder), &info) == 0) return "";
    if (info.dli_fname == nullptr) return "";
    char* path = realpath(info.dli_fname, nullptr);
    if (path == nullptr) return "";
    const std::string folder = parent_of(path);
    std::free(path);
    return folder;
}

}  // namespace mahtrt
