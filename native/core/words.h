// Looking up floats in tables of 64 by six bits, thirty-two at a time. A table lies in registers as two planes of
// words: the lower halves of its floats, then the upper. Where an instruction set cannot, memory is read instead.
// Included only by sources that are compiled once per instruction set.
#pragma once

#include "core/lanes.h"

namespace lissome::LISSOME_ISA {

constexpr int64_t kTable64 = 64, kSlots = 32;
constexpr int kSlotVectors = 16 / kLanes;  // sixteen floats

// 64 floats as 128 words.
LISSOME_INLINE void split_words(const float* from, uint16_t* to) {
    for (int64_t i = 0; i < kTable64; ++i) {
        uint32_t bits;
        __builtin_memcpy(&bits, from + i, 4);
        to[i] = static_cast<uint16_t>(bits);
        to[i + kTable64] = static_cast<uint16_t>(bits >> 16);
    }
}

#if LISSOME_ISA_avx512
struct Table64 {
    __m512i lower[2], upper[2];
};
LISSOME_INLINE Table64 load_table64(const uint16_t* words) {
    return {{_mm512_loadu_si512(words), _mm512_loadu_si512(words + 32)},
            {_mm512_loadu_si512(words + 64), _mm512_loadu_si512(words + 96)}};
}
// even, odd: what bits [shift, shift + 6) of the slots of even and of odd numbers point at.
template <int shift>
LISSOME_INLINE void look_up64(const Table64& table, const uint16_t* slots, Vec* even, Vec* odd) {
    constexpr __mmask32 kEven = 0x55555555u;
    const __m512i index = _mm512_srli_epi16(_mm512_loadu_si512(slots), shift);
    const __m512i lower = _mm512_permutex2var_epi16(table.lower[0], index, table.lower[1]);
    const __m512i upper = _mm512_permutex2var_epi16(table.upper[0], index, table.upper[1]);
    even[0] = (Vec)_mm512_mask_blend_epi16(kEven, _mm512_slli_epi32(upper, 16), lower);
    odd[0] = (Vec)_mm512_mask_blend_epi16(kEven, upper, _mm512_srli_epi32(lower, 16));
}
#else
struct Table64 {
    const uint16_t* words;
};
LISSOME_INLINE Table64 load_table64(const uint16_t* words) {
    return {words};
}
template <int shift>
LISSOME_INLINE void look_up64(const Table64& table, const uint16_t* slots, Vec* even, Vec* odd) {
    uint32_t bits[2][16];
    for (int64_t i = 0; i < kSlots; ++i) {
        const int64_t index = slots[i] >> shift & 63;
        bits[i % 2][i / 2] = table.words[index] | uint32_t{table.words[index + kTable64]} << 16;
    }
    __builtin_memcpy(even, bits[0], sizeof bits[0]);
    __builtin_memcpy(odd, bits[1], sizeof bits[1]);
}
#endif

}  // namespace lissome::LISSOME_ISA
