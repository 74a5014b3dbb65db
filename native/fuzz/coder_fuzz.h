// What every coder's fuzzer does with an input; a coder adds a file that names its two functions.
//
// The first byte chooses: decode the rest as it is (after a few bytes that say which tensors), or make tensors out of
// the rest, encode them and see them come back, or do that and damage the stream at places that the input chooses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <span>
#include <utility>
#include <variant>
#include <vector>

#include "codec/indices.h"

namespace lissome::fuzz {

using Bytes = std::span<const std::uint8_t>;

inline constexpr std::uint64_t kMaxEntries = std::uint64_t{1} << 16;

inline void require(bool holds) {
    if (!holds) {
        std::abort();
    }
}

// Numbers from the front of the input; zeros when it is spent.
class Source {
  public:
    explicit Source(Bytes data) : data_(data) {}

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

  private:
    Bytes data_;
};

inline IndexSpec take_spec(Source& source) {
    constexpr std::uint32_t kAlphabets[] = {1, 2, 3, 4, 5, 15, 16, 17, 32, 33, 64, 255, 256, 257, 300, 600};
    const auto flags = static_cast<std::uint32_t>(source.number(1));
    // Sorting the largest alphabet costs a thousand times the rest of a case, and the fuzzer would dwell there; the
    // unit tests have it.
    const std::uint32_t alphabet = flags == 255 ? 4096 : kAlphabets[flags >> 1 & 15];
    // A coder that codes every position, as small does in each of its settings, must be done within the time of a case.
    const std::uint64_t rows = source.number(1);
    const std::uint64_t columns = 1 + source.number(1) % 16;
    return {rows * columns, (flags & 1) != 0, alphabet, {rows, columns}};
}

inline std::vector<IndexSpec> take_specs(Source& source) {
    std::vector<IndexSpec> specs(source.number(1) % 4);
    for (IndexSpec& spec : specs) {
        spec = take_spec(source);
    }
    return specs;
}

// A tensor of what the source says: its size, how far apart survivors are, how skewed the codes.
inline Indices take_indices(Source& source) {
    Indices made;
    made.spec = take_spec(source);
    const auto shape = static_cast<std::uint32_t>(source.number(1));
    const std::uint64_t most = shape == 255 ? 17000 : shape % 64;  // 2^14 is where fast takes 32 lanes
    const bool wide = shape >= 240;  // gaps beyond a field of huffman's; bridging longer ones costs its encoder time
    std::vector<std::uint32_t> codes;
    std::uint64_t position = 0;
    std::uint64_t noise = shape + 1;
    if (!made.spec.sparse) {
        made.spec.size = most;
        made.spec.shape = {most};
    }
    for (std::uint64_t i = 0; i < most; ++i) {
        noise = noise * 6364136223846793005 + 1442695040888963407;
        const std::uint64_t drawn = source.spent() ? noise >> 48 : source.number(2);
        if (made.spec.sparse) {
            const std::uint64_t gap = !wide ? drawn & 15 : i == 0 ? drawn << (shape & 7) : drawn;
            if (position + gap >= made.spec.size) {
                break;
            }
            made.positions.push_back(static_cast<std::int64_t>(position + gap));
            position += gap + 1;
        }
        const std::uint64_t skewed = (drawn & 3) == 0 ? drawn >> 2 : drawn >> 13;
        codes.push_back(static_cast<std::uint32_t>(skewed % made.spec.alphabet));
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
std::optional<std::vector<Indices>> decode_hostile(Bytes data, std::span<const IndexSpec> specs, Decode decode) {
    try {
        std::vector<Indices> group = decode(data, specs, kMaxEntries);
        std::uint64_t entries = 0;
        require(group.size() == specs.size());
        for (const Indices& indices : group) {
            check_indices(view(indices));  // a WeightError is not caught, and ends the fuzzer
            entries += std::visit([](const auto& codes) { return codes.size(); }, indices.codes);
        }
        require(entries <= kMaxEntries);
        return group;
    } catch (const FormatError&) {
    } catch (const LimitError&) {
    }
    return std::nullopt;
}

template <class Encode, class Decode>
void fuzz_coder(Bytes input, Encode encode, Decode decode) {
    Source source(input);
    const std::uint64_t mode = source.number(1) % 3;
    if (mode == 0) {
        const std::vector<IndexSpec> specs = take_specs(source);
        decode_hostile(source.rest(), specs, decode);
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
    std::vector<std::uint8_t> data = encode(views);
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
    decode_hostile(Bytes(data), specs, decode);
}

}  // namespace lissome::fuzz
