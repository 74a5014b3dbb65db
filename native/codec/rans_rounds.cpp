// For a state x: slot = x mod 2^scale_bits names the token; x becomes frequency × (x >> scale_bits) + bias, and takes
// 16 more bits when that is below 2^16. The lanes are independent but for the words: a lane's word is the next plus the
// number of lower lanes that take one, which AVX-512 has as an instruction (expand) and AVX2 as a table of
// permutations. Gathers and expansions of integers serve nothing but this file, so the instruction sets are named here.
#include "codec/rans_rounds.h"

#include <cstring>

#if LISSOME_ISA_avx2 || LISSOME_ISA_avx512
#include <immintrin.h>
#endif

namespace lissome::LISSOME_ISA {
namespace {

#if LISSOME_ISA_avx512

constexpr std::size_t kWidth = 16;

struct Lanes {
    __m512i state;
};

inline Lanes load(const std::uint32_t* p) {
    return {_mm512_loadu_si512(p)};
}
inline void store(std::uint32_t* p, const Lanes& lanes) {
    _mm512_storeu_si512(p, lanes.state);
}

// One token of each lane to `out`; returns how many words the lanes took.
inline std::size_t step(Lanes& lanes, const RansCursor& at, const std::uint8_t* words, std::uint8_t* out) {
    const __m512i slot = _mm512_and_si512(lanes.state, _mm512_set1_epi32((1 << at.scale_bits) - 1));
    const __m512i entry = _mm512_i32gather_epi32(slot, at.slots, 4);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm512_cvtepi32_epi8(entry));
    const __m512i frequency =
        _mm512_add_epi32(_mm512_and_si512(_mm512_srli_epi32(entry, 8), _mm512_set1_epi32(4095)), _mm512_set1_epi32(1));
    const __m512i high = _mm512_srl_epi32(lanes.state, _mm_cvtsi32_si128(static_cast<int>(at.scale_bits)));
    const __m512i state = _mm512_add_epi32(_mm512_mullo_epi32(frequency, high), _mm512_srli_epi32(entry, 20));
    const __mmask16 low = _mm512_cmplt_epu32_mask(state, _mm512_set1_epi32(1 << 16));
    const __m512i next = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(words)));
    const __m512i taken = _mm512_maskz_expand_epi32(low, next);
    lanes.state = _mm512_mask_or_epi32(state, low, _mm512_slli_epi32(state, 16), taken);
    return static_cast<std::size_t>(__builtin_popcount(low));
}

#elif LISSOME_ISA_avx2

constexpr std::size_t kWidth = 8;

struct Lanes {
    __m256i state;
};

// By the mask of lanes that take a word: for each lane, which of the next words it would take.
struct Permutations {
    std::uint8_t word[256][8];
    constexpr Permutations() : word{} {
        for (unsigned mask = 0; mask < 256; ++mask) {
            std::uint8_t taken = 0;
            for (unsigned lane = 0; lane < 8; ++lane) {
                word[mask][lane] = taken;
                taken = static_cast<std::uint8_t>(taken + (mask >> lane & 1));
            }
        }
    }
};
alignas(64) constexpr Permutations kPermutations;

inline Lanes load(const std::uint32_t* p) {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))};
}
inline void store(std::uint32_t* p, const Lanes& lanes) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), lanes.state);
}

inline std::size_t step(Lanes& lanes, const RansCursor& at, const std::uint8_t* words, std::uint8_t* out) {
    const __m256i slot = _mm256_and_si256(lanes.state, _mm256_set1_epi32((1 << at.scale_bits) - 1));
    const __m256i entry = _mm256_i32gather_epi32(reinterpret_cast<const int*>(at.slots), slot, 4);
    const __m256i low_bytes =
        _mm256_shuffle_epi8(entry, _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 4,
                                                    8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1));
    const __m128i tokens =
        _mm_unpacklo_epi32(_mm256_castsi256_si128(low_bytes), _mm256_extracti128_si256(low_bytes, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(out), tokens);
    const __m256i frequency =
        _mm256_add_epi32(_mm256_and_si256(_mm256_srli_epi32(entry, 8), _mm256_set1_epi32(4095)), _mm256_set1_epi32(1));
    const __m256i high = _mm256_srl_epi32(lanes.state, _mm_cvtsi32_si128(static_cast<int>(at.scale_bits)));
    const __m256i state = _mm256_add_epi32(_mm256_mullo_epi32(frequency, high), _mm256_srli_epi32(entry, 20));
    const __m256i low = _mm256_cmpeq_epi32(_mm256_srli_epi32(state, 16), _mm256_setzero_si256());
    const auto mask = static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(low)));
    const __m256i next = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(words)));
    const __m256i order =
        _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(kPermutations.word[mask])));
    const __m256i taken = _mm256_permutevar8x32_epi32(next, order);
    const __m256i refilled = _mm256_or_si256(_mm256_slli_epi32(state, 16), taken);
    lanes.state = _mm256_blendv_epi8(state, refilled, low);
    return static_cast<std::size_t>(__builtin_popcount(mask));
}

#else

constexpr std::size_t kWidth = 1;

struct Lanes {
    std::uint32_t state;
};

inline Lanes load(const std::uint32_t* p) {
    return {*p};
}
inline void store(std::uint32_t* p, const Lanes& lanes) {
    *p = lanes.state;
}

inline std::size_t step(Lanes& lanes, const RansCursor& at, const std::uint8_t* words, std::uint8_t* out) {
    const std::uint32_t entry = at.slots[lanes.state & ((1u << at.scale_bits) - 1)];
    *out = static_cast<std::uint8_t>(entry);
    const std::uint32_t state = ((entry >> 8 & 4095) + 1) * (lanes.state >> at.scale_bits) + (entry >> 20);
    const std::uint32_t next = words[0] | static_cast<std::uint32_t>(words[1]) << 8;
    const bool low = state < 1u << 16;
    lanes.state = low ? state << 16 | next : state;
    return low ? 1 : 0;
}

#endif

}  // namespace

void rans_rounds(RansCursor& cursor) {
    constexpr std::size_t kVectors = kRansLanes / kWidth;
    RansCursor at = cursor;  // a copy stays in registers
    Lanes lanes[kVectors];
    for (std::size_t v = 0; v < kVectors; ++v) {
        lanes[v] = load(at.states + v * kWidth);
    }
    while (at.words_left >= kRansLanes && at.out_left >= kRansLanes) {
        const std::uint8_t* words = at.words;
        for (std::size_t v = 0; v < kVectors; ++v) {
            words += 2 * step(lanes[v], at, words, at.out + v * kWidth);
        }
        at.words_left -= static_cast<std::size_t>(words - at.words) / 2;
        at.words = words;
        at.out += kRansLanes;
        at.out_left -= kRansLanes;
    }
    for (std::size_t v = 0; v < kVectors; ++v) {
        store(at.states + v * kWidth, lanes[v]);
    }
    cursor = at;
}

}  // namespace lissome::LISSOME_ISA
