#include "codec/huffman.h"

#include <algorithm>
#include <string>
#include <utility>

#include "codec/group.h"
#include "codec/huffman_table.h"

namespace lissome {
namespace {

constexpr unsigned kMaxWidth = 16;
constexpr unsigned kWidthBits = 4;  // the width travels as width - 1

// Codes of a tensor as numbers, whatever type they are held in.
template <class Visitor>
void for_each_code(const IndicesView& indices, Visitor visit) {
    std::visit([&](auto codes) { std::for_each(codes.begin(), codes.end(), visit); }, indices.codes);
}

using Counts = std::vector<std::uint64_t>;

// How often each code occurs; the last symbol, `alphabet`, is the filler.
Counts count_codes(const IndicesView& indices) {
    Counts counts(indices.spec.alphabet + 1);
    for_each_code(indices, [&](std::uint32_t code) { ++counts[code]; });
    return counts;
}

// How often each gap occurs in a field of `width` bits, and the fillers that takes.
std::pair<Counts, std::uint64_t> count_gaps(const IndicesView& indices, unsigned width) {
    Counts counts(std::size_t{1} << width);
    std::uint64_t fillers = 0;
    std::int64_t next = 0;
    for (const std::int64_t position : indices.positions) {
        const auto zeros = static_cast<std::uint64_t>(position - next);
        fillers += zeros >> width;
        ++counts[zeros & (counts.size() - 1)];
        next = position + 1;
    }
    counts.back() += fillers;
    return {std::move(counts), fillers};
}

std::uint64_t payload_bits(const HuffmanCode& code, const Counts& counts) {
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < code.symbols.size(); ++i) {
        bits += counts[code.symbols[i]] * code.lengths[i];
    }
    return bits;
}

// The two codes of a sparse tensor at one width, and what they cost in bits.
struct Choice {
    unsigned width = 0;
    HuffmanCode gaps;
    HuffmanCode codes;
    std::uint64_t bits = 0;
};

Choice choose_width(const IndicesView& indices) {
    Choice best;
    Counts codes = count_codes(indices);
    for (unsigned width = 1; width <= kMaxWidth; ++width) {
        const auto [gaps, fillers] = count_gaps(indices, width);
        codes.back() = fillers;
        Choice choice{width, make_code(gaps), make_code(codes), 0};
        BitWriter tables;
        write_code(tables, choice.gaps, 1u << width);
        write_code(tables, choice.codes, indices.spec.alphabet + 1);
        choice.bits = tables.bits_written() + payload_bits(choice.gaps, gaps) + payload_bits(choice.codes, codes);
        if (best.width == 0 || choice.bits < best.bits) {
            best = std::move(choice);
        }
        if (fillers == 0) {
            break;  // a wider gap changes nothing but its table
        }
    }
    return best;
}

void encode_sparse(BitWriter& out, const IndicesView& indices) {
    if (indices.positions.empty()) {
        return;
    }
    const Choice choice = choose_width(indices);
    const std::uint32_t filler = indices.spec.alphabet;
    const std::uint64_t last_gap = (std::uint64_t{1} << choice.width) - 1;
    out.put(choice.width - 1, kWidthBits);
    write_code(out, choice.gaps, static_cast<std::uint32_t>(last_gap + 1));
    write_code(out, choice.codes, filler + 1);
    const EncodeTable gaps(choice.gaps, static_cast<std::uint32_t>(last_gap + 1));
    const EncodeTable codes(choice.codes, filler + 1);
    std::size_t at = 0;
    std::int64_t next = 0;
    for_each_code(indices, [&](std::uint32_t code) {
        const std::int64_t position = indices.positions[at++];
        auto zeros = static_cast<std::uint64_t>(position - next);
        for (; zeros > last_gap; zeros -= last_gap + 1) {
            gaps.put(out, static_cast<std::uint32_t>(last_gap));
            codes.put(out, filler);
        }
        gaps.put(out, static_cast<std::uint32_t>(zeros));
        codes.put(out, code);
        next = position + 1;
    });
}

void encode_dense(BitWriter& out, const IndicesView& indices) {
    if (indices.spec.size == 0) {
        return;
    }
    const HuffmanCode code = make_code(count_codes(indices));
    write_code(out, code, indices.spec.alphabet);
    const EncodeTable table(code, indices.spec.alphabet);
    for_each_code(indices, [&](std::uint32_t symbol) { table.put(out, symbol); });
}

// Throws FormatError unless `entries` of at least `bits` each can be left in the data: memory is claimed after this.
void check_affordable(const BitReader& in, std::uint64_t entries, unsigned bits) {
    if (bits > 0 && entries > in.left() / bits) {
        throw FormatError(std::to_string(entries) + " codes of " + std::to_string(bits) + " bits or more in " +
                          std::to_string(in.left()) + " bits");
    }
}

// As many whole codes per window as fit make the loads rare: the chain from one code to the next is a shift and a
// table look-up.
template <class Code>
void decode_codes(BitReader& in, const DecodeTable& table, std::span<Code> out) {
    const std::size_t per_window = table.longest() <= 14 ? 4 : 2;
    BitReader at = in;  // a copy stays in registers
    std::size_t i = 0;
    while (i + per_window <= out.size()) {
        std::uint64_t window = at.window();
        unsigned used = 0;
        for (const std::size_t end = i + per_window; i < end; ++i) {
            const DecodeTable::Hit hit = table.find(window);
            out[i] = static_cast<Code>(hit.symbol);
            window <<= hit.length;
            used += hit.length;
        }
        at.skip(used);
    }
    for (; i < out.size(); ++i) {
        const DecodeTable::Hit hit = table.find(at.window());
        out[i] = static_cast<Code>(hit.symbol);
        at.skip(hit.length);
    }
    at.check();
    in = at;
}

template <class Code>
std::vector<Code> decode_dense(BitReader& in, const IndexSpec& spec) {
    if (spec.size == 0) {
        return {};
    }
    const DecodeTable table(read_code(in, spec.alphabet));
    check_affordable(in, spec.size, table.shortest());
    std::vector<Code> codes(spec.size);
    decode_codes<Code>(in, table, codes);
    return codes;
}

template <class Code>
std::vector<Code> decode_sparse(BitReader& in, const IndexSpec& spec, std::uint64_t nnz,
                                std::vector<std::int64_t>& positions) {
    if (nnz == 0) {
        return {};
    }
    const unsigned width = static_cast<unsigned>(in.get(kWidthBits)) + 1;
    const std::uint32_t last_gap = (1u << width) - 1;
    const std::uint32_t filler = spec.alphabet;
    const DecodeTable gaps(read_code(in, last_gap + 1));
    const HuffmanCode stated = read_code(in, filler + 1);
    if (stated.symbols.front() == filler) {
        throw FormatError("a table of codes that knows only the filler");  // and entries of no bits would never end
    }
    const DecodeTable codes(stated);
    check_affordable(in, nnz, gaps.shortest() + codes.shortest());
    std::vector<Code> out(nnz);
    positions.resize(nnz);
    BitReader at = in;
    std::uint64_t next = 0;  // the first position not yet passed
    for (std::uint64_t i = 0; i < nnz;) {
        const std::uint64_t window = at.window();
        const DecodeTable::Hit gap = gaps.find(window);
        const DecodeTable::Hit code = codes.find(window << gap.length);
        at.skip(gap.length + code.length);
        const std::uint64_t position = next + gap.symbol;
        next = position + 1;
        if (position >= spec.size) {
            throw FormatError("a position beyond the " + std::to_string(spec.size) + " elements of its tensor");
        }
        if (code.symbol == filler) [[unlikely]] {
            if (gap.symbol != last_gap) {
                throw FormatError("a filler after a gap that needs none");
            }
            at.check();
            continue;
        }
        positions[i] = static_cast<std::int64_t>(position);
        out[i++] = static_cast<Code>(code.symbol);
    }
    at.check();
    in = at;
    return out;
}

}  // namespace

std::vector<std::uint8_t> huffman_encode(std::span<const IndicesView> group) {
    return encode_group(group, [](BitWriter& out, const IndicesView& indices) {
        indices.spec.sparse ? encode_sparse(out, indices) : encode_dense(out, indices);
    });
}

std::vector<Indices> huffman_decode(std::span<const std::uint8_t> data, std::span<const IndexSpec> specs,
                                    std::uint64_t max_entries) {
    return decode_group(data, specs, max_entries, [](BitReader& in, std::uint64_t entries, Indices& indices) {
        const IndexSpec& spec = indices.spec;
        const auto decode = [&]<class Code>(Code) {
            indices.codes =
                spec.sparse ? decode_sparse<Code>(in, spec, entries, indices.positions) : decode_dense<Code>(in, spec);
        };
        spec.alphabet <= 256 ? decode(std::uint8_t{}) : decode(std::uint16_t{});
    });
}

}  // namespace lissome
