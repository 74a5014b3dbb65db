#include "codec/small_model.h"

namespace lissome {
namespace {

using small_detail::direction;

// No tensor has more columns, so longer ones cannot be linked to.
constexpr std::uint64_t kMaxLinked = 65536;

// What a survivor radiates to the pixels after it, down to five rows below and five columns to either side: 64 at
// distance 1, falling by exp(-0.6) a pixel.
constexpr int kReach = 5;
constexpr std::array<std::array<std::uint32_t, 2 * kReach + 1>, kReach + 1> kHeat{{
    {0, 0, 0, 0, 0, 0, 64, 35, 19, 11, 6},
    {5, 10, 17, 30, 50, 64, 50, 30, 17, 10, 5},
    {5, 8, 13, 21, 30, 35, 30, 21, 13, 8, 5},
    {4, 6, 9, 13, 17, 19, 17, 13, 9, 6, 4},
    {3, 4, 6, 8, 10, 11, 10, 8, 6, 4, 3},
    {2, 3, 4, 5, 5, 6, 5, 5, 4, 3, 2},
}};

constexpr MixRates kMaskRates{3932, 655};
constexpr MixRates kCodeRates{2621, 655};

}  // namespace

SmallModel::SmallModel()
    : mask_bit_(8, 8, 65536 / 4, kMaskRates, kLimit),
      sign_bit_(8, 1, 65536 / 5, kCodeRates, kLimit),
      magnitude_bit_(256, 8, 65536 / 5, kCodeRates, kLimit),
      sign_{std::vector<Counter>(81), std::vector<Counter>(17 * 8), std::vector<Counter>(27)} {}

void SmallModel::begin(const SmallTensor& tensor) {
    // What earlier tensors taught is a start, soon outweighed.
    const auto forget = [](auto& tables) {
        for (std::vector<Counter>& table : tables) {
            for (Counter& counter : table) counter.forget(8);
        }
    };
    if (tensors_ > 0) {
        forget(mask_);
        forget(sign_);
        forget(magnitude_);
    }
    ++tensors_;
    tensor_ = tensor;
    const Layout& layout = tensor.layout;
    const std::size_t columns = layout.columns();
    const std::size_t pixels = layout.height * layout.width;
    row_index_ = 0;
    live_rows_ = 0;
    top_magnitude_ = std::max(tensor.split, tensor.alphabet - tensor.split) - 1;
    const auto bits = static_cast<std::size_t>(std::bit_width(top_magnitude_));
    const std::size_t nodes = bits <= 8 ? std::size_t{1} << bits : kNodes;
    for (std::size_t i = 0; tensor.sparse && i < mask_.size(); ++i) {
        mask_[i].resize(kMaskCounters[i]);
    }
    large_ = !tensor.sparse && layout.size > kLarge;
    if (large_) {
        large_sign_.assign(45, Counter{});
        large_node_.assign(nodes * 2, Counter{});
        large_context_.assign(nodes * kLargeContexts, Counter{});
    }
    for (std::size_t i = 0; !large_ && i < magnitude_.size(); ++i) {
        // Tables grow to what a tensor needs: most alphabets are small, and an encoder copies the model for each try.
        if (magnitude_[i].size() < nodes * kAtNode[i]) magnitude_[i].resize(nodes * kAtNode[i]);
    }
    density_.start(65536 / 8, 2);
    alive_.fill(Counter{});
    was_alive_.fill(false);
    pixel_.assign(pixels, Counter{});
    pixel_sign_.assign(pixels, Counter{});
    columns_.assign(columns, Column{});
    for (std::vector<int>& row : rows_) row.assign(columns, 0);
    heat_.assign(columns, 0);
    survivors_.clear();
    column_link_ = nullptr;
    row_link_ = nullptr;
    for (const std::vector<std::uint32_t>& earlier : earlier_survivors_) {
        if (columns > 1 && earlier.size() > 1 && columns % earlier.size() == 0) column_link_ = &earlier;
        if (columns == 1 && earlier.size() == layout.rows) row_link_ = &earlier;
    }
}

void SmallModel::end() {
    if (tensor_.layout.rows > kMaxLinked) return;
    earlier_rows_.push_back(tensor_.layout.rows);
    earlier_survivors_.push_back(survivors_);
}

void SmallModel::end_row(bool alive) {
    if (tensor_.layout.rows <= kMaxLinked) {
        survivors_.push_back(row_.survivors);
    }
    ++row_index_;
    live_rows_ += alive ? 1 : 0;
}

int SmallModel::at_pixel(const Spot& at, std::size_t up, std::ptrdiff_t right) const {
    const std::ptrdiff_t x = static_cast<std::ptrdiff_t>(at.x) + right;
    if (up > at.y || x < 0 || x >= static_cast<std::ptrdiff_t>(tensor_.layout.width)) return 0;
    const std::size_t row_start = at.column - at.x - up * tensor_.layout.width;
    return rows_[0][row_start + static_cast<std::size_t>(x)];
}

SmallModel::Near SmallModel::look_around(const Spot& at) const {
    const std::size_t pixels = pixel_.size();
    if (pixels == 1) {
        return {.before = at.channel >= 1 ? rows_[0][at.column - 1] : 0,
                .before2 = at.channel >= 2 ? rows_[0][at.column - 2] : 0};
    }
    return {
        .west = at_pixel(at, 0, -1),
        .north = at_pixel(at, 1, 0),
        .northwest = at_pixel(at, 1, -1),
        .northeast = at_pixel(at, 1, 1),
        .west2 = at_pixel(at, 0, -2),
        .north2 = at_pixel(at, 2, 0),
        .before = at.channel >= 1 ? rows_[0][at.column - pixels] : 0,
        .before2 = at.channel >= 2 ? rows_[0][at.column - 2 * pixels] : 0,
    };
}

void SmallModel::radiate(const Spot& at) {
    const auto width = static_cast<std::ptrdiff_t>(tensor_.layout.width);
    const auto x = static_cast<std::ptrdiff_t>(at.x);
    for (std::size_t down = 0; down <= kReach && at.y + down < tensor_.layout.height; ++down) {
        const std::size_t row_start = at.column - at.x + down * tensor_.layout.width;
        for (std::ptrdiff_t to = std::max<std::ptrdiff_t>(x - kReach, 0); to < std::min(x + kReach + 1, width); ++to) {
            heat_[row_start + static_cast<std::size_t>(to)] += kHeat[down][static_cast<std::size_t>(to - x + kReach)];
        }
    }
}

void SmallModel::note_survivor(const Spot& at, int sign, std::uint32_t magnitude) {
    const int signed_magnitude = sign != 0 ? static_cast<int>(magnitude) + 1 : -static_cast<int>(magnitude) - 1;
    Column& column = columns_[at.column];
    ++column.survivors;
    column.magnitudes += magnitude;
    column.balance += direction(signed_magnitude);
    ++row_.survivors;
    row_.magnitudes += magnitude;
    row_.last = at.column + 1;
    row_.last_signed = signed_magnitude;
    rows_[0][at.column] = signed_magnitude;
    if (!tensor_.sparse || pixel_.size() == 1) return;  // the rest is for masks, and about other pixels
    radiate(at);
    const Layout& layout = tensor_.layout;
    for (std::size_t y = at.y > 0 ? at.y - 1 : 0; y < std::min(at.y + 2, layout.height); ++y) {
        for (std::size_t x = at.x > 0 ? at.x - 1 : 0; x < std::min(at.x + 2, layout.width); ++x) {
            if (y != at.y || x != at.x) {
                ++columns_[(at.channel * layout.height + y) * layout.width + x].around;
            }
        }
    }
}

// 0 for nothing known, else 1 + the mean of `count` magnitudes in eighths (say) of the largest, at most 7.
std::size_t SmallModel::coarse(std::uint64_t sum, std::uint64_t count, std::size_t levels) const {
    if (count == 0) return 0;
    return 1 + std::min<std::size_t>(sum * levels / (count * (std::uint64_t{top_magnitude_} + 1)), levels - 2);
}

// 0 without a link, else 1 + the bits of the linked row's survivors, at most 15.
std::size_t SmallModel::link_of(const std::vector<std::uint32_t>* link, std::size_t index) const {
    if (link == nullptr) return 0;
    const std::size_t per_row = link == column_link_ ? columns_.size() / link->size() : 1;
    return 1 + small_detail::log_band((*link)[index / per_row], 14);
}

}  // namespace lissome
