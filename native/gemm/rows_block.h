// The register block of dense kernels whose outputs lie along vectors of pixels: P rows (filters, or rows of a matrix)
// by one or two vectors. The rows come packed, P numbers side by side for each step of the sum; the other operand is a
// panel of vectors for each step, `pitch` floats apart. Included by sources compiled once per instruction set.
#pragma once

#include "conv/block.h"

namespace lissome::LISSOME_ISA {

constexpr int64_t kPanel = 2 * kLanes;
constexpr int kMaxRows = kPixels[2];  // rows of a block at most

// sums: (P, kPanel), of which V vectors are used. Additions go in order of depth, onto zero or onto what sums hold.
using RowsBlock = void (*)(const float* rows, const float* panel, int64_t pitch, int64_t depth, bool more, float* sums);

template <int P, int V>
static void rows_block(const float* rows, const float* panel, int64_t pitch, int64_t depth, bool more, float* to) {
    Sums<P, V> sums;
    LISSOME_UNROLL
    for (int i = 0; i < P; ++i) {
        LISSOME_UNROLL
        for (int j = 0; j < V; ++j) {
            sums.at[i][j] = more ? load(to + i * kPanel + j * kLanes) : zero();
        }
    }
    for (int64_t d = 0; d < depth; ++d) {
        Vec column[V];
        LISSOME_UNROLL
        for (int j = 0; j < V; ++j) {
            column[j] = load(panel + j * kLanes);
        }
        LISSOME_UNROLL
        for (int i = 0; i < P; ++i) {
            const Vec row = broadcast(rows[i]);
            LISSOME_UNROLL
            for (int j = 0; j < V; ++j) {
                sums.at[i][j] = fma(row, column[j], sums.at[i][j]);
            }
        }
        rows += P;
        panel += pitch;
    }
    LISSOME_UNROLL
    for (int i = 0; i < P; ++i) {
        LISSOME_UNROLL
        for (int j = 0; j < V; ++j) {
            store(to + i * kPanel + j * kLanes, sums.at[i][j]);
        }
    }
}

struct RowsBlocks {
    RowsBlock of[kMaxRows + 1];
};

template <int P, int V>
static constexpr void fill_rows_blocks(RowsBlocks& table) {
    if constexpr (P > 0) {
        table.of[P] = rows_block<P, V>;
        fill_rows_blocks<P - 1, V>(table);
    }
}

template <int V>
static constexpr RowsBlocks make_rows_blocks() {
    RowsBlocks table{};
    fill_rows_blocks<kMaxRows, V>(table);
    return table;
}

// The block of `rows` rows by as many vectors as `columns` need, kPanel at most.
template <int V>
static constexpr RowsBlocks kRowsBlocks = make_rows_blocks<V>();
LISSOME_INLINE RowsBlock find_rows_block(int64_t rows, int64_t columns) {
    return columns > kLanes ? kRowsBlocks<2>.of[rows] : kRowsBlocks<1>.of[rows];
}

// `count` rows in as few panels of at most kMaxRows as there can be, of sizes that differ by one at most: panel i holds
// rows [first_row(i), first_row(i + 1)). The packers cut in the same way (gemm/pack.h).
LISSOME_INLINE int64_t row_panels(int64_t count) {
    return ceil_div(count, kMaxRows);
}
LISSOME_INLINE int64_t first_row(int64_t panel, int64_t count) {
    return count * panel / row_panels(count);
}

}  // namespace lissome::LISSOME_ISA
