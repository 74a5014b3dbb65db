// The context model of the coder small: which contexts foresee a weight's mask bit, sign and magnitude. Written once
// for both directions: what `Coder::code` returns is the bit. Normative: docs/coder-small.md, "Model".
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "codec/mixer.h"
#include "codec/small_layout.h"

namespace lissome {

// One tensor to the model. Codes below `split` count as negative: their magnitude rises as the code falls.
struct SmallTensor {
    Layout layout;
    bool sparse = false;
    std::uint32_t alphabet = 1;
    std::uint32_t split = 0;
};

// A row's symbols: 0 where nothing survives, else 1 + code.
using SymbolRow = std::span<std::uint32_t>;

class SmallModel {
  public:
    SmallModel();

    // Rows of the tensors before, by which later layouts are found.
    const std::vector<std::uint64_t>& earlier_rows() const { return earlier_rows_; }

    void begin(const SmallTensor& tensor);

    // Codes the next row; a decoder fills `symbols` (all of them, the last row may be short), an encoder reads it.
    template <class Coder>
    void code_row(Coder& coder, SymbolRow symbols);

    void end();

  private:
    // Signed magnitudes (0: no survivor, else sign times 1 + magnitude) around an element: in its row one and two to
    // the left (west), above (north) and across, and at the same pixel of the one and two channels before.
    struct Near {
        int west, north, northwest, northeast, west2, north2, before, before2;
    };
    // Where we are, and what the row told so far.
    struct Spot {
        std::size_t column, channel, y, x, pixel;
    };
    struct RowState {
        Counter sign;
        std::uint32_t survivors = 0;
        std::uint64_t magnitudes = 0;  // their sum
        std::uint64_t expected = 0;    // survivors that the columns let expect, in 65536ths
        std::size_t last = 0;          // column of the last survivor, plus 1
        int last_signed = 0;           // its signed magnitude
    };
    struct Column {
        std::uint32_t survivors = 0;
        std::uint32_t around = 0;      // survivors at the eight neighbouring pixels
        std::uint64_t magnitudes = 0;  // sum over this column's survivors
        int balance = 0;               // positive minus negative ones
    };

    template <class Coder>
    bool code_alive(Coder& coder, SymbolRow symbols);
    template <class Coder>
    bool code_mask(Coder& coder, bool survives, const Spot& at, const Near& near);
    template <class Coder>
    std::uint32_t code_code(Coder& coder, std::uint32_t code, const Spot& at, const Near& near);
    template <class Coder>
    int code_sign(Coder& coder, int sign, const Spot& at, const Near& near);
    template <class Coder>
    std::uint32_t code_magnitude(Coder& coder, std::uint32_t magnitude, int sign, const Spot& at, const Near& near);

    void end_row(bool alive);
    Near look_around(const Spot& at) const;
    int at_pixel(const Spot& at, std::size_t up, std::ptrdiff_t right) const;
    void radiate(const Spot& at);
    void note_survivor(const Spot& at, int sign, std::uint32_t magnitude);
    std::size_t coarse(std::uint64_t sum, std::uint64_t count) const;
    std::size_t link_of(const std::vector<std::uint32_t>* link, std::size_t index) const;

    static constexpr int kLimit = Counter::kMaxLimit;
    static constexpr std::size_t kNodes = 272;  // of a magnitude's tree: 256, then one for each deeper bit

    // Kept from tensor to tensor.
    MixedBit<7> mask_bit_;
    MixedBit<6> sign_bit_;
    MixedBit<7> magnitude_bit_;
    std::array<std::vector<Counter>, 5> mask_;
    std::array<std::vector<Counter>, 3> sign_;
    std::array<std::vector<Counter>, 8> magnitude_;
    Counter any_sign_;
    std::vector<std::uint64_t> earlier_rows_;
    std::vector<std::vector<std::uint32_t>> earlier_survivors_;  // of each row of each earlier tensor

    // Of the tensor being coded.
    SmallTensor tensor_;
    std::uint64_t row_index_ = 0;
    std::uint64_t live_rows_ = 0;
    std::uint32_t top_magnitude_ = 0;
    Counter density_;
    std::array<Counter, 6> alive_;
    std::array<bool, 2> was_alive_{};
    std::vector<Counter> pixel_;
    std::vector<Counter> pixel_sign_;
    std::vector<Column> columns_;
    std::array<std::vector<int>, 4> rows_;  // signed magnitudes of this row, and of the live rows before
    std::vector<std::uint32_t> heat_;       // at each column: what this row's survivors radiate to later pixels
    std::vector<std::uint32_t> survivors_;  // of each row
    const std::vector<std::uint32_t>* column_link_ = nullptr;
    const std::vector<std::uint32_t>* row_link_ = nullptr;

