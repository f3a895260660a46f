#include "machine.h"

#include <sched.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <set>
#include <string>

namespace mahtrt {
namespace {

// The flags of the first CPU in /proc/cpuinfo: "flags" on x86, "Features" on Arm.
std::set<std::string> read_cpu_flags() {
    std::set<std::string> flags;
    std::FILE* cpuinfo = std::fopen("/proc/cpuinfo", "re");
    if (cpuinfo == nullptr) return flags;
    char* line = nullptr;
    std::size_t room = 0;
    while (flags.empty() && getline(&line, &room, cpuinfo) > 0) {
        if (std::strncmp(line, "flags", 5) != 0 && std::strncmp(line, "Features", 8) != 0) continue;
        char* words = std::strchr(line, ':');
        if (words == nullptr) continue;
        char* rest = nullptr;
        for (char* word = strtok_r(words + 1, " \t\n", &rest); word != nullptr;
             word = strtok_r(nullptr, " \t\n", &rest))
            flags.insert(word);
    }
    std::free(line);
    std::fclose(cpuinfo);
    return flags;
}

using Names = std::initializer_list<const char*>;

bool has_any(Names names) {
    // Never destroyed: other threads may still open sessions while the process ends.
    static const std::set<std::string>& flags = *new std::set<std::string>(read_cpu_flags());
    for (const char* name : names)
        if (flags.count(name) != 0) return true;
    return false;
}

// Whether oneDNN, which computes for OpenVINO, may use instructions of one of these names:
// ONEDNN_MAX_CPU_ISA forbids those above a level.
bool allowed(Names levels) {
    const char* limit = std::getenv("ONEDNN_MAX_CPU_ISA");
    if (limit == nullptr || *limit == '\0') return true;
    const std::string level(limit);
    if (level == "ALL" || level == "DEFAULT") return true;
    for (const char* each : levels)
        if (level.find(each) != std::string::npos) return true;
    return false;
}

}  // namespace

int usable_cores() {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
    const long online = sysconf(_SC_NPROCESSORS_ONLN);  // more than 1,024 CPUs
    return online > 0 ? static_cast<int>(online) : 1;
}

bool multiplies_bf16() {
    return has_any({"avx512_bf16", "amx_bf16", "bf16"}) && allowed({"BF16", "FP16", "AMX"});
}

bool has_int8_dot_products() {
    return has_any({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"}) &&
           allowed({"VNNI", "BF16", "FP16", "AMX"});
}

}  // namespace mahtrt
