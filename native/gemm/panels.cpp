#include <algorithm>
#include <stdexcept>

#include "gemm/pack.h"

namespace lissome {

PackedPtr pack_panels(std::span<const float> weight, int64_t rows, int64_t columns, int64_t panel) {
    const int64_t extents[] = {rows, columns};
    if (static_cast<int64_t>(weight.size()) != checked_product(extents, 2) || panel < 1 || panel > 1024) {
        throw std::invalid_argument("a weight holds rows × columns values, a panel 1 to 1024 rows");
    }
    auto packed = std::make_shared<Packed>();
    packed->form = Form::panels;
    packed->rows = rows;
    packed->columns = columns;
    packed->panel = panel;
    packed->dense.assign(static_cast<size_t>((rows + panel - 1) / panel * panel * columns), 0.0f);
    constexpr int64_t kColumns = 64;  // at a time, so that what is written stays in the first-level cache
    for (int64_t first = 0; first < rows; first += panel) {
        const int64_t count = std::min(panel, rows - first);
        for (int64_t from = 0; from < columns; from += kColumns) {
            const int64_t until = std::min(columns, from + kColumns);
            float* to = packed->dense.data() + first * columns;
            for (int64_t i = 0; i < count; ++i) {
                const float* row = weight.data() + (first + i) * columns;
                for (int64_t k = from; k < until; ++k) {
                    to[k * panel + i] = row[k];
                }
            }
        }
    }
    return packed;
}

}  // namespace lissome
