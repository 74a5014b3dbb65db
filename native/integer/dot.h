// Vectors of int32 sums, and what integer kernels do with them: dot products of four uint8 inputs with four int8
// weights a lane, rounding to codes, and storing those. Every operation gives the same bits on every instruction set;
// sources that include this are compiled without contraction of a · b + c into one rounding.
//
// A weight takes kWeightBytes: 1 where the machine multiplies bytes, else 2, since pmaddubsw, which does too, saturates
// its 16-bit sums. Then the weights of channels 0 and 2 of the four come first, in pairs, and those of 1 and 3 behind.
#pragma once

#include "core/kernel.h"
#include "core/lanes.h"

#define LISSOME_UNROLL _Pragma("GCC unroll 32")

namespace lissome::LISSOME_ISA {

#if LISSOME_ISA_avx512_vnni

constexpr int kWeightBytes = 1;
using Four = __m512i;
struct FourWeights {
    __m512i all;
};
LISSOME_INLINE Four four(const uint8_t* x) {
    int32_t bytes;
    __builtin_memcpy(&bytes, x, sizeof bytes);
    return _mm512_set1_epi32(bytes);
}
LISSOME_INLINE FourWeights four_weights(const int8_t* w) {
    return {_mm512_load_si512(w)};
}
LISSOME_INLINE Int dot(Int sum, Four x, const FourWeights& w) {
    return (Int)_mm512_dpbusd_epi32((__m512i)sum, x, w.all);
}

#elif LISSOME_ISA_avx512

constexpr int kWeightBytes = 2;
struct Four {
    __m512i even, odd;
};
struct FourWeights {
    __m512i even, odd;
};
LISSOME_INLINE Four four(const uint8_t* x) {
    int32_t bytes;
    __builtin_memcpy(&bytes, x, sizeof bytes);
    const __m512i all = _mm512_set1_epi32(bytes);
    return {_mm512_and_si512(all, _mm512_set1_epi32(0x00ff00ff)), _mm512_srli_epi16(all, 8)};
}
LISSOME_INLINE FourWeights four_weights(const int8_t* w) {
    return {_mm512_load_si512(w), _mm512_load_si512(w + 64)};
}
LISSOME_INLINE Int dot(Int sum, const Four& x, const FourWeights& w) {
    sum += (Int)_mm512_madd_epi16(x.even, w.even);
    return sum + (Int)_mm512_madd_epi16(x.odd, w.odd);
}

#elif LISSOME_ISA_avx2

constexpr int kWeightBytes = 2;
struct Four {
    __m256i even, odd;
};
struct FourWeights {
    __m256i even, odd;
};
LISSOME_INLINE Four four(const uint8_t* x) {
    int32_t bytes;
    __builtin_memcpy(&bytes, x, sizeof bytes);
    const __m256i all = _mm256_set1_epi32(bytes);
    return {_mm256_and_si256(all, _mm256_set1_epi32(0x00ff00ff)), _mm256_srli_epi16(all, 8)};
}
LISSOME_INLINE FourWeights four_weights(const int8_t* w) {
    return {_mm256_load_si256(reinterpret_cast<const __m256i*>(w)),
            _mm256_load_si256(reinterpret_cast<const __m256i*>(w + 32))};
}
LISSOME_INLINE Int dot(Int sum, const Four& x, const FourWeights& w) {
    sum += (Int)_mm256_madd_epi16(x.even, w.even);
    return sum + (Int)_mm256_madd_epi16(x.odd, w.odd);
}

#else

constexpr int kWeightBytes = 1;
struct Four {
    int32_t of[4];
};
struct FourWeights {
    Int of[4];
};
LISSOME_INLINE Four four(const uint8_t* x) {
    return {{x[0], x[1], x[2], x[3]}};
}
LISSOME_INLINE FourWeights four_weights(const int8_t* w) {
    FourWeights made;
    for (int j = 0; j < 4; ++j) {
        made.of[j] = Int{w[j], w[4 + j], w[8 + j], w[12 + j]};
    }
    return made;
}
LISSOME_INLINE Int dot(Int sum, const Four& x, const FourWeights& w) {
    for (int j = 0; j < 4; ++j) {
        sum += x.of[j] * w.of[j];
    }
    return sum;
}

#endif

// Bytes of the weights of four channels for one vector of outputs.
constexpr int64_t kFourBytes = 4 * kLanes * kWeightBytes;

LISSOME_INLINE Int all(int32_t x) {
    return Int{} + x;
}
LISSOME_INLINE Int load_sums(const int32_t* p) {
    Int x;
    __builtin_memcpy(&x, p, sizeof x);
    return x;
}
LISSOME_INLINE Vec to_float(Int x) {
    return (Vec) __builtin_convertvector(x, Float);
}

// To the nearest integer, ties to even, of numbers below 2^22 in magnitude.
LISSOME_INLINE Int nearest(Vec x) {
#if LISSOME_ISA_avx512
    return (Int)_mm512_cvtps_epi32(x);
#elif LISSOME_ISA_avx2
    return (Int)_mm256_cvtps_epi32(x);
#else
    const Vec shift = broadcast(12582912.0f);  // 1.5 · 2^23: the sum's last bit is worth 1
    return bits_of(add(x, shift)) - bits_of(shift);
#endif
}

// kLanes codes as int32, and back; the latter are within 0 … 255.
LISSOME_INLINE Int load_codes(const uint8_t* p) {
#if LISSOME_ISA_avx512 || LISSOME_ISA_avx2
    return (Int)widen(p);
#else
    Int x;
    for (int i = 0; i < kLanes; ++i) {
        x[i] = p[i];
    }
    return x;
#endif
}
LISSOME_INLINE void store_codes(uint8_t* p, Int x) {
#if LISSOME_ISA_avx512
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8((__m512i)x));
#elif LISSOME_ISA_avx2
    const __m256i low = _mm256_shuffle_epi8((__m256i)x, _mm256_set1_epi32(0x0c080400));
    const int32_t halves[2] = {_mm256_extract_epi32(low, 0), _mm256_extract_epi32(low, 4)};
    __builtin_memcpy(p, halves, sizeof halves);
#else
    for (int i = 0; i < kLanes; ++i) {
        p[i] = static_cast<uint8_t>(x[i]);
    }
#endif
}

