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

// Form::taps (see taps.h). source: k rows of c / groups · r · s columns.
PackedPtr pack_taps(const SparseSource& source, const ConvShape& shape);

}  // namespace lissome
