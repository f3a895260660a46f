// Area, linear, cubic and nearest: the weights of both axes are applied in integers, and the sum is
// rounded once. Rows are added first, which is one long loop without look-ups; what is left is one
// row of sums per new row.
#include <algorithm>
#include <limits>
#include <type_traits>

#include "image_rows.h"
#include "resample.h"

namespace mahtrt {
namespace {

constexpr std::int64_t kPad = 2;  // columns that taps reach beyond the image
constexpr std::int64_t kMost32 = std::numeric_limits<std::uint32_t>::max();

// One of both tables is filled.
struct ColumnTables {
    std::vector<std::int32_t> places, weights;  // of TapTable, or places and fractions of EdgeTable

    ColumnTables(const ExactAxis& axis, Kept kept, std::int64_t first, std::size_t planes) {
        const auto step = static_cast<std::int64_t>(planes);
        if (axis.is_mean()) {
            for (std::int64_t i = 0; i <= kept.count; ++i) {
                const std::int64_t edge = axis.edge(kept.first + i), length = axis.new_length();
                places.push_back(static_cast<std::int32_t>((edge / length - first) * step));
                weights.push_back(static_cast<std::int32_t>(edge % length));
            }
            return;
        }
        const auto count = static_cast<std::size_t>(kept.count);
        weights.resize(count * static_cast<std::size_t>(axis.tap_count()));
        for (std::size_t i = 0; i < count; ++i) {
            const Taps taps = axis.taps(kept.first + static_cast<std::int64_t>(i));
            places.push_back(static_cast<std::int32_t>((taps.first - first) * step));
            for (std::size_t k = 0; k * count < weights.size(); ++k)
                weights[k * count + i] = taps.weights[k];
        }
    }
};

template <class Sum>
class ExactResize {
  public:
    ExactResize(ImageRows& rows, const Resize2d& resize, const ExactAxis& down,
                const ExactAxis& across, std::int64_t first_column, const Kernels& with)
        : rows_(rows),
          with_(with),
          down_(down),
          across_(across),
          kept_(resize.columns),
          tables_(across, resize.columns, first_column, rows.planes()),
          column_sums_(rows.samples() + 2 * pad()),
          sums_(static_cast<std::size_t>(kept_.count)),
          levels_(sums_.size() * rows.planes()) {
        if (across.is_mean() && !prefixes_fit_32_bits())
            prefixes_.resize(rows.samples() + 2 * rows.planes());
    }

    // Levels of a new row.
    const float* row(std::int64_t number) {
        if (down_.is_mean())
            add_means(number);
        else
            add_taps(number);
        return across();
    }

  private:
    std::size_t pad() const noexcept { return static_cast<std::size_t>(kPad) * rows_.planes(); }
    Sum* columns() noexcept { return column_sums_.data() + pad(); }

    void add(const WeightedRows& from) { add(columns(), from); }
    void add(std::uint32_t* to, const WeightedRows& from) {
        (rows_.wide() ? with_.add_rows_16_u32 : with_.add_rows_8_u32)(to, from, rows_.samples());
    }
    void add(std::int64_t* to, const WeightedRows& from) {
        (rows_.wide() ? with_.add_rows_16_i64 : with_.add_rows_8_i64)(to, from, rows_.samples());
    }

    void add_taps(std::int64_t number) {
        const Taps taps = down_.taps(number);
        WeightedRows from;
        from.count = down_.tap_count();
        for (int k = 0; k < from.count; ++k) {
            from.rows[k] =
                rows_.row(std::clamp<std::int64_t>(taps.first + k, 0, rows_.height() - 1));
            from.weights[k] = taps.weights[static_cast<std::size_t>(k)];
        }
        add(from);
    }

    // Rows from one edge to the next: all of them count `length`, but for the first and the last.
    void add_means(std::int64_t number) {
        const std::int64_t length = down_.new_length();
        const std::int64_t from_edge = down_.edge(number), to_edge = down_.edge(number + 1);
        const std::int64_t end = (to_edge + length - 1) / length;
        WeightedRows from;
        from.inner_equal = true;
        for (std::int64_t y = from_edge / length; y < end; ++y) {
            const std::int64_t covered =
                std::min((y + 1) * length, to_edge) - std::max(y * length, from_edge);
            from.rows[from.count] = rows_.row(y);
            from.weights[from.count] = static_cast<std::int32_t>(covered);
            if (++from.count == WeightedRows::kMost || y + 1 == end) {
                add(from);
                from.count = 0;
                from.accumulate = true;
            }
        }
    }

    // Pixels beside the image are those at its edge.
    void fill_pads() {
        Sum* first = columns();
        Sum* end = first + rows_.samples();
        const std::size_t planes = rows_.planes();
        for (std::size_t x = 0; x < pad(); ++x) {
            *(first - 1 - x) = first[planes - 1 - x % planes];
            end[x] = *(end - planes + x % planes);
        }
    }

