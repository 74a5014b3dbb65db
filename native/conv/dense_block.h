// Register blocks of convolution: a run of output pixels in one row by one panel of output channels.
// Included by sources compiled once per instruction set.
#pragma once

#include "conv/target.h"

namespace lissome::LISSOME_ISA {

// What a block sums over: loops over blocks of input channels, rows and columns of the filter, and a run of
// neighbouring inputs. All steps in floats.
struct Reach {
    int64_t blocks, rows, columns;
    int64_t run, last_run;  // inputs in a run; in a run of the last block
    int64_t x_block, x_row, x_column, x_pixel;
    int64_t w_block, w_row, w_column;
    bool cut_first, cut_last;  // the first column misses the first pixel, the last column the last one: edges
};

// Edge: by a function of its own, as accumulators change registers where paths meet.
template <int P, int V, int D, bool Edge>
static void block(const Reach& reach, const float* x, const float* w, const Target& to) {
    Sums<P, V> sums;
    start(sums, to);
    if (reach.rows * reach.columns == 1) {  // matrix products have no time for two loops of one turn each
        const int64_t next = reach.x_block, width = reach.w_block;
        for (int64_t b = 1; b < reach.blocks; ++b) {
            prefetch<P * D>(x + next);
            accumulate<P, V, D>(sums, x, reach.x_pixel, w, reach.run);
            x += next;
            w += width;
        }
        accumulate<P, V, D>(sums, x, reach.x_pixel, w, reach.last_run);
        finish(sums, to);
        return;
    }
    for (int64_t b = 0; b < reach.blocks; ++b) {
        const int64_t run = b + 1 < reach.blocks ? reach.run : reach.last_run;
        if (b + 1 < reach.blocks) {
            prefetch<P * D>(x + (b + 1) * reach.x_block);
        }
        for (int64_t r = 0; r < reach.rows; ++r) {
            const float* from = x + b * reach.x_block + r * reach.x_row;
            const float* weight = w + b * reach.w_block + r * reach.w_row;
            if (D > 0 && D < kLanes && reach.columns == 3) {  // three columns of a plain image
                LISSOME_UNROLL
                for (int s = 0; s < 3; ++s) {
                    accumulate_one<0, P>(sums, opaque(from + s * reach.x_column), D, weight + s * V * kLanes);
                }
                continue;
            }
            for (int64_t s = 0; s < reach.columns; ++s) {
                if (Edge && reach.cut_first && s == 0) {
                    accumulate_some<1, P, D>(sums, from, reach.x_pixel, weight, run);
                } else if (Edge && reach.cut_last && s + 1 == reach.columns) {
                    accumulate_some<0, P - 1, D>(sums, from, reach.x_pixel, weight, run);
                } else {
                    accumulate<P, V, D>(sums, from, reach.x_pixel, weight, run);
                }
                from += reach.x_column;
                weight += reach.w_column;
            }
        }
    }
    finish(sums, to);
}

using BlockFunction = void (*)(const Reach& reach, const float* x, const float* w, const Target& to);

// The block of a 1×1 convolution of blocked data with stride 1 (direct.cpp); pixels up to kPixels[vectors].
BlockFunction pointwise_block(int64_t vectors, int64_t pixels);

// Blocks of every number of pixels up to `widest`, all with V vectors.
struct BlockTable {
    BlockFunction of[kPixels[1] + 1];
    BlockFunction at_edge[kPixels[1] + 1];  // for blocked data only
    int64_t widest;
};

template <int P, int V, int D>
static constexpr void fill(BlockTable& table) {
    if constexpr (P > 0) {
        table.of[P] = block<P, V, D, false>;
        if constexpr (D >= kLanes) {
            table.at_edge[P] = block<P, V, D, true>;
        }
        fill<P - 1, V, D>(table);
    }
}

// D = 0: a distance known only at run time costs a register a pixel.
template <int V, int D>
static constexpr BlockTable make_table() {
    constexpr int kWidest = D == 0 ? 3 : kPixels[V];
    BlockTable table{};
    table.widest = kWidest;
    fill<kWidest, V, D>(table);
    return table;
}

template <int V, int D>
static constexpr BlockTable kTable = make_table<V, D>();

// distance: floats between the inputs of neighbouring pixels, `block` of them for each step of the stride.
template <int V, int kBlock>
static const BlockTable* table_at(int64_t distance) {
    if (distance == kBlock) {
        return &kTable<V, kBlock>;
    }
    if (distance == 2 * kBlock) {
        return &kTable<V, 2 * kBlock>;
    }
    if constexpr (kBlock == 1) {  // the first layers of older networks step by four
        if (distance == 4) {
            return &kTable<V, 4>;
        }
    }
    return &kTable<V, 0>;
}

template <int kBlock>
static const BlockTable* block_table(int64_t vectors, int64_t distance) {
    static_assert(kMaxVectors == 4);
    switch (vectors) {
        case 4:
            return table_at<4, kBlock>(distance);
        case 3:
            return table_at<3, kBlock>(distance);
        case 2:
            return table_at<2, kBlock>(distance);
        default:
            return table_at<1, kBlock>(distance);
    }
}

}  // namespace lissome::LISSOME_ISA
