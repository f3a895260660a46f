// A library that is opened at run time, and where it was looked for.
#pragma once

#include <string>
#include <vector>

namespace mahtrt {

class SharedLibrary {
  public:
    // Opens the first of these that opens: paths, or names for the loader. Never closed again,
    // since runtimes keep threads of their own.
    // Throws Error MAHTRT_MISSING with every path that was tried and why it did not open.
    SharedLibrary(const std::string& what, const std::vector<std::string>& candidates,
                  const std::string& fix);

    const std::string& path() const noexcept { return path_; }

    // Throws Error MAHTRT_MISSING where the library has no such function.
    template <typename Function>
    void find(const char* name, Function*& function) const {
        function = reinterpret_cast<Function*>(symbol(name));
    }

  private:
    void* symbol(const char* name) const;

    std::string what_, path_;
    void* handle_ = nullptr;
};

// Folders that may hold a runtime's libraries, in the order in which they are searched. A folder
// that the caller names, or else that of the environment variable MAHTRT_RUNTIME_DIR, is the only
// one. Otherwise: beside libmahtrt, `package` ("openvino/libs") in the site-packages around it and
// in those of the Python in use, LD_LIBRARY_PATH, and the system's own.
std::vector<std::string> runtime_folders(const std::string& runtime_dir,
                                         const std::string& package);

// Whether the caller or that variable names a folder: no other place is tried then.
bool names_runtime(const std::string& runtime_dir);

// The files of a folder whose names are `name` or begin with `name` and a dot, newest version
// first.
std::vector<std::string> versions_of(const std::string& folder, const std::string& name);

// The folder of this library itself, "" where the loader does not say.
std::string own_folder();

}  // namespace mahtrt
