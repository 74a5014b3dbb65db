// Counting where the signs of a word of inputs and of weights differ. Bits are 1 for numbers from 0 on, 0 below.
//
// Where a lane's bits can be counted, a word is 32 channels: xor, count, add; the bytes' counts of NEON are added to
// the lanes' sums every kCountable words. Elsewhere (AVX2, plain AVX-512) four channels of an input are one of 16
// tables: what four bits of weights, one of 16 values again, differ from it in. One shuffle looks up a table for as
// many outputs as a vector has bytes, so there is neither xor nor mask; a word is 16 channels, four bytes of a table's
// offset each. Included by sources compiled once per instruction set.
#pragma once

#include "core/lanes.h"

#define LISSOME_UNROLL _Pragma("GCC unroll 32")

namespace lissome::LISSOME_ISA {

constexpr int kMaxVectors = 4;

LISSOME_INLINE Int load_words(const void* p) {
    Int x;
    __builtin_memcpy(&x, p, sizeof x);
    return x;
}
LISSOME_INLINE Vec to_float(Int x) {
    return (Vec) __builtin_convertvector(x, Float);
}

#define LISSOME_LOOKS_UP (LISSOME_ISA_avx2 || (LISSOME_ISA_avx512 && !LISSOME_ISA_avx512_vpopcntdq))
#if LISSOME_LOOKS_UP

typedef uint8_t Bytes __attribute__((vector_size(4 * kLanes)));
constexpr int kEach = 4;  // vectors of sums that a vector counts for: output b · kLanes + i in byte 4 i + b
constexpr int64_t kWordChannels = 16, kCountable = 15;  // 16 a word, in bytes up to 255
constexpr int64_t kSpilled = 256;                       // times 240, in 16 bits
#if LISSOME_ISA_avx512
constexpr int kPixels[kMaxVectors + 1] = {0, 12, 8, 6, 5};
LISSOME_INLINE Bytes table_at(const uint8_t* p) {
    return (Bytes)_mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
LISSOME_INLINE Bytes look_up(Bytes table, Int nibbles) {
    return (Bytes)_mm512_shuffle_epi8((__m512i)table, (__m512i)nibbles);
}
#else
constexpr int kPixels[kMaxVectors + 1] = {0, 8, 6, 4, 3};
LISSOME_INLINE Bytes table_at(const uint8_t* p) {
    return (Bytes)_mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
LISSOME_INLINE Bytes look_up(Bytes table, Int nibbles) {
    return (Bytes)_mm256_shuffle_epi8((__m256i)table, (__m256i)nibbles);
}
#endif

// Bits of both, and of one of both.
struct Tables {
    uint8_t both[256], either[256];
};
static constexpr Tables make_tables() {
    Tables tables{};
    for (int i = 0; i < 256; ++i) {
        for (int bit = 0; bit < 4; ++bit) {
            const int x = i >> (4 + bit) & 1, w = i >> bit & 1;
            tables.both[i] = static_cast<uint8_t>(tables.both[i] + (x & w));
            tables.either[i] = static_cast<uint8_t>(tables.either[i] + (x ^ w));
        }
    }
    return tables;
}
alignas(64) static constexpr Tables kTables = make_tables();

// Counts for P pixels and V vectors of outputs. counted: of up to kCountable words; halves: of all before, as uint16_t.
template <int P, int V, bool kTernary>
struct Counts {
    Bytes counted[P * V] = {};
    Int even[P * V] = {}, odd[P * V] = {}, sums[P * V * kEach] = {};
    int64_t flushed = 0;

    // In ternary weights the first plane is of those that are 1, the second of those that are −1.
    inline __attribute__((always_inline)) void word(const uint8_t* x, int64_t pixel, const int8_t* w) {
        constexpr int64_t kStep = V * (kTernary ? 2 : 1) * int64_t{sizeof(Bytes)};
#pragma GCC unroll 1
        for (int byte = 0; byte < 4; ++byte, w += kStep) {
            LISSOME_UNROLL
            for (int i = 0; i < P; ++i) {
                const uint8_t at = x[i * pixel + byte];
                const Bytes table = table_at((kTernary ? kTables.both : kTables.either) + at);
                const Bytes other = table_at(kTables.both + (kTernary ? at ^ 0xf0 : 0));
                LISSOME_UNROLL
                for (int j = 0; j < V; ++j) {
                    const int8_t* nibbles = w + j * int64_t{sizeof(Bytes)};
                    if constexpr (kTernary) {
                        counted[i * V + j] += look_up(other, load_words(nibbles));
                        nibbles += V * int64_t{sizeof(Bytes)};
                    }
                    counted[i * V + j] += look_up(table, load_words(nibbles));
                }
            }
        }
    }
    inline __attribute__((always_inline)) void flush() {
        const Int low = Int{} + 0x00ff00ff;
        LISSOME_UNROLL
        for (int i = 0; i < P * V; ++i) {
            even[i] += (Int)counted[i] & low;
            odd[i] += (Int)((Bits)counted[i] >> 8) & low;
            counted[i] = Bytes{};
        }
        if (++flushed == kSpilled) {
            spill();
        }
    }
    void spill() {
        const Int low = Int{} + 0xffff;
        for (int i = 0; i < P * V; ++i) {
            sums[i * kEach] += even[i] & low;
            sums[i * kEach + 1] += odd[i] & low;
            sums[i * kEach + 2] += (Int)((Bits)even[i] >> 16);
            sums[i * kEach + 3] += (Int)((Bits)odd[i] >> 16);
            even[i] = odd[i] = Int{};
        }
        flushed = 0;
    }
    inline __attribute__((always_inline)) void finish(Int* found) {
        flush();
        spill();
        for (int i = 0; i < P * V * kEach; ++i) {
            found[i] = sums[i];
        }
    }
};

#else

constexpr int kEach = 1;
constexpr int64_t kWordChannels = 32;
LISSOME_INLINE Int load_word(const uint8_t* p) {
    uint32_t x;
    __builtin_memcpy(&x, p, sizeof x);
    return Int{} + static_cast<int32_t>(x);
}
#if LISSOME_ISA_avx512_vpopcntdq
constexpr int kPixels[kMaxVectors + 1] = {0, 14, 12, 8, 6};
constexpr int64_t kCountable = int64_t{1} << 31;
LISSOME_INLINE Int count(Int counted, Int bits) {
    return counted + (Int)_mm512_popcnt_epi32((__m512i)bits);
}
LISSOME_INLINE Int summed(Int counted) {
    return counted;
}
#elif LISSOME_ISA_neon
constexpr int kPixels[kMaxVectors + 1] = {0, 12, 8, 6, 5};
constexpr int64_t kCountable = 31;  // 8 a word, in bytes up to 255
LISSOME_INLINE Int count(Int counted, Int bits) {
    return (Int)vaddq_u8((uint8x16_t)counted, vcntq_u8((uint8x16_t)bits));
}
LISSOME_INLINE Int summed(Int counted) {
    return (Int)vpaddlq_u16(vpaddlq_u8((uint8x16_t)counted));
}
#else
constexpr int kPixels[kMaxVectors + 1] = {0, 6, 3, 2, 1};
constexpr int64_t kCountable = int64_t{1} << 31;
LISSOME_INLINE Int count(Int counted, Int bits) {
    for (int i = 0; i < kLanes; ++i) {
        counted[i] += __builtin_popcount(static_cast<uint32_t>(bits[i]));
    }
    return counted;
}
LISSOME_INLINE Int summed(Int counted) {
    return counted;
}
#endif

// In ternary weights the second plane is of those that are not 0.
template <int P, int V, bool kTernary>
struct Counts {
    Int counted[P * V] = {}, sums[P * V] = {};

    inline __attribute__((always_inline)) void word(const uint8_t* x, int64_t pixel, const int8_t* w) {
        LISSOME_UNROLL
        for (int i = 0; i < P; ++i) {
            const Int input = load_word(x + i * pixel);
            LISSOME_UNROLL
            for (int j = 0; j < V; ++j) {
                Int bits = input ^ load_words(w + j * int64_t{sizeof(Int)});
                if constexpr (kTernary) {
                    bits &= load_words(w + (V + j) * int64_t{sizeof(Int)});
                }
                counted[i * V + j] = count(counted[i * V + j], bits);
            }
        }
    }
    inline __attribute__((always_inline)) void flush() {
        LISSOME_UNROLL
        for (int i = 0; i < P * V; ++i) {
            sums[i] += summed(counted[i]);
            counted[i] = Int{};
        }
    }
    inline __attribute__((always_inline)) void finish(Int* found) {
        flush();
        for (int i = 0; i < P * V; ++i) {
            found[i] = sums[i];
        }
    }
};

#endif

constexpr int64_t kWordBytes = 4 * kLanes * kEach;  // a word for each of a vector of outputs

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
