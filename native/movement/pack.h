// Packers of index tables. Kept apart from what kernels include: see gemm/pack.h.
#pragma once

#include "core/packed.h"

namespace lissome {

// Form::indices: indices into an axis of `extent` elements, as a weight of (indices, extent); -1 becomes kNothing.
PackedPtr pack_indices(std::span<const int64_t> indices, int64_t extent);

// Form::weighted: (taps, made) indices and a weight for each; the taps of an element are all -1 or none is.
PackedPtr pack_weighted(std::span<const int64_t> indices, std::span<const float> weights, int64_t taps, int64_t extent);

}  // namespace lissome
