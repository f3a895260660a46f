#include "image_rows.h"

namespace mahtrt {
namespace {

// Of R, G and B, in units of 2^-15.
constexpr std::array<std::uint32_t, 3> kGrayOfRgb = {9798, 19235, 3735};
constexpr std::array<std::uint32_t, 3> kGrayOfBgr = {3735, 19235, 9798};

}  // namespace

ImageRows::ImageRows(const Image& image, bool gray, std::int64_t first, std::int64_t end,
                     const Kernels& with)
    : image_(image),
      with_(with),
      first_(static_cast<std::size_t>(first)),
      columns_(static_cast<std::size_t>(end - first)),
      planes_(image.rgb() && !gray ? 3 : 1),
      as_it_is_(image.samples == static_cast<std::int32_t>(planes_)),
      gray_weights_(image.bgr ? kGrayOfBgr : kGrayOfRgb) {
    numbers_.fill(-1);
    row_bytes_ = samples() * (wide() ? 2 : 1);
    if (!as_it_is_) converted_.resize(row_bytes_ * static_cast<std::size_t>(kAtOnce));
}

const unsigned char* ImageRows::row(std::int64_t number) {
    const std::size_t pixel_bytes = static_cast<std::size_t>(image_.samples) * (wide() ? 2 : 1);
    const unsigned char* in_image =
        image_.data + static_cast<std::size_t>(number) * image_.row_bytes + first_ * pixel_bytes;
    if (as_it_is_) return in_image;
    const auto slot = static_cast<std::size_t>(number % kAtOnce);
    unsigned char* out = converted_.data() + slot * row_bytes_;
    if (numbers_[slot] != number) convert(out, in_image);
    numbers_[slot] = number;
    return out;
}

void ImageRows::convert(unsigned char* out, const unsigned char* row) const {
    const auto step = static_cast<std::size_t>(image_.samples);
    if (planes_ == 3)
        with_.drop_fourth(out, row, columns_);
    else if (wide())
        with_.gray_16(out, row, gray_weights_.data(), step, columns_);
    else
        with_.gray_8(out, row, gray_weights_.data(), step, columns_);
}

}  // namespace mahtrt
