// Manifests: whatever the bytes are, they are read or refused, and what is read hangs together.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "error.h"
#include "manifest.h"
#include "sha256.h"

namespace {

void require(bool holds) {
    if (!holds) std::abort();
}

// Makes the manifest's own digest right again, which no mutation would.
void seal(std::string& text) {
    constexpr std::size_t kDigits = 64, kAfter = 4;
    if (text.size() < kDigits + kAfter) return;
    const std::size_t at = text.size() - kAfter - kDigits;
    text.replace(at, kDigits, kDigits, '0');
    text.replace(at, kDigits, mahtrt::sha256_hex(text.data(), text.size()));
}

void read(const std::string& text) {
    try {
        const mahtrt::Manifest manifest = mahtrt::read_manifest(text);
        const mahtrt::EngineRecord* engine = manifest.engine(manifest.default_engine);
        require(engine != nullptr && !manifest.spec.inputs.empty());
        for (const auto& [role, path] : engine->files) require(manifest.file(path) != nullptr);
        for (const mahtrt::FileRecord& file : manifest.files)
            require(file.sha256.size() == 64 && file.path.find("..") != 0 && file.path[0] != '/');
        for (const mahtrt::InputSpec& input : manifest.spec.inputs)
            require(input.size.height >= 1 && input.size.width <= 65536);
    } catch (const mahtrt::Error& error) {
        require(error.status() == MAHTRT_INTEGRITY && *error.what() != 0);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string text(reinterpret_cast<const char*>(data), size);
    read(text);
    seal(text);
    read(text);
    return 0;
}
