// Counting where the signs of a word of inputs and of weights a lane differ. Bits are 1 for numbers from 0 on, 0 below.
//
// With VPOPCNTDQ a lane's 32 bits are counted by one instruction. Where bytes are counted by look-ups of 16 entries,
// only the lower half of each byte holds bits, so that a word of four bytes is 16 channels and no half needs to be cut
// out; counts are summed up in bytes for up to kCountable words before these are added to the lanes' sums. Included by
// sources compiled once per instruction set.
#pragma once

#include "core/lanes.h"

#define LISSOME_UNROLL _Pragma("GCC unroll 32")

namespace lissome::LISSOME_ISA {

constexpr int kMaxVectors = 4;
constexpr int64_t kWordBytes = 4 * kLanes;  // a word for each of a vector of outputs

LISSOME_INLINE Int all(uint32_t x) {
    return Int{} + static_cast<int32_t>(x);
}
LISSOME_INLINE Int load_words(const void* p) {
    Int x;
    __builtin_memcpy(&x, p, sizeof x);
    return x;
}
LISSOME_INLINE Int load_word(const uint8_t* p) {
    uint32_t x;
    __builtin_memcpy(&x, p, sizeof x);
    return all(x);
}
LISSOME_INLINE Vec to_float(Int x) {
    return (Vec) __builtin_convertvector(x, Float);
}

#if LISSOME_ISA_avx512_vpopcntdq

constexpr int kPixels[kMaxVectors + 1] = {0, 14, 12, 8, 6};
constexpr int64_t kWordChannels = 32, kCountable = int64_t{1} << 31;
LISSOME_INLINE Int count(Int counted, Int bits) {
    return counted + (Int)_mm512_popcnt_epi32((__m512i)bits);
}
LISSOME_INLINE Int summed(Int sums, Int counted) {
    return sums + counted;
}

#elif LISSOME_ISA_avx512 || LISSOME_ISA_avx2

constexpr int64_t kWordChannels = 16, kCountable = 63;  // 4 bits each, in bytes up to 255
typedef uint8_t Bytes __attribute__((vector_size(4 * kLanes)));
#if LISSOME_ISA_avx512
constexpr int kPixels[kMaxVectors + 1] = {0, 12, 6, 4, 3};
LISSOME_INLINE Int count(Int counted, Int bits) {
    const __m512i ones = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    return (Int)((Bytes)counted + (Bytes)_mm512_shuffle_epi8(ones, (__m512i)bits));
}
LISSOME_INLINE Int summed(Int sums, Int counted) {
    const __m512i pairs = _mm512_maddubs_epi16((__m512i)counted, _mm512_set1_epi8(1));
    return sums + (Int)_mm512_madd_epi16(pairs, _mm512_set1_epi16(1));
}
#else
constexpr int kPixels[kMaxVectors + 1] = {0, 8, 4, 3, 2};
LISSOME_INLINE Int count(Int counted, Int bits) {
    const __m256i ones = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    return (Int)((Bytes)counted + (Bytes)_mm256_shuffle_epi8(ones, (__m256i)bits));
}
LISSOME_INLINE Int summed(Int sums, Int counted) {
    const __m256i pairs = _mm256_maddubs_epi16((__m256i)counted, _mm256_set1_epi8(1));
    return sums + (Int)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}
#endif

#else

constexpr int kPixels[kMaxVectors + 1] = {0, 6, 3, 2, 1};
constexpr int64_t kWordChannels = 32, kCountable = int64_t{1} << 31;
LISSOME_INLINE Int count(Int counted, Int bits) {
    for (int i = 0; i < kLanes; ++i) {
        counted[i] += __builtin_popcount(static_cast<uint32_t>(bits[i]));
    }
    return counted;
}
LISSOME_INLINE Int summed(Int sums, Int counted) {
    return sums + counted;
}

#endif

// Bit i: whether lane i of x is from 0 on; NaN is not.
LISSOME_INLINE uint32_t signs(Vec x) {
#if LISSOME_ISA_avx512
    return _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GE_OQ);
#elif LISSOME_ISA_avx2
    return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_GE_OQ)));
#else
    float lanes[kLanes];
    store(lanes, x);
    uint32_t bits = 0;
    for (int i = 0; i < kLanes; ++i) {
        bits |= static_cast<uint32_t>(lanes[i] >= 0.0f) << i;
    }
    return bits;
#endif
}

}  // namespace lissome::LISSOME_ISA
