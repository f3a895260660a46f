// What this machine is, as far as the choice of an engine asks.
#pragma once

#include <string>

namespace mahtrt {

// Logical CPUs that this process may run on.
int usable_cores();

// Whether the CPU has products of BF16 numbers (AVX512_BF16, AMX-BF16, or Arm's BF16), and oneDNN
// may use them.
bool multiplies_bf16();

// Whether it sums products of INT8 numbers without overflow (VNNI, AMX-INT8, Arm's DOT), likewise.
bool has_int8_dot_products();

}  // namespace mahtrt
