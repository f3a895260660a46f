// Structural similarity of two planes.
#pragma once

#include <cstddef>
#include <vector>

namespace mahtrt {

// The SSIM of Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility
// to structural similarity", IEEE Transactions on Image Processing 13, 2004, as
// docs/bundle-format.md says in MapRecord: the mean over the places where the window lies within
// the plane; along an axis that is shorter than the window, over all places, with the plane
// mirrored at its border. From -1 to 1.
double ssim(const std::vector<double>& ours, const std::vector<double>& theirs, std::size_t rows,
            std::size_t columns, double data_range);

}  // namespace mahtrt
