// Form::taps: a sparse filter as offsets into the padded input, so that convolving needs no im2col and no index
// arithmetic (Park et al., "Faster CNNs with direct sparse convolutions and guided pruning", ICLR 2017, section 2.1).
//
// The padded input is split by stride into phases: phase (a, b) holds rows a, a + stride_h, … and columns b,
// b + stride_w, …. In a phase, neighbouring outputs read neighbouring inputs whatever the stride. Output (p, q) of a
// filter with taps at offsets o_j is Σ_j v_j · padded[o_j + p · width + q].
#pragma once

#include "core/kernel.h"

namespace lissome {

struct TapGeometry {
    int64_t stride_h, stride_w;  // 1 along an axis with a single output
    int64_t height, width;       // of one channel in one phase
    int64_t plane, floats;       // height · width; all phases and channels of one image
    int64_t positions;           // outputs computed, of which every width-th run of q is wanted: (p − 1) · width + q
};

// What a vector may read past the last input and write past the last output.
constexpr int64_t kTapSlack = 256;

TapGeometry tap_geometry(const ConvShape& shape) noexcept;

// Where channel c (of all), filter row r, filter column s reads its first input.
int64_t tap_offset(const ConvShape& shape, const TapGeometry& geometry, int64_t c, int64_t r, int64_t s) noexcept;

// Copies channel c of one image (h, w) into its places in `padded`, zeros around it.
void pad_channel(const ConvShape& shape, const TapGeometry& geometry, const float* channel, int64_t c,
                 float* padded) noexcept;

// A pruned weight is zero, and 0 · NaN and 0 · ∞ are NaN: set to NaN the outputs of filter k whose window holds a
// non-finite input that no stored tap meets. Called only for images that hold such inputs. y: (p, q).
void poison_filter(const WeightView& weights, const ConvShape& shape, const TapGeometry& geometry, int64_t k,
                   const float* padded, float* y) noexcept;

}  // namespace lissome
