// libFuzzer: the text coder. The first byte chooses: decode the rest as it is, see it come back, or damage its code;
// then come how much of the rest is the prime, and the limit. Tables are small in all but rare inputs (see
// coder_fuzz.h): clearing a file's takes longer than all else.
#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "codec/errors.h"
#include "codec/text.h"
#include "fuzz/coder_fuzz.h"

namespace lissome::fuzz {
namespace {

constexpr unsigned kFewBits = 8;
constexpr std::size_t kFewBytes = 24;

struct Case {
    Bytes prime;
    std::uint64_t max_bytes;
    unsigned table_bits;
};

void decode_hostile_text(Bytes data, const Case& with) {
    try {
        require(text_decode(data, with.prime, with.max_bytes, with.table_bits).size() <= with.max_bytes);
    } catch (const FormatError&) {
    } catch (const LimitError&) {
    }
}

void fuzz_text(Bytes input) {
    Source source(input);
    const bool rare = source.rare();
    const std::uint64_t mode = source.number(1) % 3;
    const std::uint64_t place = source.number(2);
    const std::uint64_t sizes = source.number(1);
    const Bytes rest = source.rest();
    const Bytes prime = rest.first(std::min<std::size_t>(rare ? sizes : sizes & 15, rest.size()));
    const Bytes left = rest.subspan(prime.size());
    Case with{prime, std::uint64_t{1} << (rare ? 14 : sizes >> 4 & 7), rare ? kTextTableBits : kFewBits};
    if (mode == 0) {
        decode_hostile_text(left, with);
        return;
    }
    const Bytes text = rare ? left : left.first(std::min(left.size(), kFewBytes));
    std::vector<std::uint8_t> coded = text_encode(text, prime, with.table_bits);
    if (mode == 1) {
        require(std::ranges::equal(text_decode(coded, prime, text.size(), with.table_bits), text));
        return;
    }
    if (!coded.empty()) {
        coded[(place >> 3) % coded.size()] ^= static_cast<std::uint8_t>(1u << (place & 7));
    }
    decode_hostile_text(coded, with);
}

}  // namespace
}  // namespace lissome::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    lissome::fuzz::fuzz_text({data, size});
    return 0;
}
