// libFuzzer: the text coder. The first byte chooses: decode the rest as it is, see it come back, or damage its code;
// the second says how much of the rest is the prime.
#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "codec/errors.h"
#include "codec/text.h"
#include "fuzz/coder_fuzz.h"

namespace lissome::fuzz {
namespace {

constexpr std::uint64_t kMaxBytes = 1 << 14;

void decode_hostile_text(Bytes data, Bytes prime) {
    try {
        require(text_decode(data, prime, kMaxBytes).size() <= kMaxBytes);
    } catch (const FormatError&) {
    } catch (const LimitError&) {
    }
}

void fuzz_text(Bytes input) {
    Source source(input);
    const std::uint64_t mode = source.number(1) % 3;
    const std::uint64_t place = source.number(2);
    const auto primed = static_cast<std::size_t>(source.number(1));
    const Bytes rest = source.rest();
    const Bytes prime = rest.first(std::min(primed, rest.size()));
    const Bytes text = rest.subspan(prime.size());
    if (mode == 0) {
        decode_hostile_text(text, prime);
        return;
    }
    std::vector<std::uint8_t> coded = text_encode(text, prime);
    if (mode == 1) {
        require(std::ranges::equal(text_decode(coded, prime, text.size()), text));
        return;
    }
    if (!coded.empty()) {
        coded[(place >> 3) % coded.size()] ^= static_cast<std::uint8_t>(1u << (place & 7));
    }
    decode_hostile_text(coded, prime);
}

}  // namespace
}  // namespace lissome::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    lissome::fuzz::fuzz_text({data, size});
    return 0;
}
