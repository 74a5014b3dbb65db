#include "codec/rans_table.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <string>
#include <utility>

#include "codec/runs.h"

namespace lissome {
namespace {

constexpr unsigned kFieldBits = 4;  // of scale_bits and of the Golomb order

// log2(x) in units of 2^-16, rounded down, by squaring: the same on every machine.
std::uint64_t log2_q16(std::uint32_t x) {
    const unsigned whole = static_cast<unsigned>(std::bit_width(x)) - 1;
    std::uint64_t mantissa = (std::uint64_t{x} << 31) >> whole;  // in [1, 2), 31 fractional bits
    std::uint64_t result = whole;
    for (int i = 0; i < 16; ++i) {
        mantissa = (mantissa * mantissa) >> 31;
        const std::uint64_t bit = mantissa >> 32;
        mantissa >>= bit;
        result = 2 * result + bit;
    }
    return result;
}

std::uint64_t zigzag(std::int64_t difference) {
    return static_cast<std::uint64_t>(difference >= 0 ? 2 * difference : -2 * difference - 1);
}

// Frequencies proportional to `counts`, at least 1 each; what rounding leaves over goes where it saves most, what it
// lacks is taken where it costs least.
std::vector<std::uint32_t> scale_to(const std::vector<std::uint64_t>& counts, std::uint32_t total) {
    const std::uint64_t sum = std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
    std::vector<std::uint32_t> scaled;
    std::uint32_t scaled_sum = 0;
    for (const std::uint64_t count : counts) {
        scaled.push_back(std::max(1u, static_cast<std::uint32_t>(count * total / sum)));
        scaled_sum += scaled.back();
    }
    // Changing f by one changes the cost by about count / f; ratios compare as products.
    while (scaled_sum < total) {
        std::size_t best = 0;
        for (std::size_t i = 1; i < counts.size(); ++i) {
            if (counts[i] * scaled[best] > counts[best] * scaled[i]) {
                best = i;
            }
        }
        ++scaled[best];
        ++scaled_sum;
    }
    while (scaled_sum > total) {
        std::size_t best = counts.size();
        for (std::size_t i = 0; i < counts.size(); ++i) {
            if (scaled[i] > 1 &&
                (best == counts.size() || counts[i] * (scaled[best] - 1) < counts[best] * (scaled[i] - 1))) {
                best = i;
            }
        }
        --scaled[best];
        --scaled_sum;
    }
    return scaled;
}

// The first frequency is told as its difference from the mean.
std::int64_t mean_frequency(const RansTable& table) {
    return static_cast<std::int64_t>((std::size_t{1} << table.scale_bits) / table.tokens.size());
}

// Calls `visit` with what a file says of each frequency but the last, which is what the others leave.
template <class Visitor>
void for_each_difference(const RansTable& table, Visitor visit) {
    std::int64_t previous = mean_frequency(table);
    for (std::size_t i = 0; i + 1 < table.frequencies.size(); ++i) {
        visit(zigzag(table.frequencies[i] - previous));
        previous = table.frequencies[i];
    }
}

// The order of Golomb code that states the frequencies in the fewest bits, and how many.
std::pair<unsigned, std::uint64_t> best_order(const RansTable& table) {
    std::pair<unsigned, std::uint64_t> best{0, ~std::uint64_t{0}};
    for (unsigned order = 0; order < kMaxScaleBits; ++order) {
        std::uint64_t bits = 0;
        for_each_difference(table, [&](std::uint64_t value) { bits += BitWriter::count_bits(value, order); });
        if (bits < best.second) {
            best = {order, bits};
        }
    }
    return best;
}

}  // namespace

std::uint32_t RansTable::largest() const {
    return *std::max_element(frequencies.begin(), frequencies.end());
}

RansTable make_table(std::span<const std::uint64_t> counts) {
    RansTable table;
    std::vector<std::uint64_t> used;
    for (std::uint32_t token = 0; token < counts.size(); ++token) {
        if (counts[token] > 0) {
            table.tokens.push_back(token);
            used.push_back(counts[token]);
        }
    }
    table.frequencies = {1};
    if (used.size() == 1) {
        return table;
    }
    RansTable best;
    std::uint64_t best_cost = ~std::uint64_t{0};
    const unsigned least = static_cast<unsigned>(std::bit_width(used.size() - 1));
    for (table.scale_bits = least; table.scale_bits <= kMaxScaleBits; ++table.scale_bits) {
        table.frequencies = scale_to(used, 1u << table.scale_bits);
        std::uint64_t cost = best_order(table).second << 16;
        for (std::size_t i = 0; i < used.size(); ++i) {
            cost += used[i] * ((std::uint64_t{table.scale_bits} << 16) - log2_q16(table.frequencies[i]));
        }
        if (cost < best_cost) {
            best_cost = cost;
            best = table;
        }
    }
    return best;
}

void write_table(BitWriter& out, const RansTable& table, std::uint32_t alphabet) {
    write_runs(out, table.tokens, alphabet);
    if (table.tokens.size() > 1) {
        out.put(table.scale_bits, kFieldBits);
        const unsigned order = best_order(table).first;
        out.put(order, kFieldBits);
        for_each_difference(table, [&](std::uint64_t value) { out.put_count(value, order); });
    }
}

RansTable read_table(BitReader& in, std::uint32_t alphabet) {
    RansTable table;
    table.tokens = read_runs(in, alphabet);
    if (table.tokens.size() == 1) {
        table.frequencies = {1};
        return table;
    }
    table.scale_bits = static_cast<unsigned>(in.get(kFieldBits));
    const unsigned order = static_cast<unsigned>(in.get(kFieldBits));
    if (table.scale_bits > kMaxScaleBits) {
        throw FormatError("a table of 2^" + std::to_string(table.scale_bits) + " slots; 2^12 is the most");
    }
    const std::int64_t total = std::int64_t{1} << table.scale_bits;
    std::int64_t left = total;
    std::int64_t previous = mean_frequency(table);
    for (std::size_t i = 0; i < table.tokens.size(); ++i) {
        std::int64_t frequency = left;
        if (i + 1 < table.tokens.size()) {
            const auto difference = static_cast<std::int64_t>(in.get_count(order));
            frequency = previous + (difference % 2 == 0 ? difference / 2 : -(difference + 1) / 2);
        }
        if (frequency < 1 || frequency > left) {
            throw FormatError("frequencies that do not sum to 2^" + std::to_string(table.scale_bits));
        }
        table.frequencies.push_back(static_cast<std::uint32_t>(frequency));
        left -= frequency;
        previous = frequency;
    }
    return table;
}

void fill_slots(const RansTable& table, RansSlots& slots) {
    std::size_t slot = 0;
    for (std::size_t i = 0; i < table.tokens.size(); ++i) {
        for (std::uint32_t bias = 0; bias < table.frequencies[i]; ++bias) {
            slots[slot++] = table.tokens[i] | (table.frequencies[i] - 1) << 8 | bias << 20;
        }
    }
}

}  // namespace lissome
