// Antialiased linear and cubic, as Pillow defines them: columns first, then rows, each rounded to
// levels. On an axis that keeps its length every pixel has weight 1 on its own: leaving the pass
// out gives the same. Rows whose columns are done wait in a ring until the last new row that needs
// them.
#include <algorithm>

#include "image_rows.h"
#include "resample.h"

namespace mahtrt {
namespace {

constexpr int kBits = AntialiasedAxis::kBits;

// The first pass: rows of the image with the new columns, plane behind plane, in samples.
class ColumnPass {
  public:
    ColumnPass(ImageRows& rows, const AntialiasedAxis& axis, std::int64_t first_column,
               const Kernels& with)
        : rows_(rows), axis_(axis), with_(with) {
        for (const AntialiasedAxis::Window& each : axis.windows)
            places_.push_back(static_cast<std::int32_t>(each.first - first_column));
        // Windows are as long as the longest: zeros behind the row.
        plane_.resize(rows.samples() / rows.planes() + static_cast<std::size_t>(axis.longest));
        if (rows.wide())
            sums_64_.resize(places_.size());
        else
            sums_32_.resize(places_.size());
    }

    std::size_t count() const noexcept { return places_.size(); }

    void make(unsigned char* out, std::int64_t number) {
        const unsigned char* row = rows_.row(number);
        const std::size_t bytes = rows_.wide() ? 2 : 1;
        for (std::size_t plane = 0; plane < rows_.planes(); ++plane) {
            const auto get = rows_.wide() ? with_.plane_16 : with_.plane_8;
            get(plane_.data(), row + plane * bytes, rows_.planes(),
                rows_.samples() / rows_.planes());
            make_plane(out + plane * count() * bytes);
        }
    }

  private:
    void make_plane(unsigned char* out) {
        const WindowTable table{places_.data(), axis_.weights.data(),
                                static_cast<std::size_t>(axis_.longest), count()};
        if (rows_.wide()) {
            with_.convolve_i64(sums_64_.data(), plane_.data(), table);
            with_.shift_i64_16(out, sums_64_.data(), {kBits, 65535}, count());
        } else {
            with_.convolve_i32(sums_32_.data(), plane_.data(), table);
            with_.shift_i32_8(out, sums_32_.data(), {kBits, 255}, count());
        }
    }

    ImageRows& rows_;
    const AntialiasedAxis& axis_;
    const Kernels& with_;
    std::vector<std::int32_t> places_, plane_, sums_32_;
    std::vector<std::int64_t> sums_64_;
};

// The second pass, over rows that the first makes when they are needed.
class RowPass {
  public:
    RowPass(ColumnPass& columns, const AntialiasedAxis& axis, std::size_t planes, bool wide,
            const Kernels& with)
        : columns_(columns),
          axis_(axis),
          with_(with),
          wide_(wide),
          samples_(columns.count() * planes),
          slots_(0),
          levels_(samples_) {
        for (const AntialiasedAxis::Window& each : axis.windows)
            slots_ = std::max(slots_, static_cast<std::int64_t>(each.count));
        ring_.resize(static_cast<std::size_t>(slots_) * row_bytes());
        if (wide)
            sums_64_.resize(samples_);
        else
            sums_32_.resize(samples_);
    }

    // Levels of a kept row; their numbers have to rise.
    const float* row(std::size_t number) {
        const AntialiasedAxis::Window window = axis_.windows[number];
        next_ = std::max(next_, window.first);
        for (; next_ < window.first + window.count; ++next_) columns_.make(slot(next_), next_);
        const std::int32_t* weights =
            axis_.weights.data() + number * static_cast<std::size_t>(axis_.longest);
        add(window, weights);
        if (wide_)
            with_.shift_i64(levels_.data(), sums_64_.data(), {kBits, 65535}, samples_);
        else
            with_.shift_i32(levels_.data(), reinterpret_cast<std::int32_t*>(sums_32_.data()),
                            {kBits, 255}, samples_);
        return levels_.data();
    }

  private:
    std::size_t row_bytes() const noexcept { return samples_ * (wide_ ? 2 : 1); }
    unsigned char* slot(std::int64_t number) noexcept {
        return ring_.data() + static_cast<std::size_t>(number % slots_) * row_bytes();
    }

    void add(const AntialiasedAxis::Window& window, const std::int32_t* weights) {
        WeightedRows from;
        for (std::int32_t k = 0; k < window.count; ++k) {
            from.rows[from.count] = slot(window.first + k);
            from.weights[from.count] = weights[k];
            if (++from.count < WeightedRows::kMost && k + 1 < window.count) continue;
            if (wide_)
                with_.add_rows_16_i64(sums_64_.data(), from, samples_);
            else
                with_.add_rows_8_u32(sums_32_.data(), from, samples_);
            from.count = 0;
            from.accumulate = true;
        }
    }

    ColumnPass& columns_;
    const AntialiasedAxis& axis_;
    const Kernels& with_;
    bool wide_;
    std::size_t samples_;
    std::int64_t slots_, next_ = 0;
    std::vector<unsigned char> ring_;
    std::vector<std::uint32_t> sums_32_;
    std::vector<std::int64_t> sums_64_;
    std::vector<float> levels_;
};

}  // namespace

void resample_antialiased(const Image& image, bool gray, const Resize2d& resize,
                          const Kernels& with, LevelSink& sink) {
    const AntialiasedAxis across(resize.interpolation, resize.old_width, resize.new_width,
                                 resize.columns);
    const AntialiasedAxis down(resize.interpolation, resize.old_height, resize.new_height,
                               resize.rows);
    const std::int64_t first = across.windows.front().first;
    const std::int64_t end = across.windows.back().first + across.windows.back().count;
    ImageRows rows(image, gray, first, end, with);
    ColumnPass columns(rows, across, first, with);
    RowPass work(columns, down, rows.planes(), rows.wide(), with);
    for (std::int64_t i = 0; i < resize.rows.count; ++i)
        sink.put(i, work.row(static_cast<std::size_t>(i)));
}

}  // namespace mahtrt
