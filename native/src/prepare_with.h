// `prepare` with kernels of the caller's choice: tests compare all of them.
#pragma once

#include "prepare.h"
#include "resample_kernels.h"

namespace mahtrt {

Placement prepare_with(const Kernels& with, const InputSpec& input, const Image& image,
                       float* tensor);

}  // namespace mahtrt
