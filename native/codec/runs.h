// Which symbols of an alphabet a static table knows: alternating runs of unused and used symbols, shared by the tables
// of huffman and fast.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "codec/bitio.h"

namespace lissome {

// `used` increases strictly and is not empty. The first run is of unused symbols and may be empty; the runs end when
// they have covered the alphabet.
inline void write_runs(BitWriter& out, const std::vector<std::uint32_t>& used, std::uint32_t alphabet) {
    std::uint32_t next = 0;
    for (std::size_t i = 0; i < used.size();) {
        std::size_t end = i + 1;
        while (end < used.size() && used[end] == used[end - 1] + 1) {
            ++end;
        }
        out.put_count(next == 0 ? used[i] : used[i] - next - 1);  // only the first run may be empty
        out.put_count(end - i - 1);
        next = used[end - 1] + 1;
        i = end;
    }
    if (next < alphabet) {
        out.put_count(alphabet - next - 1);
    }
}

// The inverse. A run of used symbols is followed by at least a bit for each but one, so that reading one claims no
// more memory than the data justifies; throws FormatError for runs that pass the alphabet or leave no symbol.
inline std::vector<std::uint32_t> read_runs(BitReader& in, std::uint32_t alphabet) {
    std::vector<std::uint32_t> used;
    std::uint64_t next = 0;
    bool in_use = false;
    for (bool first = true; first || next < alphabet; first = false) {
        const std::uint64_t length = in.get_count() + (first ? 0 : 1);
        if (next + length > alphabet || (in_use && length > in.left() + 1)) {
            throw FormatError("a table names symbols beyond its alphabet of " + std::to_string(alphabet));
        }
        for (std::uint64_t i = 0; in_use && i < length; ++i) {
            used.push_back(static_cast<std::uint32_t>(next + i));
        }
        next += length;
        in_use = !in_use;
    }
    if (used.empty()) {
        throw FormatError("a table without symbols");
    }
    return used;
}

}  // namespace lissome
