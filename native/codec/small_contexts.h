// The contexts of each bit that the coder small codes of an element: whether it survives, its sign, its magnitude.
// Normative: docs/coder-small.md, "Model".
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "codec/small_model.h"

namespace lissome {

template <class Coder>
bool SmallModel::code_mask(Coder& coder, bool survives, const Spot& at, const Near& near) {
    using namespace small_detail;
    const Layout& layout = tensor_.layout;
    const Column& column = columns_[at.column];
    // How often this column and the pixels around it survived, the tensor's density counting as two rows.
    const std::uint64_t around = (1 + (at.y > 0) + (at.y + 1 < layout.height)) *
                                     static_cast<std::uint64_t>(1 + (at.x > 0) + (at.x + 1 < layout.width)) -
                                 1;
    const std::uint64_t prior = 2 * (3 + around) * density_.p();
    const std::uint64_t hits = ((3 * std::uint64_t{column.survivors} + column.around) << 16) + prior;
    const std::uint64_t tries = ((3 + around) * (live_rows_ + 2)) << 16;
    const std::uint64_t misses = tries > hits ? tries - hits : 1;
    const int column_logit = Logistic::clamp((Logistic::ln(hits + 1) - Logistic::ln(misses)) >> 8);
    // How much more or less than its columns let expect this row has so far.
    const int row_excess = Logistic::clamp(
        (Logistic::ln((std::uint64_t{row_.survivors} + 1) << 16) - Logistic::ln(row_.expected + 65536)) >> 8);
    row_.expected += static_cast<std::uint64_t>(Logistic::squash(column_logit));

    // How near the row's survivors are in the image.
    const std::uint64_t heat = heat_[at.column];
    const int heat_logit = Logistic::clamp((Logistic::ln(heat + 16) - Logistic::ln(24)) >> 8);
    const auto heat_band = static_cast<std::size_t>(
        std::min<std::int64_t>(2 * (Logistic::ln(heat + 4) - Logistic::ln(4)) / Logistic::ln(2), 7));

    const std::size_t density_band = band(column_logit, -1500, 150, 12);
    const std::size_t excess_band = band(row_excess, -500, 120, 8);
    const auto set = [](int z) { return static_cast<std::size_t>(z != 0); };
    const std::size_t beside = set(near.west) + 2 * set(near.north) + 4 * set(near.northwest) +
                               8 * set(near.northeast) + 16 * set(near.before) +
                               32 * (set(near.west2) | set(near.north2));
    const std::size_t j = at.column;
    const std::size_t above = set(rows_[1][j]) + 2 * set(rows_[2][j]) + 4 * set(rows_[3][j]) +
                              8 * (j > 0 ? set(rows_[1][j - 1]) : 0) +
                              16 * (j + 1 < rows_[1].size() ? set(rows_[1][j + 1]) : 0);
    const std::size_t links = link_of(column_link_, j) * 16 + link_of(row_link_, row_index_);
    const std::size_t gap = log_band(row_.last != 0 ? j - row_.last + 2 : 0, 7);

    const MixedBit<7>::Contexts contexts{
        &slice_,
        &pixel_[at.pixel],
        &mask_[0][density_band * 64 + beside],
        &mask_[1][above + 32 * log_band(column.survivors, 7)],
        &mask_[2][links * 8 + excess_band],
        &mask_[3][gap * 32 + set(near.before) * 2 + set(near.before2) + 4 * log_band(row_.survivors, 7)],
        &mask_[4][(density_band * 8 + heat_band) * 8 + excess_band],
    };
    const int base = column_logit + (row_excess * 179 >> 8) + (pixel_.size() > 1 ? heat_logit >> 1 : 0);
    const bool bit = mask_bit_.code(coder, survives, Logistic::clamp(base), contexts, heat_band, excess_band) != 0;
    density_.update(bit, Counter::kMaxLimit);
    return bit;
}

template <class Coder>
std::uint32_t SmallModel::code_code(Coder& coder, std::uint32_t code, const Spot& at, const Near& near) {
    const std::uint32_t split = tensor_.split;
    const int sign = code_sign(coder, code >= split, at, near);
    const std::uint32_t magnitude = code_magnitude(coder, sign != 0 ? code - split : split - 1 - code, sign, at, near);
    note_survivor(at, sign, magnitude);
    return sign != 0 ? split + magnitude : split - 1 - magnitude;
}

// Each bit by one counter, that of its node and of the sizes that its column and its surroundings let expect; it starts
// from what the node alone says.
template <class Coder>
std::uint32_t SmallModel::code_large(Coder& coder, std::uint32_t code, const Spot& at, const Near& near) {
    using namespace small_detail;
    const auto code_bit = [&coder](int bit, const Counter& counter) {
        return coder.code(bit, std::max(counter.p(), 1U));
    };
    const std::uint32_t split = tensor_.split;
    const Column& column = columns_[at.column];
    int sign = split == 0;
    if (split > 0 && split < tensor_.alphabet) {
        Counter& counter = large_sign_[(leaning(column.balance) * 3 + sign_of(near.west)) * 3 + sign_of(near.north)];
        sign = code_bit(code >= split, counter);
        counter.update(sign, kLimit);
    }
    const std::uint32_t largest = sign != 0 ? tensor_.alphabet - 1 - split : split - 1;
    const std::uint32_t magnitude = sign != 0 ? code - split : split - 1 - code;
    const auto [sum, count] = near.magnitudes();
    const std::size_t beside = pixel_.size() > 1 ? coarse(sum, count, 16) : coarse(row_.magnitudes, row_.survivors, 16);
    const std::size_t context = (coarse(column.magnitudes, column.survivors, 16) * 16 + beside) * 2 + (sign != 0);
    std::uint32_t value = 0;
    std::size_t node = 1;
    for (int k = static_cast<int>(std::bit_width(top_magnitude_)) - 1; k >= 0; --k) {
        if (value + (1U << k) > largest) {
            node = node * 2;
            continue;
        }
        const std::size_t n = node < 256 ? node : 256 + static_cast<std::size_t>(k);
        Counter& general = large_node_[n * 2 + (sign != 0)];
        Counter& special = large_context_[n * kLargeContexts + context];
        if (special.seen() == 0) special.start(static_cast<int>(general.p()), 8);
        const int bit = code_bit(static_cast<int>(magnitude >> k & 1), special);
        general.update(bit, kLimit);
        special.update(bit, kLimit);
        node = node * 2 + static_cast<std::size_t>(bit);
        value += static_cast<std::uint32_t>(bit) << k;
    }
    note_survivor(at, sign, value);
    return sign != 0 ? split + value : split - 1 - value;
}

template <class Coder>
int SmallModel::code_sign(Coder& coder, int sign, const Spot& at, const Near& near) {
    using namespace small_detail;
    if (tensor_.split == 0) return 1;
    if (tensor_.split == tensor_.alphabet) return 0;
    const int pull = 2 * (direction(near.west) + direction(near.north)) + direction(near.northwest) +
                     direction(near.northeast) + direction(near.west2) + direction(near.north2);
    const MixedBit<6>::Contexts contexts{
        &row_.sign,
        &slice_sign_,
        &pixel_sign_[at.pixel],
        &sign_[0][((sign_of(near.west) * 3 + sign_of(near.north)) * 3 + sign_of(near.northwest)) * 3 +
                  sign_of(near.northeast)],
        &sign_[1][static_cast<std::size_t>(pull + 8) * 8 + leaning(columns_[at.column].balance)],
        &sign_[2][sign_of(near.before) * 9 + sign_of(near.before2) * 3 + sign_of(row_.last_signed)],
    };
    const int bit = sign_bit_.code(coder, sign, Logistic::stretch(any_sign_.p()), contexts,
                                   std::min<std::size_t>(static_cast<std::size_t>(std::abs(pull)), 7), 0);
    any_sign_.update(bit, kLimit);
    return bit;
}

template <class Coder>
std::uint32_t SmallModel::code_magnitude(Coder& coder, std::uint32_t magnitude, int sign, const Spot& at,
                                         const Near& near) {
    using namespace small_detail;
    const std::uint32_t largest = sign != 0 ? tensor_.alphabet - 1 - tensor_.split : tensor_.split - 1;
    const auto [sum, count] = near.magnitudes();
    const Column& column = columns_[at.column];
    const std::size_t s = static_cast<std::size_t>(sign);
    const std::size_t near_size = coarse(sum, count);
    const std::size_t column_size = coarse(column.magnitudes, column.survivors) * 2 + s;
    const std::size_t row_size = coarse(row_.magnitudes, row_.survivors) * 2 + s;
    const auto eighths = [&](int z) {
        return std::min<std::size_t>(static_cast<std::size_t>(std::abs(z)) * 8 / (top_magnitude_ + 1), 7);
    };
    const std::size_t pair = eighths(row_.last_signed) * 8 + eighths(near.west);
    const std::size_t pixel = pixel_.size() > 1 && pixel_.size() <= 32 ? at.pixel : 0;
    const std::size_t rank =
        std::min<std::size_t>((row_.survivors + 1) >> 2, 3) * 4 + std::min<std::size_t>(column.survivors + 1, 3);
    std::uint32_t value = 0;
    std::size_t node = 1;
    for (int k = static_cast<int>(std::bit_width(top_magnitude_)) - 1; k >= 0; --k) {
        if (value + (1U << k) > largest) {
            node = node * 2;
            continue;
        }
        const std::size_t n = node < 256 ? node : 256 + static_cast<std::size_t>(k);
        Counter& base = magnitude_[7][n];
        const MixedBit<7>::Contexts contexts{
            &magnitude_[0][n * 2 + s],         &magnitude_[1][n * 8 + near_size], &magnitude_[2][n * 16 + column_size],
            &magnitude_[3][n * 16 + row_size], &magnitude_[4][n * 64 + pair],     &magnitude_[5][n * 32 + pixel],
            &magnitude_[6][n * 16 + rank],
        };
        const int bit = magnitude_bit_.code(coder, static_cast<int>(magnitude >> k & 1), Logistic::stretch(base.p()),
                                            contexts, std::min<std::size_t>(node, 255), near_size);
        base.update(bit, Counter::kMaxLimit);
        node = node * 2 + static_cast<std::size_t>(bit);
        value += static_cast<std::uint32_t>(bit) << k;
    }
    return value;
}

}  // namespace lissome
