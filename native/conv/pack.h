// Packers of convolutions. Kept apart from what kernels include: nothing compiled once per instruction set may
// instantiate the containers used here.
#pragma once

#include "core/packed.h"

namespace lissome {

// Form::taps (see taps.h). source: k rows of c / groups · r · s columns.
PackedPtr pack_taps(const SparseSource& source, const ConvShape& shape);

}  // namespace lissome
