#include "codec/fast.h"

#include <algorithm>
#include <array>
#include <bit>
#include <string>

#include "codec/group.h"
#include "codec/rans.h"

namespace lissome {
namespace {

using Tokens = std::vector<std::uint8_t>;

// A gap (zeros before a survivor) below 16 is its own token; a larger one shares its token with a quarter of its
// octave, and its lower bits travel raw: there a geometric distribution is nearly flat.
constexpr std::uint32_t kOwnTokens = 16;
constexpr std::uint32_t kGapTokens = kOwnTokens + 4 * (48 - 4);  // gaps are below 2^48

struct GapBucket {
    std::uint64_t base = 0;
    unsigned raw_bits = 0;
};

constexpr std::array<GapBucket, kGapTokens> kGapBuckets = [] {
    std::array<GapBucket, kGapTokens> buckets;
    for (std::uint32_t token = 0; token < kGapTokens; ++token) {
        const unsigned raw_bits = token < kOwnTokens ? 0 : (token - kOwnTokens) / 4 + 2;
        const std::uint64_t quarter = token < kOwnTokens ? token : 4 + token % 4;
        buckets[token] = {quarter << raw_bits, raw_bits};
    }
    return buckets;
}();

std::uint32_t gap_token(std::uint64_t gap) {
    if (gap < kOwnTokens) {
        return static_cast<std::uint32_t>(gap);
    }
    const unsigned octave = static_cast<unsigned>(std::bit_width(gap)) - 1;
    return kOwnTokens + 4 * (octave - 4) + static_cast<std::uint32_t>(gap >> (octave - 2) & 3);
}

// A code's high bits are its token, its low bits travel raw; up to 256 codes have none.
unsigned raw_bits_of(std::uint32_t alphabet) {
    const unsigned bits = static_cast<unsigned>(std::bit_width(alphabet - 1));
    return bits > 8 ? bits - 8 : 0;
}

std::uint32_t code_tokens(std::uint32_t alphabet) {
    return ((alphabet - 1) >> raw_bits_of(alphabet)) + 1;
}

RansTable table_for(const Tokens& tokens) {
    std::array<std::uint64_t, 256> counts{};
    for (const std::uint8_t token : tokens) {
        ++counts[token];
    }
    return make_table(counts);
}

void encode_tensor(BitWriter& out, const IndicesView& indices) {
    const unsigned raw_bits = raw_bits_of(indices.spec.alphabet);
    Tokens gaps;
    Tokens codes;
    BitWriter raw_gaps;
    BitWriter raw_codes;
    std::int64_t next = 0;
    for (const std::int64_t position : indices.positions) {
        const auto gap = static_cast<std::uint64_t>(position - next);
        gaps.push_back(static_cast<std::uint8_t>(gap_token(gap)));
        raw_gaps.put(gap, kGapBuckets[gaps.back()].raw_bits);
        next = position + 1;
    }
    const auto split = [&](std::uint32_t code) {
        codes.push_back(static_cast<std::uint8_t>(code >> raw_bits));
        raw_codes.put(code, raw_bits);
    };
    std::visit([&](auto held) { std::for_each(held.begin(), held.end(), split); }, indices.codes);

    RansTable gap_table;
    RansTable code_table;
    if (!codes.empty()) {
        if (indices.spec.sparse) {
            gap_table = table_for(gaps);
            write_table(out, gap_table, kGapTokens);
        }
        code_table = table_for(codes);
        write_table(out, code_table, code_tokens(indices.spec.alphabet));
    }
    out.align();
    if (!gaps.empty()) {
        rans_encode(out, gap_table, gaps);
        out.append(raw_gaps.finish());
    }
    if (!codes.empty()) {
        rans_encode(out, code_table, codes);
        out.append(raw_codes.finish());
    }
}

std::vector<std::int64_t> decode_positions(BitReader& in, const RansTable& table, std::size_t nnz, std::uint64_t size,
                                           Isa isa) {
    Tokens tokens(nnz);
    rans_decode(in, table, tokens, isa);
    std::vector<std::int64_t> positions(nnz);
    BitReader at = in;  // a copy stays in registers
    std::uint64_t next = 0;
    for (std::size_t i = 0; i < nnz; ++i) {
        const GapBucket bucket = kGapBuckets[tokens[i]];
        const std::uint64_t position = next + bucket.base + at.get(bucket.raw_bits);
        if (position >= size) {
            throw FormatError("a position beyond the " + std::to_string(size) + " elements of its tensor");
        }
        positions[i] = static_cast<std::int64_t>(position);
        next = position + 1;
    }
    at.align();
    in = at;
    return positions;
}

// Tokens are below their table's alphabet, so only the last token's raw bits can pass the alphabet of codes.
std::vector<std::uint16_t> join_codes(BitReader& in, const Tokens& tokens, std::uint32_t alphabet) {
    const unsigned raw_bits = raw_bits_of(alphabet);
    std::vector<std::uint16_t> codes(tokens.size());
    BitReader at = in;
    std::uint32_t largest = 0;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
        const auto code =
            static_cast<std::uint32_t>(tokens[i]) << raw_bits | static_cast<std::uint32_t>(at.get(raw_bits));
        largest = std::max(largest, code);
        codes[i] = static_cast<std::uint16_t>(code);
    }
    if (largest >= alphabet) {
        throw FormatError("code " + std::to_string(largest) + " in an alphabet of " + std::to_string(alphabet));
    }
    at.align();
    in = at;
    return codes;
}

void decode_tensor(BitReader& in, std::uint64_t count, Indices& indices, Isa isa) {
    const IndexSpec& spec = indices.spec;
    Tokens tokens;
    if (count > 0) {
        const RansTable gap_table = spec.sparse ? read_table(in, kGapTokens) : RansTable{0, {0}, {1}};
        const RansTable code_table = read_table(in, code_tokens(spec.alphabet));
        in.align();
        check_affordable(in, gap_table, count);
        check_affordable(in, code_table, count);
        if (count * raw_bits_of(spec.alphabet) > in.left()) {
            throw FormatError(std::to_string(count) + " codes with raw bits in " + std::to_string(in.left()) + " bits");
        }
        if (spec.sparse) {
            indices.positions = decode_positions(in, gap_table, count, spec.size, isa);
        }
        tokens.resize(count);
        rans_decode(in, code_table, tokens, isa);
    } else {
        in.align();
    }
    if (spec.alphabet <= 256) {
        indices.codes = std::move(tokens);
    } else {
        indices.codes = join_codes(in, tokens, spec.alphabet);
    }
}

}  // namespace

