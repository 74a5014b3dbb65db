#include "codec/huffman_table.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "codec/runs.h"

namespace lissome {
namespace {

constexpr unsigned kFirstBits = 11;  // a table of 8 KiB: both of a sparse tensor stay in the first-level cache
constexpr std::uint32_t kLongCode = 31;

// Length of each leaf, for two or more `weights` in increasing order.
std::vector<std::uint8_t> package_merge(std::span<const std::uint64_t> weights) {
    const std::size_t n = weights.size();
    const std::size_t levels = std::min<std::size_t>(kMaxCodeLength, n - 1);  // no optimal code is longer than n - 1
    // by level, deepest first: whether each item of the merged list is a leaf (else a package of two from below)
    std::vector<std::vector<bool>> is_leaf;
    std::vector<std::uint64_t> below;  // weights of the level's items, in order
    for (std::size_t level = 0; level < levels; ++level) {
        std::vector<std::uint64_t> items;
        std::vector<bool> leaf;
        items.reserve(2 * n);
        leaf.reserve(2 * n);
        std::size_t at = 0;
        std::size_t package = 0;
        while (at < n || package + 1 < below.size()) {
            const bool packages_left = package + 1 < below.size();
            const std::uint64_t paired = packages_left ? below[package] + below[package + 1] : 0;
            const bool take_leaf = at < n && (!packages_left || weights[at] <= paired);
            items.push_back(take_leaf ? weights[at++] : paired);
            leaf.push_back(take_leaf);
            package += take_leaf ? 0 : 2;
        }
        below = std::move(items);
        is_leaf.push_back(std::move(leaf));
    }
    std::vector<std::uint8_t> lengths(n, 0);
    std::size_t take = 2 * n - 2;
    for (std::size_t level = levels; level-- > 0 && take > 0;) {
        std::size_t leaves = 0;
        for (std::size_t i = 0; i < take; ++i) {
            leaves += is_leaf[level][i] ? 1 : 0;
        }
        for (std::size_t i = 0; i < leaves; ++i) {
            ++lengths[i];
        }
        take = 2 * (take - leaves);
    }
    return lengths;
}

// The number of codes of each length.
std::array<std::uint32_t, kMaxCodeLength + 1> count_lengths(const HuffmanCode& code) {
    std::array<std::uint32_t, kMaxCodeLength + 1> counts{};
    for (const std::uint8_t length : code.lengths) {
        ++counts[length];
    }
    return counts;
}

// The first code of each length, by counting (shorter codes are smaller numbers when both are left-aligned).
std::array<std::uint32_t, kMaxCodeLength + 1> first_codes(const HuffmanCode& code) {
    const auto counts = count_lengths(code);
    std::array<std::uint32_t, kMaxCodeLength + 1> first{};
    for (unsigned length = 1; length <= kMaxCodeLength; ++length) {
        first[length] = (first[length - 1] + (length > 1 ? counts[length - 1] : 0)) << 1;
    }
    return first;
}

std::uint64_t zigzag(int difference) {
    return difference >= 0 ? 2 * static_cast<std::uint64_t>(difference)
                           : 2 * static_cast<std::uint64_t>(-difference) - 1;
}

}  // namespace

HuffmanCode make_code(std::span<const std::uint64_t> counts) {
    HuffmanCode code;
    for (std::uint32_t symbol = 0; symbol < counts.size(); ++symbol) {
        if (counts[symbol] > 0) {
            code.symbols.push_back(symbol);
        }
    }
    code.lengths.assign(code.symbols.size(), 0);
    if (code.symbols.size() < 2) {
        return code;
    }
    std::vector<std::uint32_t> order(code.symbols.size());
    std::iota(order.begin(), order.end(), 0u);
    std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
        return counts[code.symbols[a]] < counts[code.symbols[b]];
    });
    std::vector<std::uint64_t> weights;
    weights.reserve(order.size());
    for (const std::uint32_t i : order) {
        weights.push_back(counts[code.symbols[i]]);
    }
    const std::vector<std::uint8_t> lengths = package_merge(weights);
    for (std::size_t i = 0; i < order.size(); ++i) {
        code.lengths[order[i]] = lengths[i];
    }
    return code;
}

