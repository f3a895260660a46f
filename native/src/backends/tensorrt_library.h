// TensorRT as an engine needs it: the module for its interface, and the library of its version.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "../engine.h"
#include "../shared_library.h"
#include "tensorrt_module.h"

namespace mahtrt {

// The two TensorRTs. An engine of one does not run in the other, although their libraries have the
// same functions: TensorRT-RTX 1.7.1 calls itself 10701, which is no TensorRT 10.
enum class TensorRtFlavour { kTensorRt, kTensorRtRtx };

// "10.13.2.6". Numbers that are not there are 0.
struct TensorRtVersion {
    int major = 0, minor = 0, patch = 0, build = 0;

    std::string text() const;
    bool operator==(const TensorRtVersion& other) const noexcept;
};

// Nothing where the text is no version of two to four numbers.
std::optional<TensorRtVersion> parse_tensorrt_version(const std::string& text);

// File name of the module for engines of a version. A major version of TensorRT has one binary
// interface, to which minor versions append (10.12 to 10.16 do); of TensorRT-RTX each minor
// version has its own.
std::string module_name(TensorRtFlavour flavour, const TensorRtVersion& version);

class TensorRtLibrary {
  public:
    // Module and library for an engine, opened. Of several libraries that are found, the one whose
    // version is the engine's.
    // Throws Error: MAHTRT_MISSING (not found; with the places), MAHTRT_FAILED (other versions).
    static TensorRtLibrary find(TensorRtFlavour flavour, const EngineToOpen& wanted);

    const mahtrt_tensorrt_table& table() const noexcept { return *table_; }
    using Create = void*(void* logger, std::int32_t version);
    Create* create() const noexcept { return create_; }
    const std::string& path() const noexcept { return path_; }
    const std::string& module_path() const noexcept { return module_path_; }
    const TensorRtVersion& version() const noexcept { return version_; }

  private:
    TensorRtLibrary() = default;

    const mahtrt_tensorrt_table* table_ = nullptr;
    Create* create_ = nullptr;
    std::string path_, module_path_;
    TensorRtVersion version_;
};

}  // namespace mahtrt