std::vector<std::uint8_t> fast_encode(std::span<const IndicesView> group) {
    return encode_group(group, encode_tensor);
}

std::vector<Indices> fast_decode_with(Isa isa, std::span<const std::uint8_t> data, std::span<const IndexSpec> specs,
                                      std::uint64_t max_entries) {
    return decode_group(data, specs, max_entries, [isa](BitReader& in, std::uint64_t entries, Indices& indices) {
        decode_tensor(in, entries, indices, isa);
    });
}

std::vector<Indices> fast_decode(std::span<const std::uint8_t> data, std::span<const IndexSpec> specs,
                                 std::uint64_t max_entries) {
    return fast_decode_with(best_isa(), data, specs, max_entries);
}

std::size_t fast_decode_bytes(std::span<const std::uint8_t> data, std::span<const Column> columns) {
    std::size_t left = 0;
    for (const Column& column : columns) {
        left += column.count;
    }
    if (left == 0) {
        return 0;
    }
    BitReader in(data);
    const RansTable table = read_table(in, 256);
    in.align();
    check_affordable(in, table, left);
    RansDecoder decoder(in, table, left, best_isa());
    std::array<std::uint8_t, std::size_t{1} << 14> piece;
    std::size_t at = 0, held = 0;  // how much of the piece is written, and how much there is
    for (const Column& column : columns) {
        for (std::size_t i = 0; i < column.count;) {
            if (at == held) {
                held = std::min(piece.size(), left);
                decoder.read(std::span(piece).first(held));
                left -= held;
                at = 0;
            }
            const std::size_t count = std::min(column.count - i, held - at);
            std::uint8_t* to = column.data + static_cast<std::ptrdiff_t>(i) * column.step;
            for (std::size_t k = 0; k < count; ++k, to += column.step) {
                *to = piece[at + k];
            }
            i += count;
            at += count;
        }
    }
    decoder.finish(in);
    return data.size() - in.rest().size();
}

}  // namespace lissome
