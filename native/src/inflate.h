// Unpacks zlib data (RFC 1950 around RFC 1951) whose size is known beforehand.
#pragma once

#include <cstddef>

namespace mahtrt {

// Whether this is a build for fuzzing, in which no checksum is compared: a mutation has none that
// is right, and would reach nothing of what comes after it.
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
constexpr bool kFuzzed = true;
#else
constexpr bool kFuzzed = false;
#endif

// Fills `size` bytes of `out`. Never writes more, whatever the data ask for; bytes behind the end
// of the data are not looked at.
// Throws Error MAHTRT_BAD_IMAGE: the data are damaged, or unpack to another size.
void inflate_zlib(const unsigned char* data, std::size_t bytes, unsigned char* out,
                  std::size_t size);

}  // namespace mahtrt
