// Unpacks zlib data (RFC 1950 around RFC 1951) whose size is known beforehand.
#pragma once

#include <cstddef>

namespace mahtrt {

// Fills `size` bytes of `out`. Never writes more, whatever the data ask for; bytes behind the end
// of the data are not looked at.
// Throws Error MAHTRT_BAD_IMAGE: the data are damaged, or unpack to another size.
void inflate_zlib(const unsigned char* data, std::size_t bytes, unsigned char* out,
                  std::size_t size);

}  // namespace mahtrt
