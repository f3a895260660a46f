// What a manifest must not say, beyond the types of its fields.
#pragma once

#include "manifest.h"

namespace mahtrt {

// Throws Error MAHTRT_INTEGRITY: the spec contradicts itself.
void check_spec(const ModelSpec& spec);

// Throws Error MAHTRT_INTEGRITY: a path leads out of the bundle, a file that is needed is not
// listed, or a name is there twice. graphs: name and file of each.
void check_manifest(const Manifest& manifest,
                    const std::vector<std::pair<std::string, std::string>>& graphs);

}  // namespace mahtrt
