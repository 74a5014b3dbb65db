#include "codec/text.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <string>

#include "codec/errors.h"
#include "codec/mixer.h"
#include "codec/range_coder.h"

namespace lissome {
namespace {

constexpr std::uint32_t kHalf = 32768;
constexpr int kLengthBits = 6;  // of the bit width of a text's length
constexpr int kLimit = 255;
constexpr std::uint32_t kMix1 = 0x9E3779B1;
constexpr std::uint32_t kMix2 = 0x85EBCA6B;

bool is_word(std::uint8_t byte) {
    return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') ||
           byte == '_' || byte >= 128;
}

// Takes the place of a coder while the model reads the prime.
struct Reader {
    int code(int bit, std::uint32_t /*p*/) { return bit; }
};

class TextModel {
  public:
    TextModel(std::span<const std::uint8_t> prime, unsigned table_bits)
        : shift_(32 - table_bits), order0_(256), match_counters_(2 * kMaxMatch + 2) {
        for (auto& table : tables_) table.resize(std::size_t{1} << table_bits);
        Reader reader;
        for (const std::uint8_t byte : prime) code_byte(reader, byte);
    }

    template <class Coder>
    std::uint8_t code_byte(Coder& coder, std::uint8_t byte) {
        std::uint32_t node = 1;
        for (int k = 7; k >= 0; --k) {
            node = node * 2 + static_cast<std::uint32_t>(code_bit(coder, byte >> k & 1, node, k));
        }
        append(static_cast<std::uint8_t>(node));
        return static_cast<std::uint8_t>(node);
    }

  private:
    static constexpr std::size_t kOrders = 6;  // contexts by hash: the last 1, 2, 3, 4 and 6 bytes, and the word
    static constexpr std::size_t kMaxMatch = 15;
    static constexpr std::size_t kMinMatch = 5;

    template <class Coder>
    int code_bit(Coder& coder, int bit, std::uint32_t node, int k) {
        // What followed the last time the latest bytes were seen, as long as it agrees with this byte's first bits.
        std::size_t expect = 0;
        if (match_ > 0) {
            const std::uint32_t followed = 256U | history_[match_];
            if (followed >> (k + 1) == node) {
                expect = 2 * std::min(match_length_, kMaxMatch) + (followed >> k & 1);
            }
        }
        MixedBit<kOrders + 1>::Contexts contexts;
        for (std::size_t i = 0; i < kOrders; ++i) {
            contexts[i] = &tables_[i][((contexts_[i] ^ (node * kMix1)) * kMix2) >> shift_];
        }
        contexts[kOrders] = &match_counters_[expect];
        Counter& base = order0_[node];
        const std::size_t last = history_.empty() ? 0 : history_.back();
        bit = bit_.code(coder, bit, Logistic::stretch(base.p()), contexts, expect / 2, last >> 5);
        base.update(bit, kLimit);
        return bit;
    }

    void append(std::uint8_t byte) {
        history_.push_back(byte);
        word_ = is_word(byte) ? (word_ + byte + 1) * kMix1 : 0;
        std::uint32_t hash = 0;
        constexpr std::array<std::size_t, kOrders> table_of{0, 1, 2, 3, kOrders, 4};  // order 5 has no table
        for (std::size_t order = 1; order <= std::min<std::size_t>(6, history_.size()); ++order) {
            hash = (hash + history_[history_.size() - order] + 1) * kMix1;
            hash ^= hash >> 15;
            if (table_of[order - 1] < kOrders) contexts_[table_of[order - 1]] = hash;
            if (order == kMinMatch) find_match(hash);
        }
        contexts_[kOrders - 1] = word_ * kMix2 + byte;
    }

    void find_match(std::uint32_t hash) {
        if (match_ > 0 && history_[match_] == history_.back()) {
            ++match_;
            ++match_length_;
        } else {
            match_ = 0;
        }
        std::uint32_t& seen = seen_at_[hash >> 20];
        if (match_ == 0 && seen > 0) {
            std::size_t length = 0;
            while (length < 32 && length < seen &&
                   history_[seen - 1 - length] == history_[history_.size() - 1 - length]) {
                ++length;
            }
            if (length >= kMinMatch) {
                match_ = seen;
                match_length_ = length;
            }
        }
        seen = static_cast<std::uint32_t>(history_.size());
    }

    MixedBit<kOrders + 1> bit_{16, 8, 65536 * 3 / 10, {1300, 400}, kLimit};
    unsigned shift_;  // of a hash, to a place in its table
    std::vector<Counter> order0_;
    std::array<std::vector<Counter>, kOrders> tables_;
    std::vector<Counter> match_counters_;
    std::array<std::uint32_t, kOrders> contexts_{};
    std::uint32_t word_ = 0;
    std::array<std::uint32_t, 4096> seen_at_{};  // by the hash of the five bytes before: where they last ended
    std::size_t match_ = 0;                      // where in history_ the byte that should follow is; 0: no match
    std::size_t match_length_ = 0;
    std::vector<std::uint8_t> history_;
};

template <class Coder>
std::uint64_t code_length(Coder& coder, std::uint64_t length) {
    const auto number = [&](std::uint64_t value, int bits) {
        std::uint64_t result = 0;
        for (int k = bits - 1; k >= 0; --k) {
            result = result * 2 + static_cast<std::uint64_t>(coder.code(static_cast<int>(value >> k & 1), kHalf));
        }
        return result;
    };
    const auto width = static_cast<int>(number(static_cast<std::uint64_t>(std::bit_width(length)), kLengthBits));
    if (width == 0) return 0;
    const std::uint64_t top = std::uint64_t{1} << (width - 1);
    return top + number(length - top, width - 1);
}

}  // namespace

std::vector<std::uint8_t> text_encode(std::span<const std::uint8_t> data, std::span<const std::uint8_t> prime,
                                      unsigned table_bits) {
    std::vector<std::uint8_t> out;
    RangeEncoder coder(out);
    code_length(coder, data.size());
    if (!data.empty()) {
        TextModel model(prime, table_bits);
        for (const std::uint8_t byte : data) model.code_byte(coder, byte);
    }
    coder.finish();
    return out;
}

std::vector<std::uint8_t> text_decode(std::span<const std::uint8_t> data, std::span<const std::uint8_t> prime,
                                      std::uint64_t max_bytes, unsigned table_bits) {
    std::vector<std::uint8_t> out;
    RangeDecoder coder(data);
    const std::uint64_t length = code_length(coder, 0);
    if (length > max_bytes) {
        throw LimitError("a text of " + std::to_string(length) + " bytes, but the limit is " +
                         std::to_string(max_bytes));
    }
    if (length > 0) {
        TextModel model(prime, table_bits);
        for (std::uint64_t i = 0; i < length; ++i) {
            out.push_back(model.code_byte(coder, 0));
            if (coder.exhausted()) {
                throw FormatError("the stream ends before its text does; it is truncated or damaged");
            }
        }
    }
    if (!coder.finished()) {
        throw FormatError("the stream does not end where its text does; it is damaged");
    }
    return out;
}

}  // namespace lissome
