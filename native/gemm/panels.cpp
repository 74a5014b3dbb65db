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
    for (int64_t first = 0; first < rows; first += panel) {
        float* to = packed->dense.data() + first * columns;
        const int64_t count = std::min(panel, rows - first);
        for (int64_t i = 0; i < count; ++i) {
            const float* from = weight.data() + (first + i) * columns;
            for (int64_t k = 0; k < columns; ++k) {
                to[k * panel + i] = from[k];
            }
        }
    }
    return packed;
}

}  // namespace lissome
