// Packers of convolutions. Kept apart from what kernels include: nothing compiled once per instruction set may
// instantiate the containers used here.
#pragma once

#include "core/packed.h"

namespace lissome {

// The matrices of F(m, r) as the kernels have them, or for other points: bt (m + r − 1, m + r − 1), g (m + r − 1, r),
// at (m, m + r − 1), row-major. Throws std::invalid_argument for an m and r that have no kernel.
struct WinogradMatrices {
    std::vector<double> bt, g, at;
};
WinogradMatrices winograd_matrices(int64_t m, int64_t r, std::span<const double> points);

// Form::winograd: w (k, c, r, r) as U[position][panel][c][filter], transformed in float64 and rounded once, for the
// (m + r − 1)² positions, panels of two vectors of filters (the last of one where they are odd), zeros behind the last
// filter; then w itself as [vector of filters][c][tap][filter].
PackedPtr pack_winograd(std::span<const float> weight, const ConvShape& shape, int64_t m, int64_t lanes);

// Form::mec: w (k, c, r, s) as ⌈k / panel⌉ panels of (r, s, c, panel), zeros behind the last filter.
PackedPtr pack_mec(std::span<const float> weight, const ConvShape& shape, int64_t panel);

// Form::taps (see taps.h). source: k rows of c / groups · r · s columns; panel: filters in a block of the output, 1 for
// a plain one.
PackedPtr pack_taps(const SparseSource& source, const ConvShape& shape, int64_t panel);

// Form::blocks: dense filters (k, c / groups, r, s) as [group][panel][block][r][s][channel of the block][output], where
// a panel is `vectors` · `lanes` outputs of its group, the last one as many vectors as are left, and a block `block`
// channels of the input. What fills up the last vector and the last block is zero.
// Depthwise filters (`depthwise`: groups = c = k) are [vector][r][s][channel].
PackedPtr pack_blocks(std::span<const float> weight, const ConvShape& shape, int64_t block, int64_t lanes,
                      int64_t vectors, bool depthwise);

// How many floats pack_blocks makes. Throws std::invalid_argument for blocks that groups do not fill.
int64_t blocks_floats(const ConvShape& shape, int64_t block, int64_t lanes, bool depthwise);

// Form::separable: the filters (k, c) of a 1×1 convolution as Form::blocks, for blocks of `lanes` channels, then those
// of the depthwise convolution before it, (c, r, s), as Form::blocks, then its bias, zeros behind the last.
PackedPtr pack_separable(std::span<const float> filters, std::span<const float> bias, const ConvShape& depthwise,
                         std::span<const float> pointwise, const ConvShape& conv, int64_t lanes, int64_t vectors);

// How many floats pack_separable makes.
int64_t separable_floats(const ConvShape& depthwise, const ConvShape& conv, int64_t lanes);

}  // namespace lissome