    const float* across() {
        if (across_.is_mean())
            add_prefixes(columns());
        else
            fill_pads();
        for (std::size_t plane = 0; plane < rows_.planes(); ++plane) {
            if (across_.is_mean())
                means_across(columns(), plane);
            else
                taps_across(columns() + plane);
            round(levels_.data() + plane * sums_.size());
        }
        return levels_.data();
    }

    // Whether no interval of columns adds up to 2^32: then prefix sums may wrap around, and take
    // the place of what they sum up.
    bool prefixes_fit_32_bits() const noexcept {
        const std::int64_t longest =
            (across_.old_length() + across_.new_length() - 1) / across_.new_length();
        return std::is_same_v<Sum, std::uint32_t> &&
               longest * down_.sum() * (rows_.wide() ? 65535 : 255) <= kMost32;
    }

    void add_prefixes(std::uint32_t* sums) {
        const std::size_t samples = rows_.samples(), step = rows_.planes();
        if (prefixes_.empty())
            with_.prefix_u32(sums - step, sums, samples, step);
        else
            with_.prefix_u64(prefixes_.data(), sums, samples, step);
    }
    void add_prefixes(std::int64_t* sums) {
        with_.prefix_i64(prefixes_.data(), sums, rows_.samples(), rows_.planes());
    }

    void means_across(const Sum* sums, std::size_t plane) {
        const EdgeTable table{tables_.places.data(), tables_.weights.data(),
                              static_cast<std::int32_t>(across_.new_length()), rows_.planes(),
                              sums_.size()};
        if constexpr (std::is_same_v<Sum, std::uint32_t>)
            if (prefixes_.empty())
                return with_.means_u32(sums_.data(), sums - rows_.planes() + plane, table);
        with_.means_u64(sums_.data(), prefixes_.data() + plane, table);
    }

    TapTable tap_table() const noexcept {
        return {tables_.places.data(), tables_.weights.data(), across_.tap_count(), rows_.planes(),
                sums_.size()};
    }
    void taps_across(const std::uint32_t* from) {
        if (!is_cubic()) return with_.taps_u32(sums_.data(), from, tap_table());
        // The same bits as signed numbers, which the standard allows to be read so.
        with_.taps_i32(sums_.data(), reinterpret_cast<const std::int32_t*>(from), tap_table());
    }
    void taps_across(const std::int64_t* from) { with_.taps_i64(sums_.data(), from, tap_table()); }

    bool is_cubic() const noexcept { return down_.is_cubic() || across_.is_cubic(); }

    void round(float* levels) {
        if (!is_cubic()) {
            const auto divisor = static_cast<double>(down_.sum() * across_.sum());
            return with_.divide(levels, sums_.data(), divisor, sums_.size());
        }
        const int bits = down_.is_cubic() && across_.is_cubic() ? 44 : 22;
        with_.shift_i64(levels, sums_.data(), {bits, rows_.wide() ? 65535 : 255}, sums_.size());
    }

    ImageRows& rows_;
    const Kernels& with_;
    const ExactAxis& down_;
    const ExactAxis& across_;
    Kept kept_;
    ColumnTables tables_;
    std::vector<Sum> column_sums_;  // of a new row, with pads on both sides
    std::vector<std::uint64_t> prefixes_;
    std::vector<std::int64_t> sums_;
    std::vector<float> levels_;
};

// Whether the sums of columns fit into 32 bits: without sign, or with one for cubic, whose weights
// have a sum of absolute values of at most 1.375.
bool fits_32_bits(const ExactAxis& down, bool wide) {
    if (down.is_cubic()) return !wide;
    return down.sum() * (wide ? 65535 : 255) <= kMost32;
}

template <class Sum>
void run(ImageRows& rows, const Resize2d& resize, const ExactAxis& down, const ExactAxis& across,
         std::int64_t first_column, const Kernels& with, LevelSink& sink) {
    ExactResize<Sum> work(rows, resize, down, across, first_column, with);
    for (std::int64_t i = 0; i < resize.rows.count; ++i)
        sink.put(i, work.row(resize.rows.first + i));
}

}  // namespace

void resample_exact(const Image& image, bool gray, const Resize2d& resize, const Kernels& with,
                    LevelSink& sink) {
    const ExactAxis down(resize.interpolation, resize.old_height, resize.new_height);
    const ExactAxis across(resize.interpolation, resize.old_width, resize.new_width);
    const ExactAxis::Range columns = across.range(resize.columns);
    ImageRows rows(image, gray, columns.first, columns.end, with);
    if (fits_32_bits(down, image.wide))
        run<std::uint32_t>(rows, resize, down, across, columns.first, with, sink);
    else
        run<std::int64_t>(rows, resize, down, across, columns.first, with, sink);
}

}  // namespace mahtrt
