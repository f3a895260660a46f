#include "prepare.h"

#include <algorithm>
#include <cmath>
#include <new>
#include <string>

#include "error.h"
#include "prepare_with.h"
#include "resample.h"

namespace mahtrt {
namespace {

constexpr std::int64_t kMostPixels = std::int64_t{1} << 26;

// Where an image goes on the network's input, in whole pixels.
struct Fit {
    std::int64_t new_height = 0, new_width = 0;  // that the image is resized to
    std::int64_t top = 0, left = 0;              // of it on the input, negative where it is cropped
};

// A half to the even integer, in the rounding mode that every program begins with.
std::int64_t rounded(double value) { return static_cast<std::int64_t>(std::nearbyint(value)); }

std::int64_t halved(std::int64_t value) { return value >= 0 ? value / 2 : -((1 - value) / 2); }

void check_new_size(const Image& image, const Fit& fit) {
    if (fit.new_height * fit.new_width <= kMostPixels) return;
    const auto size = [](std::int64_t width, std::int64_t height) {
        return std::to_string(width) + "x" + std::to_string(height);
    };
    throw Error(MAHTRT_BAD_IMAGE,
                sentence("image",
                         size(image.width, image.height) + " pixels, which would be resized to " +
                             size(fit.new_width, fit.new_height),
                         "at most " + std::to_string(kMostPixels) + " pixels",
                         "Crop the image nearer to the shape of the network's input first."));
}

Fit fit_of(const InputSpec& input, const Image& image) {
    Fit fit;
    fit.new_height = input.size.height;
    fit.new_width = input.size.width;
    if (input.resize != Resize::kStretch) {
        const double down = static_cast<double>(input.size.height) / image.height;
        const double across = static_cast<double>(input.size.width) / image.width;
        const bool inside = input.resize == Resize::kLetterbox;
        const double scale = inside ? std::min(down, across) : std::max(down, across);
        fit.new_height = std::max<std::int64_t>(1, rounded(image.height * scale));
        fit.new_width = std::max<std::int64_t>(1, rounded(image.width * scale));
    }
    check_new_size(image, fit);
    fit.top = halved(input.size.height - fit.new_height);
    fit.left = halved(input.size.width - fit.new_width);
    return fit;
}

Placement placement_from(const Fit& fit, const Image& image) {
    Placement placement;
    placement.scale_x = static_cast<double>(fit.new_width) / image.width;
    placement.scale_y = static_cast<double>(fit.new_height) / image.height;
    placement.offset_x = static_cast<double>(fit.left);
    placement.offset_y = static_cast<double>(fit.top);
    return placement;
}

Resize2d resize_of(const InputSpec& input, const Image& image, const Fit& fit) {
    const auto kept = [](std::int64_t start, std::int64_t size, std::int64_t room) {
        return Kept{std::max<std::int64_t>(0, -start), std::min(size, room)};
    };
    Resize2d resize;
    resize.interpolation = input.interpolation;
    resize.old_height = image.height;
    resize.old_width = image.width;
    resize.new_height = fit.new_height;
    resize.new_width = fit.new_width;
    resize.rows = kept(fit.top, fit.new_height, input.size.height);
    resize.columns = kept(fit.left, fit.new_width, input.size.width);
    return resize;
}

// The tensor: rows of levels, normalised, with padding around them.
class Tensor final : public LevelSink {
  public:
    Tensor(const InputSpec& input, const Image& image, const Fit& fit, const Resize2d& resize,
           const Kernels& with, float* out)
        : input_(input),
          with_(with),
          out_(out),
          width_(static_cast<std::size_t>(input.size.width)),
          height_(static_cast<std::size_t>(input.size.height)),
          top_(static_cast<std::size_t>(std::max<std::int64_t>(0, fit.top))),
          left_(static_cast<std::size_t>(std::max<std::int64_t>(0, fit.left))),
          rows_(static_cast<std::size_t>(resize.rows.count)),
          columns_(static_cast<std::size_t>(resize.columns.count)),
          gray_(!image.rgb() || input.channels == 1),
          turned_((input.color_order == ColorOrder::kBgr) != image.bgr) {
        const double range = image.wide ? 65535.0 : 255.0;
        const auto pad = static_cast<float>(std::nearbyint(input.pad_value * range));
        for (std::size_t channel = 0; channel < channels(); ++channel) {
            gain_[channel] = static_cast<float>(1.0 / (range * input.std[channel]));
            shift_[channel] = static_cast<float>(-input.mean[channel] / input.std[channel]);
            const float product = pad * gain_[channel];
            pad_[channel] = product + shift_[channel];
        }
    }

