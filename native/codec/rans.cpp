#include "codec/rans.h"

#include <algorithm>
#include <array>
#include <string>

namespace lissome {
namespace {

constexpr std::uint32_t kLowest = 1u << 16;               // states stay in [2^16, 2^32)
constexpr std::size_t kFewTokens = std::size_t{1} << 14;  // 128 bytes of states are 1 % of so many

std::size_t lanes_for(std::size_t count) {
    return count < kFewTokens ? 1 : kRansLanes;
}

RansRounds rounds_of(Isa isa) {
    switch (isa) {
#if LISSOME_HAVE_avx512
        case Isa::avx512:
            return avx512::rans_rounds;
#endif
#if LISSOME_HAVE_avx2
        case Isa::avx2:
            return avx2::rans_rounds;
#endif
#if LISSOME_HAVE_neon
        case Isa::neon:
            return neon::rans_rounds;
#endif
        default:
            return scalar::rans_rounds;
    }
}

// What the rounds leave, token by token, with every word checked.
void decode_rest(RansCursor& at, std::size_t lanes) {
    for (std::size_t i = 0; i < at.out_left; ++i) {
        std::uint32_t& state = at.states[i % lanes];
        const std::uint32_t entry = at.slots[state & ((1u << at.scale_bits) - 1)];
        at.out[i] = static_cast<std::uint8_t>(entry);
        state = ((entry >> 8 & 4095) + 1) * (state >> at.scale_bits) + (entry >> 20);
        if (state < kLowest) {
            if (at.words_left == 0) {
                throw FormatError("the stream ends early");
            }
            state = state << 16 | at.words[0] | static_cast<std::uint32_t>(at.words[1]) << 8;
            at.words += 2;
            --at.words_left;
        }
    }
}

}  // namespace

void rans_encode(BitWriter& out, const RansTable& table, std::span<const std::uint8_t> tokens) {
    if (table.tokens.size() == 1 || tokens.empty()) {
        return;
    }
    std::array<std::uint32_t, 256> frequency{};
    std::array<std::uint32_t, 256> start{};
    for (std::uint32_t i = 0, sum = 0; i < table.tokens.size(); sum += table.frequencies[i++]) {
        frequency[table.tokens[i]] = table.frequencies[i];
        start[table.tokens[i]] = sum;
    }
    const std::size_t lanes = lanes_for(tokens.size());
    std::array<std::uint32_t, kRansLanes> states;
    states.fill(kLowest);
    std::vector<std::uint8_t> reversed;  // what is decoded first is encoded last
    for (std::size_t i = tokens.size(); i-- > 0;) {
        std::uint32_t& state = states[i % lanes];
        const std::uint32_t f = frequency[tokens[i]];
        if (state >= std::uint64_t{f} << (32 - table.scale_bits)) {
            reversed.push_back(static_cast<std::uint8_t>(state >> 8));
            reversed.push_back(static_cast<std::uint8_t>(state));
            state >>= 16;
        }
        state = ((state / f) << table.scale_bits) + state % f + start[tokens[i]];
    }
    std::vector<std::uint8_t> bytes;
    for (std::size_t lane = 0; lane < lanes; ++lane) {
        for (unsigned shift = 0; shift < 32; shift += 8) {
            bytes.push_back(static_cast<std::uint8_t>(states[lane] >> shift));
        }
    }
    bytes.insert(bytes.end(), reversed.rbegin(), reversed.rend());
    out.append(bytes);
}

RansDecoder::RansDecoder(const BitReader& in, const RansTable& table, std::size_t count, Isa isa) : isa_(isa) {
    if (table.tokens.size() == 1 || count == 0) {
        only_ = static_cast<std::uint8_t>(table.tokens[0]);
        return;
    }
    lanes_ = lanes_for(count);
    const std::span<const std::uint8_t> data = in.rest();
    if (data.size() < 4 * lanes_) {
        throw FormatError("the stream ends early");
    }
    states_.fill(kLowest);
    for (std::size_t i = 0; i < 4 * lanes_; ++i) {
        const std::uint32_t above = i % 4 == 0 ? 0 : states_[i / 4];
        states_[i / 4] = above | static_cast<std::uint32_t>(data[i]) << (8 * (i % 4));
    }
    if (std::any_of(states_.begin(), states_.end(), [](std::uint32_t state) { return state < kLowest; })) {
        throw FormatError("a state below 2^16");
    }
    fill_slots(table, slots_);
    begin_ = data.data();
    at_.scale_bits = table.scale_bits;
    at_.words = data.data() + 4 * lanes_;
    at_.words_left = data.size() / 2 - 2 * lanes_;
}

void RansDecoder::read(std::span<std::uint8_t> tokens) {
    if (lanes_ == 0) {
        std::fill(tokens.begin(), tokens.end(), only_);
        return;
    }
    at_.slots = slots_.data();
    at_.states = states_.data();
    at_.out = tokens.data();
    at_.out_left = tokens.size();
    if (lanes_ == kRansLanes) {
        rounds_of(isa_)(at_);
    }
    decode_rest(at_, lanes_);
}

void RansDecoder::finish(BitReader& in) const {
    if (lanes_ == 0) {
        return;
    }
    if (std::any_of(states_.begin(), states_.end(), [](std::uint32_t state) { return state != kLowest; })) {
        throw FormatError("states that do not end where an encoder begins");
    }
    in.skip_bytes(static_cast<std::size_t>(at_.words - begin_));
}

void rans_decode(BitReader& in, const RansTable& table, std::span<std::uint8_t> tokens, Isa isa) {
    RansDecoder decoder(in, table, tokens.size(), isa);
    decoder.read(tokens);
    decoder.finish(in);
}

void check_affordable(const BitReader& in, const RansTable& table, std::uint64_t count) {
    // A token of frequency f takes log2(2^scale_bits / f) bits of state, less a few per cent of rounding: more than
    // (2^scale_bits - f) / 2^scale_bits, as -ln(1 - x) > x and log2(e) is 1.44.
    const std::uint64_t total = std::uint64_t{1} << table.scale_bits;
    const std::uint64_t rarest = total - table.largest();
    if (rarest > 0 && count > in.left() * total / rarest) {
        throw FormatError(std::to_string(count) + " tokens in " + std::to_string(in.left()) + " bits");
    }
}

}  // namespace lissome
