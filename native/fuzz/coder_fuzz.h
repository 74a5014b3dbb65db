// What every coder's fuzzer does with an input; a coder adds a file that names its two functions.
//
// The first byte chooses: decode the rest as it is (after a few bytes that say which tensors), or make tensors out of
// the rest, encode them and see them come back, or do that and damage the stream at places that the input chooses.
//
// Most inputs are of small tensors, so that millions of cases run in an hour. One in kRare, by its hash, is of tensors
// as large as a header can claim, and of the largest alphabets. A hash, and not a byte: mutants of a slow input are
// then quick again, or the fuzzer would dwell on what is slow and new.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <numeric>
#include <optional>
#include <span>
#include <utility>
#include <variant>
#include <vector>

#include "codec/indices.h"

namespace lissome::fuzz {

using Bytes = std::span<const std::uint8_t>;

inline constexpr std::uint64_t kMaxEntries = std::uint64_t{1} << 18;
inline constexpr std::uint64_t kRare = 2048;

inline void require(bool holds) {
    if (!holds) {
        std::abort();
    }
}

inline bool is_rare(Bytes input) {
    std::uint64_t hash = 14695981039346656037U;  // FNV-1a
    for (const std::uint8_t byte : input) {
        hash = (hash ^ byte) * 1099511628211U;
    }
    return (hash >> 32) % kRare == 0;
}

// Numbers from the front of the input; zeros when it is spent.
class Source {
  public:
    explicit Source(Bytes data) : data_(data), rare_(is_rare(data)) {}

    std::uint64_t number(unsigned bytes) {
        std::uint64_t value = 0;
        for (unsigned i = 0; i < bytes && !data_.empty(); ++i) {
            value = value << 8 | data_.front();
            data_ = data_.subspan(1);
        }
        return value;
    }
    Bytes rest() const { return data_; }
    bool spent() const { return data_.empty(); }
    bool rare() const { return rare_; }

