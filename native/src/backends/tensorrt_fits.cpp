#include "tensorrt_fits.h"

#include <sys/utsname.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>

#include "../error.h"

namespace mahtrt {
namespace {

constexpr int kOldestCompatible = 80;  // Ampere, where "ampere_plus" begins

[[noreturn]] void refuse_here(const EngineRecord& record, const std::string& what,
                              const std::string& built, const std::string& here) {
    throw Error(MAHTRT_FAILED,
                sentence("engine " + record.name + ": " + what, here + " here",
                         built + ", which it was built for",
                         "Compile it for this host: mahtrt compile BUNDLE --target " +
                             record.target + "."));
}

std::string lower(std::string text) {
    for (char& each : text)
        each = static_cast<char>(std::tolower(static_cast<unsigned char>(each)));
    return text;
}

std::string joined(const std::vector<std::string>& words) {
    std::string text;
    for (const std::string& each : words) text += (text.empty() ? "" : ", ") + each;
    return text.empty() ? "none that it names" : text;
}

std::string compatibility_of(const EngineRecord& record) {
    const auto found = record.device.settings.find("hardware_compatibility");
    return found == record.device.settings.end() ? "none" : found->second;
}

}  // namespace

std::string this_platform() {
    utsname found{};
    if (uname(&found) != 0) return "";
    return lower(found.sysname) + "_" + lower(found.machine);
}

void check_platform(const EngineRecord& record, const std::string& platform) {
    const std::string& built = record.device.platform;
    if (!built.empty() && built != platform) refuse_here(record, "platform", built, platform);
}

void check_gpu(const EngineRecord& record, const Gpu& gpu) {
    const auto& built_for = record.device.capabilities;
    const std::string card = gpu.name + " (" + gpu.capability + ")";
    const bool is_enterprise = record.target == "tensorrt";
    const std::string level = compatibility_of(record);
    if (is_enterprise && level == "ampere_plus") {
        if (std::atoi(gpu.capability.c_str() + 2) < kOldestCompatible)
            refuse_here(record, "GPU", "SM" + std::to_string(kOldestCompatible) + " or newer",
                        card);
        return;
    }
    if (std::find(built_for.begin(), built_for.end(), gpu.capability) == built_for.end())
        refuse_here(record, "GPU", joined(built_for), card);
    // Kernels were chosen and timed for the card, not only for its compute capability.
    const std::string& name = record.device.name;
    if (is_enterprise && level == "none" && !name.empty() && name != gpu.name)
        refuse_here(record, "GPU", name, gpu.name);
}

}  // namespace mahtrt
