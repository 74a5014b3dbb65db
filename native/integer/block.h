// The register block of integer kernels: P pixels by V vectors of outputs, whose int32 sums stay in registers over all
// of a window's channels and taps, and then become codes or floats. Included by sources compiled once per instruction
// set.
#pragma once

#include "conv/columns.h"
#include "core/activation.h"
#include "integer/dot.h"

namespace lissome::LISSOME_ISA {

constexpr int kMaxVectors = 4;
#if LISSOME_ISA_avx512_vnni
constexpr int kPixels[kMaxVectors + 1] = {0, 14, 14, 9, 6};  // V = 1 … 4: 14 to 28 sums in 32 registers
#elif LISSOME_ISA_avx512
constexpr int kPixels[kMaxVectors + 1] = {0, 14, 10, 7, 5};
#else
constexpr int kPixels[kMaxVectors + 1] = {0, 8, 4, 3, 2};  // 16 registers
#endif

// Piece i of `count` things cut into `pieces` as equal as can be.
LISSOME_INLINE Range piece_of(int64_t i, int64_t pieces, int64_t count) {
    return {count * i / pieces, count * (i + 1) / pieces};
}

// What one block sums over. Offsets in bytes.
struct Window {
    int64_t blocks, rows, columns;  // blocks of input channels, rows and columns of the filter
    int64_t x_block, x_row, x_column, x_pixel;
};

// Where a block's results go: codes at y, or floats at f.
struct Result {
    uint8_t* y;
    float* f;
    const uint8_t* residual;  // beside y, or nullptr
    int64_t pixel, vector;    // elements between pixels and between vectors of outputs
    const int32_t* offset;    // of the panel's first output
    const float* scale;
    const CodeShape* codes;
    const Activation* activation;  // of floats
};

template <int P, int V>
struct Block {
    Int at[P][V];
};

// Codes less their zero to a sum of numbers: see CodeShape.
LISSOME_INLINE Int add_residual(Vec code, Int residual, const CodeShape& c, const Rounding& to) {
    const Vec kept = multiply(code, broadcast(c.keep));
    const Vec added = multiply(to_float(residual - all(static_cast<int32_t>(c.r_zero))), broadcast(c.add));
    return round_to(add(kept, added), to);
}

// Sums to floats, from memory: unrolled in every block it would only be more code.
static void finish_floats(const Int* sums, int64_t pixels, int64_t vectors, const Result& to) {
    for (int64_t j = 0; j < vectors; ++j) {
        const Vec scale = load(to.scale + j * kLanes);
        for (int64_t i = 0; i < pixels; ++i) {
            const Vec x = multiply(to_float(sums[i * vectors + j]), scale);
            store(to.f + i * to.pixel + j * to.vector, activate(x, *to.activation));
        }
    }
}

// Sums to codes, and those plus a residual's to others.
template <int P, int V>
LISSOME_INLINE void finish_sums(const Block<P, V>& sums, const Result& to) {
    const CodeShape& c = *to.codes;
    const Rounding first = rounding(c.zero, c.low, c.high), last = rounding(c.sum_zero, c.sum_low, c.sum_high);
    LISSOME_UNROLL
    for (int j = 0; j < V; ++j) {
        const Vec scale = load(to.scale + j * kLanes);
        LISSOME_UNROLL
        for (int i = 0; i < P; ++i) {
            const int64_t at = i * to.pixel + j * to.vector;
            const Vec code = whole(multiply(to_float(sums.at[i][j]), scale), first);
            store_codes(to.y + at, add_residual(code, load_codes(to.residual + at), c, last));
        }
    }
}

template <int P, int V>
LISSOME_INLINE void finish(const Block<P, V>& sums, const Result& to) {
    if (to.f) {
        Int kept[P * V];
        LISSOME_UNROLL
        for (int i = 0; i < P * V; ++i) {
            kept[i] = sums.at[i / V][i % V];
        }
        finish_floats(kept, P, V, to);
        return;
    }
    if (to.residual) {
        finish_sums(sums, to);
        return;
    }
    const Rounding first = rounding(to.codes->zero, to.codes->low, to.codes->high);
    LISSOME_UNROLL
    for (int j = 0; j < V; ++j) {
        const Vec scale = load(to.scale + j * kLanes);
        LISSOME_UNROLL
        for (int i = 0; i < P; ++i) {
            const Int code = round_to(multiply(to_float(sums.at[i][j]), scale), first);
            store_codes(to.y + i * to.pixel + j * to.vector, code);
        }
    }
}

// kFours: fours of channels in a block of the input. w: in the order of the loops here.
template <int P, int V, int kFours>
static void block(const Window& over, const uint8_t* x, const int8_t* w, const Result& to) {
    Block<P, V> sums;
    LISSOME_UNROLL
    for (int j = 0; j < V; ++j) {
        const Int offset = load_sums(to.offset + j * kLanes);
        LISSOME_UNROLL
        for (int i = 0; i < P; ++i) {
            sums.at[i][j] = offset;
        }
    }
    for (int64_t b = 0; b < over.blocks; ++b) {
        for (int64_t r = 0; r < over.rows; ++r) {
            const uint8_t* at = x + b * over.x_block + r * over.x_row;
            for (int64_t s = 0; s < over.columns; ++s, at += over.x_column) {
                LISSOME_UNROLL
                for (int c = 0; c < kFours; ++c, w += V * kFourBytes) {
                    FourWeights weights[V];
                    LISSOME_UNROLL
                    for (int j = 0; j < V; ++j) {
                        weights[j] = four_weights(w + j * kFourBytes);
                    }
                    LISSOME_UNROLL
                    for (int i = 0; i < P; ++i) {
                        const Four input = four(at + i * over.x_pixel + 4 * c);
                        LISSOME_UNROLL
                        for (int j = 0; j < V; ++j) {
                            sums.at[i][j] = dot(sums.at[i][j], input, weights[j]);
                        }
                    }
                }
            }
        }
    }
    finish(sums, to);
}

using BlockFunction = void (*)(const Window& over, const uint8_t* x, const int8_t* w, const Result& to);

struct BlockTable {
    BlockFunction of[kPixels[1] + 1];
    int64_t widest;
};

template <int P, int V, int kFours>
static constexpr void fill(BlockTable& table) {
    if constexpr (P > 0) {
        table.of[P] = block<P, V, kFours>;
        fill<P - 1, V, kFours>(table);
    }
}

template <int V, int kFours>
static constexpr BlockTable make_table() {
    BlockTable table{};
    table.widest = kPixels[V];
    fill<kPixels[V], V, kFours>(table);
    return table;
}

template <int kFours>
static constexpr BlockTable kTables[kMaxVectors] = {make_table<1, kFours>(), make_table<2, kFours>(),
                                                    make_table<3, kFours>(), make_table<4, kFours>()};

}  // namespace lissome::LISSOME_ISA