    // Of the row being coded.
    RowState row_;
    Counter slice_;  // of the channel being coded, in this row
    Counter slice_sign_;
};

namespace small_detail {

inline std::size_t band(int value, int lowest, int step, int bands) {
    return static_cast<std::size_t>(std::clamp((value - lowest) / step, 0, bands - 1));
}
inline std::size_t log_band(std::uint64_t value, std::size_t top) {
    return std::min<std::size_t>(static_cast<std::size_t>(std::bit_width(value)), top);
}
inline std::size_t sign_of(int z) {
    return z > 0 ? 2 : z < 0 ? 1 : 0;
}
inline int direction(int z) {
    return (z > 0) - (z < 0);
}

}  // namespace small_detail

template <class Coder>
void SmallModel::code_row(Coder& coder, SymbolRow symbols) {
    const Layout& layout = tensor_.layout;
    row_ = RowState{};
    if (!code_alive(coder, symbols)) {
        std::fill(symbols.begin(), symbols.end(), 0);
        end_row(false);
        return;
    }
    std::rotate(rows_.begin(), rows_.end() - 1, rows_.end());
    std::fill(rows_[0].begin(), rows_[0].end(), 0);
    std::fill(heat_.begin(), heat_.end(), 0);
    Spot at{};
    for (at.channel = 0; at.channel < layout.channels; ++at.channel) {
        slice_ = Counter{};
        slice_sign_ = Counter{};
        at.pixel = 0;
        for (at.y = 0; at.y < layout.height; ++at.y) {
            for (at.x = 0; at.x < layout.width; ++at.x, ++at.pixel, ++at.column) {
                if (at.column >= symbols.size()) break;
                std::uint32_t& symbol = symbols[at.column];
                const Near near = look_around(at);
                if (tensor_.sparse && !code_mask(coder, symbol != 0, at, near)) {
                    symbol = 0;
                } else {
                    symbol = 1 + code_code(coder, symbol - 1, at, near);
                }
            }
        }
    }
    end_row(true);
}

template <class Coder>
bool SmallModel::code_alive(Coder& coder, SymbolRow symbols) {
    if (!tensor_.sparse || tensor_.layout.columns() < 8) return true;
    const auto is_alive = [&] {
        return std::any_of(symbols.begin(), symbols.end(), [](std::uint32_t s) { return s != 0; });
    };
    const std::size_t last = row_index_ == 0 ? 2 : was_alive_[0];
    const bool alive = code_plain(coder, is_alive(), alive_[last * 2 + was_alive_[1]], 60) != 0;
    was_alive_[1] = was_alive_[0];
    was_alive_[0] = alive;
    return alive;
}

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

template <class Coder>
int SmallModel::code_sign(Coder& coder, int sign, const Spot& at, const Near& near) {
    using namespace small_detail;
    if (tensor_.split == 0) return 1;
    if (tensor_.split == tensor_.alphabet) return 0;
    const int pull = 2 * (direction(near.west) + direction(near.north)) + direction(near.northwest) +
                     direction(near.northeast) + direction(near.west2) + direction(near.north2);
    const int balance = columns_[at.column].balance;
    const std::size_t leaning = balance < -2 ? 0 : balance < 0 ? 1 : balance == 0 ? 2 : balance <= 2 ? 3 : 4;
    const MixedBit<6>::Contexts contexts{
        &row_.sign,
        &slice_sign_,
        &pixel_sign_[at.pixel],
        &sign_[0][((sign_of(near.west) * 3 + sign_of(near.north)) * 3 + sign_of(near.northwest)) * 3 +
                  sign_of(near.northeast)],
        &sign_[1][static_cast<std::size_t>(pull + 8) * 8 + leaning],
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
    std::uint64_t sum = 0;
    std::uint64_t count = 0;
    for (const int z :
         {near.west, near.north, near.northwest, near.northeast, near.west2, near.north2, near.before, near.before2}) {
        sum += static_cast<std::uint64_t>(std::abs(z));
        count += z != 0 ? 1 : 0;
    }
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