    // Everything around the image.
    void fill_padding() {
        for (std::size_t channel = 0; channel < channels(); ++channel) {
            float* plane = out_ + channel * height_ * width_;
            const float pad = pad_[channel];
            std::fill_n(plane, top_ * width_, pad);
            std::fill_n(plane + (top_ + rows_) * width_, (height_ - top_ - rows_) * width_, pad);
            for (std::size_t y = top_; y < top_ + rows_ && columns_ < width_; ++y) {
                std::fill_n(plane + y * width_, left_, pad);
                std::fill_n(plane + y * width_ + left_ + columns_, width_ - left_ - columns_, pad);
            }
        }
    }

    void put(std::int64_t row, const float* levels) override {
        for (std::size_t channel = 0; channel < channels(); ++channel) {
            float* out = place(channel, row);
            if (gray_ && channel > 0 && gain_[channel] == gain_[0] && shift_[channel] == shift_[0])
                std::copy_n(place(0, row), columns_, out);
            else
                with_.normalize(out, levels + source(channel) * columns_, gain_[channel],
                                shift_[channel], columns_);
        }
    }

  private:
    std::size_t channels() const noexcept { return static_cast<std::size_t>(input_.channels); }
    std::size_t source(std::size_t channel) const noexcept {
        return gray_ ? 0 : turned_ ? 2 - channel : channel;
    }
    float* place(std::size_t channel, std::int64_t row) const noexcept {
        return out_ + (channel * height_ + top_ + static_cast<std::size_t>(row)) * width_ + left_;
    }

    const InputSpec& input_;
    const Kernels& with_;
    float* out_;
    std::size_t width_, height_, top_, left_, rows_, columns_;
    bool gray_, turned_;  // turned: the colours' order in memory is not that of the tensor
    float gain_[3] = {}, shift_[3] = {}, pad_[3] = {};
};

}  // namespace

Placement prepare_with(const Kernels& with, const InputSpec& input, const Image& image,
                       float* tensor) {
    const Fit fit = fit_of(input, image);
    const Resize2d resize = resize_of(input, image, fit);
    try {
        Tensor out(input, image, fit, resize, with, tensor);
        out.fill_padding();
        resample(image, input.channels == 1, resize, with, out);
    } catch (const std::bad_alloc&) {
        throw Error(MAHTRT_OUT_OF_MEMORY,
                    sentence("image", "too little memory", "room to resize it"));
    }
    return placement_from(fit, image);
}

Placement placement_of(const InputSpec& input, const Image& image) {
    return placement_from(fit_of(input, image), image);
}

Placement prepare(const InputSpec& input, const Image& image, float* tensor) {
    return prepare_with(kernels(), input, image, tensor);
}

void resample(const Image& image, bool gray, const Resize2d& resize, const Kernels& with,
              LevelSink& sink) {
    const bool antialiased = resize.interpolation == Interpolation::kAntialiasedLinear ||
                             resize.interpolation == Interpolation::kAntialiasedCubic;
    const bool same =
        resize.new_height == resize.old_height && resize.new_width == resize.old_width;
    if (antialiased && !same) return resample_antialiased(image, gray, resize, with, sink);
    resample_exact(image, gray, resize, with, sink);
}

}  // namespace mahtrt
