// The context model of the coder small: what it keeps, and how it walks a row. Which contexts foresee each bit is in
// small_contexts.h, which whoever codes includes. Written once for both directions: what `Coder::code` returns is the
// bit. Normative: docs/coder-small.md, "Model".
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <utility>
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

    // Codes the next row, whose symbols an encoder reads and a decoder fills (the last row may be short). Returns
    // whether the row is alive; a decoder leaves the symbols of one that is not, which are all 0, as they were.
    template <class Coder>
    bool code_row(Coder& coder, SymbolRow symbols);

    void end();

  private:
    // Signed magnitudes (0: no survivor, else sign times 1 + magnitude) around an element: in its row one and two to
    // the left (west), above (north) and across, and at the same pixel of the one and two channels before.
    struct Near {
        int west = 0, north = 0, northwest = 0, northeast = 0, west2 = 0, north2 = 0, before = 0, before2 = 0;

        // Their sum, each counting as its absolute value, and how many are not 0.
        std::pair<std::uint64_t, std::uint64_t> magnitudes() const {
            std::pair<std::uint64_t, std::uint64_t> sum_count{0, 0};
            for (const int z : {west, north, northwest, northeast, west2, north2, before, before2}) {
                sum_count.first += static_cast<std::uint64_t>(std::abs(z));
                sum_count.second += z != 0 ? 1 : 0;
            }
            return sum_count;
        }
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
    std::uint32_t code_large(Coder& coder, std::uint32_t code, const Spot& at, const Near& near);
    template <class Coder>
    int code_sign(Coder& coder, int sign, const Spot& at, const Near& near);
    template <class Coder>
    std::uint32_t code_magnitude(Coder& coder, std::uint32_t magnitude, int sign, const Spot& at, const Near& near);

    void end_row(bool alive);
    Near look_around(const Spot& at) const;
    int at_pixel(const Spot& at, std::size_t up, std::ptrdiff_t right) const;
    void radiate(const Spot& at);
    void note_survivor(const Spot& at, int sign, std::uint32_t magnitude);
    std::size_t coarse(std::uint64_t sum, std::uint64_t count, std::size_t levels = 8) const;
    std::size_t link_of(const std::vector<std::uint32_t>* link, std::size_t index) const;

    static constexpr int kLimit = Counter::kMaxLimit;
    // A dense tensor of more elements teaches simple contexts all they need, in a third of the time.
    static constexpr std::uint64_t kLarge = std::uint64_t{1} << 16;
    static constexpr std::size_t kLargeContexts = 2 * 16 * 16;
    static constexpr std::array<std::size_t, 5> kMaskCounters{12 * 64, 32 * 8, 16 * 16 * 8, 8 * 32, 12 * 8 * 8};
    static constexpr std::size_t kNodes = 272;  // of a magnitude's tree: 256, then one for each deeper bit
    static constexpr std::array<std::size_t, 8> kAtNode{2, 8, 16, 16, 64, 32, 16, 1};  // counters, by table

    // Kept from tensor to tensor.
    MixedBit<7> mask_bit_;
    MixedBit<6> sign_bit_;
    MixedBit<7> magnitude_bit_;
    std::array<std::vector<Counter>, kMaskCounters.size()> mask_;
    std::array<std::vector<Counter>, 3> sign_;
    std::array<std::vector<Counter>, kAtNode.size()> magnitude_;
    Counter any_sign_;
    std::size_t tensors_ = 0;
    std::vector<std::uint64_t> earlier_rows_;
    std::vector<std::vector<std::uint32_t>> earlier_survivors_;  // of each row of each earlier tensor

    // Of the tensor being coded.
    SmallTensor tensor_;
    std::uint64_t row_index_ = 0;
    std::uint64_t live_rows_ = 0;
    std::uint32_t top_magnitude_ = 0;
    bool large_ = false;  // dense and of more than kLarge elements
    std::vector<Counter> large_sign_;
    std::vector<Counter> large_node_;     // by node and sign
    std::vector<Counter> large_context_;  // by node and kLargeContexts
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
inline std::size_t leaning(int balance) {
    return balance < -2 ? 0 : balance < 0 ? 1 : balance == 0 ? 2 : balance <= 2 ? 3 : 4;
}
inline int direction(int z) {
    return (z > 0) - (z < 0);
}

}  // namespace small_detail

template <class Coder>
bool SmallModel::code_row(Coder& coder, SymbolRow symbols) {
    const Layout& layout = tensor_.layout;
    row_ = RowState{};
    if (!code_alive(coder, symbols)) {
        end_row(false);
        return false;
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
                if (large_) {
                    symbol = 1 + code_large(coder, symbol - 1, at, near);
                } else if (tensor_.sparse && !code_mask(coder, symbol != 0, at, near)) {
                    symbol = 0;
                } else {
                    symbol = 1 + code_code(coder, symbol - 1, at, near);
                }
            }
        }
    }
    end_row(true);
    return true;
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

}  // namespace lissome
