// More operations on vectors than simd.h has: comparing, dividing, roots, and vectors that are not full.
// Included only by sources that are compiled once per instruction set. Written with the compiler's vector operators
// where it can be, since those are the same on every instruction set.
#pragma once

#include <math.h>

#include "core/simd.h"

namespace lissome::LISSOME_ISA {

typedef float Float __attribute__((vector_size(kLanes * 4)));
typedef int32_t Int __attribute__((vector_size(kLanes * 4)));
typedef uint32_t Bits __attribute__((vector_size(kLanes * 4)));

LISSOME_INLINE Int bits_of(Vec x) {
    return (Int)x;
}
LISSOME_INLINE Vec from_bits(Int x) {
    return (Vec)x;
}
LISSOME_INLINE Vec pick(Int mask, Vec yes, Vec no) {
    return from_bits((mask & bits_of(yes)) | (~mask & bits_of(no)));
}
LISSOME_INLINE Int less(Vec a, Vec b) {
    return (Int)((Float)a < (Float)b);
}
LISSOME_INLINE Vec divide(Vec a, Vec b) {
    return (Vec)((Float)a / (Float)b);
}
LISSOME_INLINE Vec absolute(Vec x) {
    return from_bits(bits_of(x) & 0x7fffffff);
}
LISSOME_INLINE Vec negate(Vec x) {
    return from_bits(bits_of(x) ^ INT32_MIN);
}
// The sign of `sign` on a number that has none.
LISSOME_INLINE Vec with_sign(Vec x, Vec sign) {
    return from_bits(bits_of(x) | (bits_of(sign) & INT32_MIN));
}

// The first `count` lanes, kLanes at most; the others are 0.
LISSOME_INLINE Vec load_some(const float* p, int64_t count) {
#if LISSOME_ISA_avx512
    return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), p);
#else
    if (count == kLanes) {
        return load(p);
    }
    float lanes[kLanes] = {};
    for (int64_t i = 0; i < count; ++i) {
        lanes[i] = p[i];
    }
    return load(lanes);
#endif
}
// Lanes [first, last) of a vector, 0 ≤ first ≤ last ≤ kLanes.
#if LISSOME_ISA_avx512
using LaneRange = __mmask16;
LISSOME_INLINE LaneRange lane_range(int64_t first, int64_t last) {
    return static_cast<__mmask16>((1u << last) - (1u << first));
}
#else
struct LaneRange {
    int64_t first, last;
};
LISSOME_INLINE LaneRange lane_range(int64_t first, int64_t last) {
    return {first, last};
}
#endif
// These lanes of p, the others 0; p itself need not point at memory where they are not.
LISSOME_INLINE Vec load_lanes(const float* p, LaneRange range) {
#if LISSOME_ISA_avx512
    return _mm512_maskz_loadu_ps(range, p);
#else
    if (range.first == 0 && range.last == kLanes) {
        return load(p);
    }
    float lanes[kLanes] = {};
    for (int64_t i = range.first; i < range.last; ++i) {
        lanes[i] = p[i];
    }
    return load(lanes);
#endif
}
LISSOME_INLINE void store_lanes(float* p, Vec x, LaneRange range) {
#if LISSOME_ISA_avx512
    _mm512_mask_storeu_ps(p, range, x);
#else
    if (range.first == 0 && range.last == kLanes) {
        store(p, x);
        return;
    }
    float lanes[kLanes];
    store(lanes, x);
    for (int64_t i = range.first; i < range.last; ++i) {
        p[i] = lanes[i];
    }
#endif
}
LISSOME_INLINE Vec load_between(const float* p, int64_t first, int64_t last) {
    return load_lanes(p, lane_range(first, last));
}
LISSOME_INLINE void store_some(float* p, Vec x, int64_t count) {
#if LISSOME_ISA_avx512
    _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << count) - 1), x);
#else
    if (count == kLanes) {
        store(p, x);
        return;
    }
    float lanes[kLanes];
    store(lanes, x);
    for (int64_t i = 0; i < count; ++i) {
        p[i] = lanes[i];
    }
#endif
}

// The lanes of x that are set in `lanes`, moved together in front of zeros; only where kGathers.
#if LISSOME_ISA_avx512
constexpr bool kGathers = true;
LISSOME_INLINE Vec gathered(Vec x, uint32_t lanes) {
    return _mm512_maskz_compress_ps(static_cast<__mmask16>(lanes), x);
}
#else
constexpr bool kGathers = false;
LISSOME_INLINE Vec gathered(Vec x, uint32_t) {
    return x;
}
#endif

// Lane i is lane index[i] of a, or index[i] − kLanes of b; each index is below 2 · kLanes.
LISSOME_INLINE Vec permute(Vec a, Vec b, Int index) {
#if LISSOME_ISA_avx512
    return _mm512_permutex2var_ps(a, (__m512i)index, b);
#elif LISSOME_ISA_avx2
    const Vec first = _mm256_permutevar8x32_ps(a, (__m256i)index), second = _mm256_permutevar8x32_ps(b, (__m256i)index);
    return pick(index < kLanes, first, second);
#else
    float lanes[2 * kLanes], chosen[kLanes];
    store(lanes, a);
    store(lanes + kLanes, b);
    for (int i = 0; i < kLanes; ++i) {
        chosen[i] = lanes[index[i]];
    }
    return load(chosen);
#endif
}

