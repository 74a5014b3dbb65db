// The one place that names an instruction set: a float vector and the few operations that kernels are written with.
// Included only by sources that are compiled once per instruction set; everything here has internal linkage, so that
// no copy compiled for a wider machine can be linked into a narrower one.
#pragma once

#include <cstdint>

#if LISSOME_ISA_avx2 || LISSOME_ISA_avx512
#include <immintrin.h>
#elif LISSOME_ISA_neon
#include <arm_neon.h>
#endif

#define LISSOME_INLINE static inline __attribute__((always_inline))
#define LISSOME_TEXT(token) #token
#define LISSOME_NAME_OF(stem, isa) stem "_" LISSOME_TEXT(isa)
// The kernel's full name, "<stem>_<isa>": the same string in the plan, in explain(), in tests and in benchmarks.
#define LISSOME_NAME(stem) LISSOME_NAME_OF(stem, LISSOME_ISA)

namespace lissome::LISSOME_ISA {

#if LISSOME_ISA_avx512

using Vec = __m512;
constexpr int kLanes = 16;
// Rows of the matrix-multiply tile: rows × 2 vectors of sums, 2 of the panel and 1 broadcast fill the register file.
constexpr int kTileRows = 12;

LISSOME_INLINE Vec zero() {
    return _mm512_setzero_ps();
}
LISSOME_INLINE Vec broadcast(float a) {
    return _mm512_set1_ps(a);
}
LISSOME_INLINE Vec load(const float* p) {
    return _mm512_loadu_ps(p);
}
LISSOME_INLINE void store(float* p, Vec a) {
    _mm512_storeu_ps(p, a);
}
LISSOME_INLINE Vec add(Vec a, Vec b) {
    return _mm512_add_ps(a, b);
}
LISSOME_INLINE Vec subtract(Vec a, Vec b) {
    return _mm512_sub_ps(a, b);
}
// Whether no lane is NaN or infinite.
LISSOME_INLINE bool all_finite(Vec a) {
    const Vec zeros = _mm512_mul_ps(a, _mm512_setzero_ps());
    return _mm512_cmp_ps_mask(zeros, zeros, _CMP_UNORD_Q) == 0;
}
LISSOME_INLINE Vec fma(Vec a, Vec b, Vec c) {
    return _mm512_fmadd_ps(a, b, c);
}
// max returns its second operand when either is NaN, so NaN passes.
LISSOME_INLINE Vec relu(Vec a) {
    return _mm512_max_ps(_mm512_setzero_ps(), a);
}
LISSOME_INLINE Vec multiply(Vec a, Vec b) {
    return _mm512_mul_ps(a, b);
}
// x within low and high; NaN stays, as the second operand wins.
LISSOME_INLINE Vec clamp(Vec x, Vec low, Vec high) {
    return _mm512_min_ps(high, _mm512_max_ps(low, x));
}
// The larger, NaN if either is.
LISSOME_INLINE Vec maximum(Vec a, Vec b) {
    return _mm512_mask_mov_ps(_mm512_max_ps(a, b), _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), a);
}
LISSOME_INLINE __m512i widen(const uint8_t* p) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
LISSOME_INLINE __m512i widen(const uint16_t* p) {
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
LISSOME_INLINE __m512i widen(const uint32_t* p) {
    return _mm512_loadu_si512(p);
}
template <class Index>
LISSOME_INLINE Vec gather(const float* base, const Index* index) {
    return _mm512_i32gather_ps(widen(index), base, 4);
}
// Up to 32 entries of a codebook, held in registers.
constexpr int64_t kTableEntries = 32;
struct Table {
    __m512 low, high;
};
LISSOME_INLINE Table load_table(const float* p) {
    return {load(p), load(p + 16)};
}
LISSOME_INLINE Vec look_up(const Table& table, const uint8_t* codes) {
    return _mm512_permutex2var_ps(table.low, widen(codes), table.high);
}

#elif LISSOME_ISA_avx2

using Vec = __m256;
constexpr int kLanes = 8;
constexpr int kTileRows = 6;

LISSOME_INLINE Vec zero() {
    return _mm256_setzero_ps();
}
LISSOME_INLINE Vec broadcast(float a) {
    return _mm256_set1_ps(a);
}
LISSOME_INLINE Vec load(const float* p) {
    return _mm256_loadu_ps(p);
}
LISSOME_INLINE void store(float* p, Vec a) {
    _mm256_storeu_ps(p, a);
}
LISSOME_INLINE Vec add(Vec a, Vec b) {
    return _mm256_add_ps(a, b);
}
LISSOME_INLINE Vec subtract(Vec a, Vec b) {
    return _mm256_sub_ps(a, b);
}
LISSOME_INLINE bool all_finite(Vec a) {
    const Vec zeros = _mm256_mul_ps(a, _mm256_setzero_ps());
    return _mm256_movemask_ps(_mm256_cmp_ps(zeros, zeros, _CMP_UNORD_Q)) == 0;
}
LISSOME_INLINE Vec fma(Vec a, Vec b, Vec c) {
    return _mm256_fmadd_ps(a, b, c);
}
LISSOME_INLINE Vec relu(Vec a) {
    return _mm256_max_ps(_mm256_setzero_ps(), a);
}
LISSOME_INLINE Vec multiply(Vec a, Vec b) {
    return _mm256_mul_ps(a, b);
}
LISSOME_INLINE Vec clamp(Vec x, Vec low, Vec high) {
    return _mm256_min_ps(high, _mm256_max_ps(low, x));
}
LISSOME_INLINE Vec maximum(Vec a, Vec b) {
    return _mm256_blendv_ps(_mm256_max_ps(a, b), a, _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
}
LISSOME_INLINE __m256i widen(const uint8_t* p) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}
LISSOME_INLINE __m256i widen(const uint16_t* p) {
    return _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
LISSOME_INLINE __m256i widen(const uint32_t* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
template <class Index>
LISSOME_INLINE Vec gather(const float* base, const Index* index) {
    return _mm256_i32gather_ps(base, widen(index), 4);
}
// Up to 16 entries of a codebook, held in registers.
constexpr int64_t kTableEntries = 16;
struct Table {
    __m256 low, high;
};
LISSOME_INLINE Table load_table(const float* p) {
    return {load(p), load(p + 8)};
}
LISSOME_INLINE Vec look_up(const Table& table, const uint8_t* codes) {
    const __m256i code = widen(codes);
    const __m256 low = _mm256_permutevar8x32_ps(table.low, code), high = _mm256_permutevar8x32_ps(table.high, code);
    return _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(code, 28)));  // bit 3 picks
}

#elif LISSOME_ISA_neon

using Vec = float32x4_t;
constexpr int kLanes = 4;
constexpr int kTileRows = 8;

LISSOME_INLINE Vec zero() {
    return vdupq_n_f32(0.0f);
}
LISSOME_INLINE Vec broadcast(float a) {
    return vdupq_n_f32(a);
}
LISSOME_INLINE Vec load(const float* p) {
    return vld1q_f32(p);
}
LISSOME_INLINE void store(float* p, Vec a) {
    vst1q_f32(p, a);
}
LISSOME_INLINE Vec add(Vec a, Vec b) {
    return vaddq_f32(a, b);
}
LISSOME_INLINE Vec subtract(Vec a, Vec b) {
    return vsubq_f32(a, b);
}
LISSOME_INLINE bool all_finite(Vec a) {
    const Vec zeros = vmulq_f32(a, vdupq_n_f32(0.0f));
    return vminvq_u32(vceqq_f32(zeros, zeros)) != 0;
}
LISSOME_INLINE Vec fma(Vec a, Vec b, Vec c) {
    return vfmaq_f32(c, a, b);
}
LISSOME_INLINE Vec relu(Vec a) {
    return vmaxq_f32(a, vdupq_n_f32(0.0f));
}
LISSOME_INLINE Vec multiply(Vec a, Vec b) {
    return vmulq_f32(a, b);
}
LISSOME_INLINE Vec clamp(Vec x, Vec low, Vec high) {
    return vminq_f32(vmaxq_f32(x, low), high);
}
LISSOME_INLINE Vec maximum(Vec a, Vec b) {
    return vmaxq_f32(a, b);
}
template <class Index>
LISSOME_INLINE Vec gather(const float* base, const Index* index) {
    const float lanes[4] = {base[index[0]], base[index[1]], base[index[2]], base[index[3]]};
    return vld1q_f32(lanes);
}

#else

// The compiler's own four-float vector: SSE2 on any x86-64, and right, if slow, everywhere else. Called "scalar"
// because it needs nothing that the base instruction set lacks.
typedef float Vec __attribute__((vector_size(16)));
constexpr int kLanes = 4;
constexpr int kTileRows = 4;

LISSOME_INLINE Vec zero() {
    return Vec{0.0f, 0.0f, 0.0f, 0.0f};
}
LISSOME_INLINE Vec broadcast(float a) {
    return Vec{a, a, a, a};
}
LISSOME_INLINE Vec load(const float* p) {
    Vec a;
    __builtin_memcpy(&a, p, sizeof a);
    return a;
}
LISSOME_INLINE void store(float* p, Vec a) {
    __builtin_memcpy(p, &a, sizeof a);
}
LISSOME_INLINE Vec add(Vec a, Vec b) {
    return a + b;
}
LISSOME_INLINE Vec subtract(Vec a, Vec b) {
    return a - b;
}
LISSOME_INLINE bool all_finite(Vec a) {
    const Vec zeros = a * zero();
    return zeros[0] + zeros[1] + zeros[2] + zeros[3] == 0.0f;
}
LISSOME_INLINE Vec fma(Vec a, Vec b, Vec c) {
    return a * b + c;
}
LISSOME_INLINE Vec relu(Vec a) {
    return a < zero() ? zero() : a;
}
LISSOME_INLINE Vec multiply(Vec a, Vec b) {
    return a * b;
}
LISSOME_INLINE Vec clamp(Vec x, Vec low, Vec high) {
    const Vec raised = x < low ? low : x;
    return raised > high ? high : raised;
}
LISSOME_INLINE Vec maximum(Vec a, Vec b) {
    return ((b > a) | (b != b)) ? b : a;
}
template <class Index>
LISSOME_INLINE Vec gather(const float* base, const Index* index) {
    return Vec{base[index[0]], base[index[1]], base[index[2]], base[index[3]]};
}

#endif

#if !(LISSOME_ISA_avx2 || LISSOME_ISA_avx512)
// No table fits into registers here.
constexpr int64_t kTableEntries = 0;
struct Table {
    const float* entries;
};
LISSOME_INLINE Table load_table(const float* p) {
    return {p};
}
LISSOME_INLINE Vec look_up(const Table& table, const uint8_t* codes) {
    return gather(table.entries, codes);
}
#endif

// Stored weights are floats, or codes into a table of floats in memory or, a small one, in registers.
LISSOME_INLINE float value_at(const float* values, const float*, int64_t i) {
    return values[i];
}
LISSOME_INLINE float value_at(const uint8_t* codes, const float* table, int64_t i) {
    return table[codes[i]];
}
LISSOME_INLINE Vec values_at(const float* values, const float*, int64_t i) {
    return load(values + i);
}
LISSOME_INLINE Vec values_at(const uint8_t* codes, const float* table, int64_t i) {
    return gather(table, codes + i);
}
LISSOME_INLINE Vec values_at(const uint8_t* codes, const Table& table, int64_t i) {
    return look_up(table, codes + i);
}

LISSOME_INLINE int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}
LISSOME_INLINE int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

// Whether `count` floats hold NaN or infinity: 0 · x is 0 for every other x.
LISSOME_INLINE bool any_nonfinite(const float* x, int64_t count) {
    Vec sum = zero();
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes) {
        sum = fma(load(x + i), zero(), sum);
    }
    float lanes[kLanes];
    store(lanes, sum);
    float total = 0.0f;
    for (int lane = 0; lane < kLanes; ++lane) {
        total += lanes[lane];
    }
    for (; i < count; ++i) {
        total += 0.0f * x[i];
    }
    return total != 0.0f || total != total;
}

}  // namespace lissome::LISSOME_ISA