void write_code(BitWriter& out, const HuffmanCode& code, std::uint32_t alphabet) {
    write_runs(out, code.symbols, alphabet);
    if (code.symbols.size() == 1) {
        return;
    }
    int previous = 0;
    for (const std::uint8_t length : code.lengths) {
        out.put_count(zigzag(length - previous));
        previous = length;
    }
}

HuffmanCode read_code(BitReader& in, std::uint32_t alphabet) {
    HuffmanCode code;
    code.symbols = read_runs(in, alphabet);
    if (code.symbols.size() == 1) {
        code.lengths.push_back(0);
        return code;
    }
    std::uint64_t space = 0;  // in units of the longest code; exact, as each adds at most 2^19
    int previous = 0;
    for (std::size_t i = 0; i < code.symbols.size(); ++i) {
        const std::uint64_t difference = std::min<std::uint64_t>(in.get_count(), 2 * kMaxCodeLength + 2);
        const int half = static_cast<int>((difference + 1) / 2);
        const int length = previous + (difference % 2 == 0 ? half : -half);
        if (length < 1 || length > static_cast<int>(kMaxCodeLength)) {
            throw FormatError("a code of " + std::to_string(length) + " bits; 1 to 20 are allowed");
        }
        space += std::uint64_t{1} << (kMaxCodeLength - static_cast<unsigned>(length));
        code.lengths.push_back(static_cast<std::uint8_t>(length));
        previous = length;
    }
    if (space != std::uint64_t{1} << kMaxCodeLength) {
        throw FormatError("code lengths that do not fill the code space exactly");
    }
    return code;
}

EncodeTable::EncodeTable(const HuffmanCode& code, std::uint32_t alphabet) : codes(alphabet), lengths(alphabet) {
    auto next = first_codes(code);
    for (std::size_t i = 0; i < code.symbols.size(); ++i) {
        lengths[code.symbols[i]] = code.lengths[i];
        codes[code.symbols[i]] = next[code.lengths[i]]++;
    }
}

DecodeTable::DecodeTable(const HuffmanCode& code) {
    shortest_ = *std::min_element(code.lengths.begin(), code.lengths.end());
    longest_ = *std::max_element(code.lengths.begin(), code.lengths.end());
    first_bits_ = std::min(longest_, kFirstBits);
    const auto counts = count_lengths(code);
    const auto first = first_codes(code);
    std::array<std::uint32_t, kMaxCodeLength + 1> next{};  // by length: where its next symbol goes
    for (unsigned length = 1, sum = 0; length <= kMaxCodeLength; ++length) {
        next[length] = sum;
        sum += counts[length];
        end_[length] = first[length] + counts[length];
        offset_[length] = first[length] - next[length];
    }
    symbols_.resize(code.symbols.size());
    for (std::size_t i = 0; i < code.symbols.size(); ++i) {
        symbols_[next[code.lengths[i]]++] = code.symbols[i];
    }
    first_.assign(std::size_t{1} << first_bits_, kLongCode);
    std::size_t at = 0;
    std::size_t slot = 0;
    for (unsigned length = shortest_; length <= first_bits_; ++length) {
        for (std::uint32_t i = 0; i < counts[length]; ++i, ++at) {
            const std::size_t slots = std::size_t{1} << (first_bits_ - length);
            std::fill_n(first_.begin() + static_cast<std::ptrdiff_t>(slot), slots, symbols_[at] << 5 | length);
            slot += slots;
        }
    }
}

DecodeTable::Hit DecodeTable::find_long(std::uint64_t window) const {
    unsigned length = first_bits_ + 1;
    while (length < kMaxCodeLength && (window >> (64 - length)) >= end_[length]) {
        ++length;
    }
    const std::uint32_t at = static_cast<std::uint32_t>(window >> (64 - length)) - offset_[length];
    return {symbols_[at], length};
}

}  // namespace lissome
