// Form::taps: a sparse filter as offsets into the padded input, so that convolving needs no im2col and no index
// arithmetic (Park et al., "Faster CNNs with direct sparse convolutions and guided pruning", ICLR 2017, section 2.1).
//
// The padded input is split by stride into phases: phase (a, b) holds rows a, a + stride_h, … and columns b,
// b + stride_w, …, cut to the columns that outputs need. In a phase, neighbouring outputs read neighbouring inputs
// whatever the stride. Seen flat, with rows of `width`, output t = p · width + q of a filter with taps at offsets o_j
// is Σ_j v_j · phase[o_j + t]; the width − q last of each row are computed and dropped. A 1×1 filter drops none.
//
// Outputs are cut into bands whose inputs of all channels fit the second-level cache. A band's workspace is
// [channel][phase][plane]: the inputs from the band's first position to its last, and `reach` more. Offsets into it are
// the same for every band. A 1×1 filter's are whole channels, and its indices count those, so that they are the same
// too where the input is read in its own place, whose planes are others.
#pragma once

#include "core/kernel.h"

namespace lissome {

struct TapGeometry {
    int64_t stride_h, stride_w;  // 1 along an axis with a single output
    int64_t phases_h, phases_w;  // those that a filter can reach
    int64_t width;               // of a row of a phase, and of outputs
    int64_t reach;               // largest offset of a tap within its phase
    int64_t positions;           // (p − 1) · width + q
    int64_t band, bands;         // positions in each but the last, and how many
    int64_t plane, floats;       // of one channel and phase, whole cache lines; of all `channels`
    int64_t step;                // what an index of Form::taps counts: floats, or the planes of a channel
};

constexpr int64_t kStrip = 112;  // positions in a band are whole strips: seven vectors of sixteen

// channels: how many a band holds; floats: about how large it may be.
TapGeometry tap_geometry(const ConvShape& shape, int64_t channels, int64_t floats) noexcept;

// Of a sparse filter bank: all channels.
TapGeometry tap_geometry(const ConvShape& shape) noexcept;

// Where channel c (of all), filter row r, filter column s reads its first input of a band.
int64_t tap_offset(const ConvShape& shape, const TapGeometry& geometry, int64_t c, int64_t r, int64_t s) noexcept;

// A pruned weight is zero, and 0 · NaN and 0 · ∞ are NaN: set to NaN the outputs of a band whose window holds a
// non-finite input that no stored tap meets. Called only for bands that hold such inputs. k: the filter's place among
// the packed ones; planes: the band; first: its first position; y: the filter's (p, q),
// `step` floats from one to the next.
void poison_band(const WeightView& weights, const ConvShape& shape, const TapGeometry& geometry, int64_t k,
                 const float* planes, int64_t first, float* y, int64_t step) noexcept;

}  // namespace lissome