  private:
    Bytes data_;
    bool rare_;
};

// Extents after the first: every rank, columns that are pixels in one, three or as many channels as rows before.
inline const std::array<std::vector<std::uint64_t>, 16> kColumns{{
    {},
    {1},
    {3},
    {7},
    {8},
    {16},
    {17},
    {27},
    {32},
    {48},
    {64},
    {3, 3},
    {1, 3, 3},
    {2, 3, 5},
    {5, 2, 1},
    {0, 4},
}};
inline constexpr std::array<std::uint32_t, 16> kAlphabets{1, 2, 3, 4, 5, 6, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64};
inline constexpr std::array<std::uint32_t, 8> kLargeAlphabets{128, 256, 600, 4096, 65535, 65536, 65537, 0};

inline IndexSpec take_spec(Source& source) {
    const auto flags = static_cast<std::uint32_t>(source.number(1));
    // Few alphabets are large, with codes of two bytes: small clears counters for each code.
    IndexSpec spec{0, (flags & 1) != 0, flags >> 1 == 127 ? 257 : kAlphabets[flags >> 1 & 15], {}};
    const std::uint64_t extents = source.number(1);
    spec.shape = kColumns[extents & 15];
    spec.shape.insert(spec.shape.begin(), extents >> 4 & 7);
    spec.size = std::accumulate(spec.shape.begin(), spec.shape.end(), std::uint64_t{1}, std::multiplies<>());
    return spec;
}

// What a hostile header may claim: up to 2^48 elements and a little more, in any proportion.
inline IndexSpec take_huge_spec(Source& source) {
    IndexSpec spec = take_spec(source);
    const std::uint64_t large = source.number(1);
    if (large & 1) spec.alphabet = kLargeAlphabets[large >> 1 & 7];
    spec.size = std::accumulate(spec.shape.begin(), spec.shape.end(), std::uint64_t{1}, std::multiplies<>());
    for (std::uint64_t& extent : spec.shape) {
        const std::uint64_t factor = std::uint64_t{1} << source.number(1) % 44;
        if (spec.size <= kMaxSize / factor) {
            extent *= factor;
            spec.size *= factor;
        }
    }
    return spec;
}

inline std::vector<IndexSpec> take_specs(Source& source) {
    std::vector<IndexSpec> specs(source.number(1) % 4);
    for (IndexSpec& spec : specs) {
        spec = source.rare() ? take_huge_spec(source) : take_spec(source);
    }
    return specs;
}

// A tensor of what the source says: its size, how far apart survivors are, how skewed the codes.
inline Indices take_indices(Source& source) {
    Indices made;
    made.spec = take_spec(source);
    const auto shape = static_cast<std::uint32_t>(source.number(1));
    if (source.rare()) {
        // From 2^14 entries on fast takes 32 lanes, above 2^16 small has another model for dense tensors.
        const std::uint64_t rows = std::uint64_t{1} << (shape & 31) % 12;
        made.spec.shape = {rows, 17, 3};
        made.spec.size = rows * 51;
        made.spec.alphabet = (shape & 32) != 0 ? kLargeAlphabets[shape >> 6] : made.spec.alphabet;
    }
    const bool wide = shape >= 240;
    std::vector<std::uint32_t> codes;
    std::uint64_t position = 0;
    std::uint64_t noise = shape + 1;
    for (;;) {
        noise = noise * 6364136223846793005 + 1442695040888963407;
        const std::uint64_t drawn = source.spent() ? noise >> 48 : source.number(2);
        const std::uint64_t gap = !made.spec.sparse ? 0 : wide ? drawn : drawn & 15;
        if (position + gap >= made.spec.size || codes.size() == kMaxEntries / 3) {
            break;
        }
        if (made.spec.sparse) {
            made.positions.push_back(static_cast<std::int64_t>(position + gap));
        }
        position += gap + 1;
        const std::uint64_t skewed = (drawn & 3) == 0 ? drawn >> 2 : drawn >> 13;
        codes.push_back(static_cast<std::uint32_t>(skewed % made.spec.alphabet));
    }
    if (!made.spec.sparse && codes.size() < made.spec.size) {
        made.spec.size = codes.size();
        made.spec.shape = {made.spec.size};
    }
    if (made.spec.alphabet <= 256) {
        made.codes = std::vector<std::uint8_t>(codes.begin(), codes.end());
    } else {
        made.codes = std::vector<std::uint16_t>(codes.begin(), codes.end());
    }
    return made;
}

inline IndicesView view(const Indices& indices) {
    IndicesView borrowed{indices.spec, indices.positions, {}};
    std::visit([&](const auto& codes) { borrowed.codes = std::span(codes); }, indices.codes);
    return borrowed;
}

inline bool same(const std::vector<Indices>& a, const std::vector<Indices>& b) {
    bool equal = a.size() == b.size();
    for (std::size_t i = 0; equal && i < a.size(); ++i) {
        equal = a[i].positions == b[i].positions && a[i].codes == b[i].codes;
    }
    return equal;
}

// Decodes bytes nobody vouches for: they are refused by one of the two errors, or make indices an encoder would take.
template <class Decode>
std::optional<std::vector<Indices>> decode_hostile(Bytes data, std::span<const IndexSpec> specs,
                                                   std::uint64_t max_entries, Decode decode) {
    try {
        std::vector<Indices> group = decode(data, specs, max_entries);
        std::uint64_t entries = 0;
        require(group.size() == specs.size());
        for (const Indices& indices : group) {
            check_indices(view(indices));  // a WeightError is not caught, and ends the fuzzer
            entries += std::visit([](const auto& codes) { return codes.size(); }, indices.codes);
        }
        require(entries <= max_entries);
        return group;
    } catch (const FormatError&) {
    } catch (const LimitError&) {
    }
    return std::nullopt;
}

// `encode` takes the tensors and the source, of which it may ask how; `decode` is as the coders' are.
template <class Encode, class Decode>
void fuzz_coder(Bytes input, Encode encode, Decode decode) {
    Source source(input);
    const std::uint64_t mode = source.number(1) % 3;
    if (mode == 0) {
        const std::uint64_t max_entries = std::uint64_t{1} << source.number(1) % 19;
        const std::vector<IndexSpec> specs = take_specs(source);
        decode_hostile(source.rest(), specs, max_entries, decode);
        return;
    }
    std::vector<std::uint64_t> damage(mode == 2 ? 1 + source.number(1) % 4 : 0);
    for (std::uint64_t& place : damage) {
        place = source.number(2);
    }
    std::vector<Indices> group;
    std::vector<IndexSpec> specs;
    std::vector<IndicesView> views;
    for (std::uint64_t left = source.number(1) % 4; left > 0; --left) {
        group.push_back(take_indices(source));
        specs.push_back(group.back().spec);
    }
    for (const Indices& indices : group) {
        views.push_back(view(indices));
    }
    std::vector<std::uint8_t> data = encode(views, source);
    if (mode == 1) {
        require(same(decode(data, specs, kMaxEntries), group));
        return;
    }
    for (const std::uint64_t place : damage) {
        if (place % 16 == 15) {
            data.resize(data.size() - (place >> 4) % (data.size() + 1));
        } else if (!data.empty()) {
            data[(place >> 3) % data.size()] ^= static_cast<std::uint8_t>(1u << (place & 7));
        }
    }
    decode_hostile(Bytes(data), specs, kMaxEntries, decode);
}

}  // namespace lissome::fuzz