// From a real number to a code: zero + x, rounded, within two codes. NaN becomes the lower one.
struct Rounding {
    Vec low, high;
    Int zero;
};
LISSOME_INLINE Rounding rounding(int64_t zero, int64_t low, int64_t high) {
    return {broadcast(static_cast<float>(low - zero)), broadcast(static_cast<float>(high - zero)),
            all(static_cast<int32_t>(zero))};
}
LISSOME_INLINE Vec within(Vec x, const Rounding& to) {
#if LISSOME_ISA_avx512
    return _mm512_min_ps(_mm512_max_ps(x, to.low), to.high);
#elif LISSOME_ISA_avx2
    return _mm256_min_ps(_mm256_max_ps(x, to.low), to.high);
#else
    const Vec raised = pick(less(to.low, x), x, to.low);
    return pick(less(raised, to.high), raised, to.high);
#endif
}
LISSOME_INLINE Int round_to(Vec x, const Rounding& to) {
    return nearest(within(x, to)) + to.zero;
}
// The same less the zero, as a float.
LISSOME_INLINE Vec whole(Vec x, const Rounding& to) {
#if LISSOME_ISA_avx512
    return _mm512_roundscale_ps(within(x, to), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif LISSOME_ISA_avx2
    return _mm256_round_ps(within(x, to), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
    return to_float(nearest(within(x, to)));
#endif
}

}  // namespace lissome::LISSOME_ISA
