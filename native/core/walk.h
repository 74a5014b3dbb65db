// Walking several tensors at once along one loop nest, run by run of the innermost axis.
// Included only by sources that are compiled once per instruction set.
#pragma once

#include "core/conv_shape.h"
#include "core/simd.h"

namespace lissome::LISSOME_ISA {

// Calls line(offset of each tensor, elements) for the elements [begin, end) of the nest, numbered with the last axis
// fastest. strides[t][axis]: how far apart neighbours lie in tensor t.
template <int Tensors, class Line>
LISSOME_INLINE void walk(const int64_t* dim, int64_t rank, const int64_t* const (&strides)[Tensors], int64_t begin,
                         int64_t end, const Line& line) {
    int64_t at[kMaxRank] = {}, offset[Tensors] = {};
    int64_t rest = begin;
    for (int64_t axis = rank - 1; axis >= 0; --axis) {
        at[axis] = rest % dim[axis];
        rest /= dim[axis];
        for (int t = 0; t < Tensors; ++t) {
            offset[t] += at[axis] * strides[t][axis];
        }
    }
    const int64_t inner = rank - 1;
    while (begin < end) {
        const int64_t run = least(dim[inner] - at[inner], end - begin);
        line(offset, run);
        begin += run;
        int64_t axis = inner, moved = run;
        for (;;) {
            at[axis] += moved;
            for (int t = 0; t < Tensors; ++t) {
                offset[t] += moved * strides[t][axis];
            }
            if (at[axis] < dim[axis] || axis == 0) {
                break;
            }
            for (int t = 0; t < Tensors; ++t) {
                offset[t] -= dim[axis] * strides[t][axis];
            }
            at[axis--] = 0;
            moved = 1;
        }
    }
}

}  // namespace lissome::LISSOME_ISA
