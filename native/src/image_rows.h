// Rows of an image as the resize wants them: one plane, or three interleaved.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "prepare.h"
#include "resample_kernels.h"

namespace mahtrt {

class ImageRows {
  public:
    // Rows that stay readable at once.
    static constexpr std::int64_t kAtOnce = 8;

    // gray: a colour image becomes gray. Columns `first` to `end - 1` are read.
    ImageRows(const Image& image, bool gray, std::int64_t first, std::int64_t end,
              const Kernels& with);

    std::size_t planes() const noexcept { return planes_; }
    bool wide() const noexcept { return image_.wide; }
    std::int64_t height() const noexcept { return image_.height; }
    // Samples per row.
    std::size_t samples() const noexcept { return columns_ * planes_; }

    // The sample of column `first`. Valid until another row of the same number modulo kAtOnce is
    // asked for.
    const unsigned char* row(std::int64_t number);

  private:
    void convert(unsigned char* out, const unsigned char* row) const;

    Image image_;
    const Kernels& with_;
    std::size_t first_, columns_, planes_, row_bytes_ = 0;
    bool as_it_is_;
    std::array<std::uint32_t, 3> gray_weights_{};
    std::vector<unsigned char> converted_;  // kAtOnce rows
    std::array<std::int64_t, kAtOnce> numbers_{};
};

}  // namespace mahtrt
