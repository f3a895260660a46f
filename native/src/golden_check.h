// What golden vectors must not be, by the manifest alone: before a file of theirs is read.
#pragma once

#include "manifest.h"

namespace mahtrt {

// Throws Error MAHTRT_INTEGRITY: too large, of another shape, or not those of the spec
// (docs/bundle-format.md, "GoldenOutput").
void check_golden(const Manifest& manifest);

}  // namespace mahtrt
