// An image in another size, row by row: docs/preprocessing.md, "size".
#pragma once

#include <vector>

#include "prepare.h"
#include "resample_axis.h"
#include "resample_kernels.h"

namespace mahtrt {

// What becomes of an image: both axes, and the part of the new one that is kept.
struct Resize2d {
    Interpolation interpolation = Interpolation::kArea;
    std::int64_t old_height = 0, old_width = 0;
    std::int64_t new_height = 0, new_width = 0;
    Kept rows, columns;
};

class LevelSink {
  public:
    virtual ~LevelSink() = default;
    // Levels of a kept row: all of the first plane, then those of the second, …
    virtual void put(std::int64_t row, const float* levels) = 0;
};

// gray: a colour image becomes gray first; else its planes come in the order of its memory.
void resample(const Image& image, bool gray, const Resize2d& resize, const Kernels& with,
              LevelSink& sink);

// The two kinds of resize. `resample` chooses.
void resample_exact(const Image& image, bool gray, const Resize2d& resize, const Kernels& with,
                    LevelSink& sink);
void resample_antialiased(const Image& image, bool gray, const Resize2d& resize,
                          const Kernels& with, LevelSink& sink);

}  // namespace mahtrt
