// Where the window of an output pixel lies in the image, along one axis.
// Included by sources compiled once per instruction set.
#pragma once

#include "core/simd.h"

namespace lissome::LISSOME_ISA {

// First and last + 1.
struct Range {
    int64_t begin, end;
};

// The taps of a window beginning at `begin` that fall inside [0, extent).
LISSOME_INLINE Range taps_inside(int64_t begin, int64_t taps, int64_t dilation, int64_t extent) {
    const int64_t first = begin < 0 ? ceil_div(-begin, dilation) : 0;
    const bool whole = begin + (taps - 1) * dilation < extent;  // most often: spares a division
    const int64_t last = whole ? taps : begin < extent ? (extent - 1 - begin) / dilation + 1 : 0;
    return {first, last < first ? first : last};
}

// The outputs, of `count`, whose tap at `offset` (dilated, less the padding before) falls inside [0, extent).
LISSOME_INLINE Range outputs_reached(int64_t offset, int64_t stride, int64_t extent, int64_t count) {
    const int64_t last = extent - 1 - offset;
    const int64_t begin = offset < 0 ? ceil_div(-offset, stride) : 0,
                  end = last < 0 ? 0 : least(count, last / stride + 1);
    return {begin, end < begin ? begin : end};
}

}  // namespace lissome::LISSOME_ISA
