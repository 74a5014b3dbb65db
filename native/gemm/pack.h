// Packers of linear layers. Kept apart from what kernels include: nothing compiled once per instruction set may
// instantiate the containers used here.
#pragma once

#include "core/packed.h"

namespace lissome {

// Form::panels: a dense weight w (rows, columns) as ⌈rows / panel⌉ panels; panel j is (columns, panel) and holds
// w[j · panel + i][k] at [k][i], zero past the last row. A kernel then reads its weights straight through.
PackedPtr pack_panels(std::span<const float> weight, int64_t rows, int64_t columns, int64_t panel);

// Form::filters: a dense weight (rows, columns), its rows in `groups` equal groups, each cut into as few panels of at
// most `panel` rows as there can be: panel i of n rows' p begins at row ⌊n · i / p⌋ and is (columns, its rows). Nothing
// is padded, so that a panel begins at its first row times `columns`.
PackedPtr pack_filters(std::span<const float> weight, int64_t rows, int64_t columns, int64_t groups, int64_t panel);

// Form::slots: see slots.h. Throws std::invalid_argument for values that are not codes into at most 63.
PackedPtr pack_slots(const SparseSource& source);

// Form::sell: see sell.h.
PackedPtr pack_sell(const SparseSource& source);

}  // namespace lissome