// The halves of a and b, lane by lane in turns: a0 b0 a1 b1 …, the lower ones or the upper ones.
#define LISSOME_LANES_4(f) f(0), f(1), f(2), f(3)
#define LISSOME_LANES_8(f) LISSOME_LANES_4(f), f(4), f(5), f(6), f(7)
#define LISSOME_LANES_16(f) LISSOME_LANES_8(f), f(8), f(9), f(10), f(11), f(12), f(13), f(14), f(15)
#define LISSOME_LOWER(i) ((i) / 2 + (i) % 2 * kLanes)
#define LISSOME_UPPER(i) ((i) / 2 + (i) % 2 * kLanes + kLanes / 2)
LISSOME_INLINE Vec lower_halves(Vec a, Vec b) {
#if LISSOME_ISA_avx512
    return (Vec)__builtin_shufflevector((Float)a, (Float)b, LISSOME_LANES_16(LISSOME_LOWER));
#elif LISSOME_ISA_avx2
    return (Vec)__builtin_shufflevector((Float)a, (Float)b, LISSOME_LANES_8(LISSOME_LOWER));
#else
    return (Vec)__builtin_shufflevector((Float)a, (Float)b, LISSOME_LANES_4(LISSOME_LOWER));
#endif
}
LISSOME_INLINE Vec upper_halves(Vec a, Vec b) {
#if LISSOME_ISA_avx512
    return (Vec)__builtin_shufflevector((Float)a, (Float)b, LISSOME_LANES_16(LISSOME_UPPER));
#elif LISSOME_ISA_avx2
    return (Vec)__builtin_shufflevector((Float)a, (Float)b, LISSOME_LANES_8(LISSOME_UPPER));
#else
    return (Vec)__builtin_shufflevector((Float)a, (Float)b, LISSOME_LANES_4(LISSOME_UPPER));
#endif
}

// kLanes vectors as the rows of a square: afterwards its columns.
LISSOME_INLINE void transpose(Vec* row) {
#pragma GCC unroll 4
    for (int stage = 1; stage < kLanes; stage *= 2) {
        Vec turned[kLanes];
#pragma GCC unroll 8
        for (int i = 0; i < kLanes / 2; ++i) {
            turned[2 * i] = lower_halves(row[i], row[i + kLanes / 2]);
            turned[2 * i + 1] = upper_halves(row[i], row[i + kLanes / 2]);
        }
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) {
            row[i] = turned[i];
        }
    }
}

// The columns of kLanes rows in memory. Reading quarters of rows does half of the turning where a vector has quarters.
LISSOME_INLINE void load_columns(const float* const* row, Vec* column) {
#if LISSOME_ISA_avx512
    typedef float Four __attribute__((vector_size(16)));
    typedef float Eight __attribute__((vector_size(32)));
#pragma GCC unroll 4
    for (int q = 0; q < 4; ++q) {
        Float four[4];  // the j-th four lanes: quarter q of row i + 4j
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
            Four part[4];
#pragma GCC unroll 4
            for (int j = 0; j < 4; ++j) {
                __builtin_memcpy(&part[j], row[i + 4 * j] + 4 * q, sizeof part[j]);
            }
            const Eight low = __builtin_shufflevector(part[0], part[1], 0, 1, 2, 3, 4, 5, 6, 7);
            const Eight high = __builtin_shufflevector(part[2], part[3], 0, 1, 2, 3, 4, 5, 6, 7);
            four[i] = __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        }
#define LISSOME_QUARTERS(a, b, i, j, k, l)                                                                            \
    __builtin_shufflevector(a, b, i, j, k, l, i + 4, j + 4, k + 4, l + 4, i + 8, j + 8, k + 8, l + 8, i + 12, j + 12, \
                            k + 12, l + 12)
        const Float a = LISSOME_QUARTERS(four[0], four[1], 0, 16, 1, 17);
        const Float b = LISSOME_QUARTERS(four[2], four[3], 0, 16, 1, 17);
        const Float c = LISSOME_QUARTERS(four[0], four[1], 2, 18, 3, 19);
        const Float d = LISSOME_QUARTERS(four[2], four[3], 2, 18, 3, 19);
        column[4 * q] = (Vec)LISSOME_QUARTERS(a, b, 0, 1, 16, 17);
        column[4 * q + 1] = (Vec)LISSOME_QUARTERS(a, b, 2, 3, 18, 19);
        column[4 * q + 2] = (Vec)LISSOME_QUARTERS(c, d, 0, 1, 16, 17);
        column[4 * q + 3] = (Vec)LISSOME_QUARTERS(c, d, 2, 3, 18, 19);
    }
#else
#pragma GCC unroll 8
    for (int i = 0; i < kLanes; ++i) {
        column[i] = load(row[i]);
    }
    transpose(column);
#endif
}

// Σ of the first `count` lanes, in order.
LISSOME_INLINE float lanes_sum(Vec x, int64_t count = kLanes) {
    float lanes[kLanes], sum = 0.0f;
    store(lanes, x);
    for (int64_t i = 0; i < count; ++i) {
        sum += lanes[i];
    }
    return sum;
}

// A function of the C library, lane by lane.
template <float (*function)(float)>
LISSOME_INLINE Vec each(Vec x) {
    float lanes[kLanes];
    store(lanes, x);
    for (int i = 0; i < kLanes; ++i) {
        lanes[i] = function(lanes[i]);
    }
    return load(lanes);
}

LISSOME_INLINE Vec square_root(Vec x) {
#if LISSOME_ISA_avx512
    return _mm512_sqrt_ps(x);
#elif LISSOME_ISA_avx2
    return _mm256_sqrt_ps(x);
#elif LISSOME_ISA_neon && defined(__aarch64__)
    return vsqrtq_f32(x);
#else
    return each<sqrtf>(x);
#endif
}

}  // namespace lissome::LISSOME_ISA
