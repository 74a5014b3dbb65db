// gemm_f32_codes4, gemm_f32_codes5: y = x · wᵀ + bias for few rows of x, w dense with up to 16 or 32 values, of which
// memory holds codes only (gemm/codes.h). A vector of words holds the codes of a vector of outputs for several columns;
// they are looked up in registers and multiplied with one input each. Reads an eighth or a sixth of the dense weight,
// which is what a linear layer takes where no cache holds it. A task is a vector of outputs for up to four rows of x.
#include "gemm/codes.h"

#include "core/activation.h"
#include "core/kernel.h"
#include "core/lanes.h"

namespace lissome::LISSOME_ISA {

extern const Kernel gemm_f32_codes4, gemm_f32_codes5;

#define LISSOME_UNROLL _Pragma("GCC unroll 32")

static constexpr int64_t kRows = 4;  // of x at a time

// The codebook in registers, and value `place` of each lane's word.
#if LISSOME_ISA_avx512
template <int kBits>
struct Book {
    Vec low, high;
    explicit Book(const float* table) : low(load(table)), high(load(table + kLanes)) {}
    inline __attribute__((always_inline)) Vec at(Int words, int place) const {
        const __m512i index = _mm512_srli_epi32((__m512i)words, static_cast<unsigned>(kBits * place));
        if constexpr (kBits == 4) {
            return _mm512_permutexvar_ps(index, low);
        }
        return _mm512_permutex2var_ps(low, index, high);
    }
};
#elif LISSOME_ISA_avx2
template <int kBits>
struct Book {
    Vec part[4];
    explicit Book(const float* table) : part{load(table), load(table + 8), load(table + 16), load(table + 24)} {}
    inline __attribute__((always_inline)) Vec at(Int words, int place) const {
        const __m256i index = _mm256_srli_epi32((__m256i)words, kBits * place);
        const Vec third = _mm256_castsi256_ps(_mm256_slli_epi32((__m256i)words, 28 - kBits * place));
        const Vec low = pair(0, index, third);
        if constexpr (kBits == 4) {
            return low;
        }
        const Vec fourth = _mm256_castsi256_ps(_mm256_slli_epi32(index, 27));
        return _mm256_blendv_ps(low, pair(2, index, third), fourth);
    }
    inline __attribute__((always_inline)) Vec pair(int first, __m256i index, Vec third) const {
        return _mm256_blendv_ps(_mm256_permutevar8x32_ps(part[first], index),
                                _mm256_permutevar8x32_ps(part[first + 1], index), third);
    }
};
#else
template <int kBits>
struct Book {
    const float* table;
    explicit Book(const float* values) : table(values) {}
    inline __attribute__((always_inline)) Vec at(Int words, int place) const {
        float lanes[kLanes];
        for (int i = 0; i < kLanes; ++i) {
            lanes[i] = table[static_cast<uint32_t>(words[i]) >> (kBits * place) & ((1 << kBits) - 1)];
        }
        return load(lanes);
    }
};
#endif

// Sums of kM rows for one vector of outputs. w: its words.
template <int kBits, int kM>
static void vector_of(const int8_t* w, const float* table, const float* x, int64_t columns, Vec* sums) {
    constexpr int kPlaces = 32 / kBits, kChains = kM == 1 ? 4 : 2;  // of additions: as many as hide their latency
    const Book<kBits> book(table);
    Vec made[kM][kChains];
    LISSOME_UNROLL
    for (int i = 0; i < kM * kChains; ++i) {
        made[i / kChains][i % kChains] = zero();
    }
    int64_t k = 0;
    for (; k + kPlaces <= columns; k += kPlaces, w += sizeof(Int)) {
        Int words;
        __builtin_memcpy(&words, w, sizeof words);
        LISSOME_UNROLL
        for (int place = 0; place < kPlaces; ++place) {
            const Vec value = book.at(words, place);
            LISSOME_UNROLL
            for (int i = 0; i < kM; ++i) {
                Vec& sum = made[i][place % kChains];
                sum = fma(value, broadcast(x[i * columns + k + place]), sum);
            }
        }
    }
    for (int place = 0; k < columns; ++k, ++place) {
        Int words;
        __builtin_memcpy(&words, w, sizeof words);
        const Vec value = book.at((Int)((Bits)words >> (kBits * place)), 0);
        LISSOME_UNROLL
        for (int i = 0; i < kM; ++i) {
            made[i][0] = fma(value, broadcast(x[i * columns + k]), made[i][0]);
        }
    }
    LISSOME_UNROLL
    for (int i = 0; i < kM; ++i) {
        sums[i] = add(made[i][0], made[i][1]);
        if constexpr (kChains == 4) {
            sums[i] = add(sums[i], add(made[i][2], made[i][3]));
        }
    }
}

using VectorOf = void (*)(const int8_t* w, const float* table, const float* x, int64_t columns, Vec* sums);

static int64_t strips(const GemmShape& g) {
    return ceil_div(g.m, kRows);
}

static int64_t tasks(const Shape& shape, int) {
    return strips(shape.gemm) * ceil_div(shape.gemm.n, kLanes);
}

static int64_t no_workspace(const Shape&, int) {
    return 0;
}

template <int kBits>
static void run(const Call& call, int64_t begin, int64_t end, int) {
    static constexpr VectorOf kVectors[kRows] = {vector_of<kBits, 1>, vector_of<kBits, 2>, vector_of<kBits, 3>,
                                                 vector_of<kBits, 4>};
    const GemmShape& g = call.shape->gemm;
    const int64_t vectors = ceil_div(g.n, kLanes), bytes = ceil_div(g.k, 32 / kBits) * int64_t{sizeof(Int)};
    for (int64_t task = begin; task < end; ++task) {
        const int64_t vector = task % vectors, m = task / vectors * kRows, rows = least(kRows, g.m - m);
        const int64_t first = vector * kLanes, lanes = least(kLanes, g.n - first);
        Vec sums[kRows];
        kVectors[rows - 1](call.weights.bytes + vector * bytes, call.weights.table, call.in[0] + m * g.k, g.k, sums);
        const Vec bias = call.bias ? load(call.bias + first) : zero();
        for (int64_t i = 0; i < rows; ++i) {
            const Vec y = activate(add(sums[i], bias), call.activation);
            store_some(call.out[0] + (m + i) * g.n + first, y, lanes);
        }
    }
}

template <int kBits>
static constexpr Kernel codes_kernel(const char* name) {
    return {name,
            Op::gemm,
            Isa::LISSOME_ISA,
            Form::codes,
            kLanes,
            no_workspace,
            {{tasks, run<kBits>}, {nullptr, nullptr}},
            1,
            1,
            false,
            nullptr,
            kBits};
}

const Kernel gemm_f32_codes4 = codes_kernel<4>(LISSOME_NAME("gemm_f32_codes4"));
const Kernel gemm_f32_codes5 = codes_kernel<5>(LISSOME_NAME("gemm_f32_codes5"));

}  // namespace lissome::LISSOME_ISA
