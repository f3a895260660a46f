// The records of a manifest, field by field: docs/bundle-format.md in a table.
#pragma once

#include "schema.h"

namespace mahtrt {

constexpr std::size_t kManifestRecordCount = 39;
extern const RecordText kManifestRecords[kManifestRecordCount];

}  // namespace mahtrt
