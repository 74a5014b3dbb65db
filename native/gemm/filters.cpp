#include <stdexcept>

#include "gemm/pack.h"

namespace lissome {

PackedPtr pack_filters(std::span<const float> weight, int64_t rows, int64_t columns, int64_t groups, int64_t panel) {
    const int64_t extents[] = {rows, columns};
    if (static_cast<int64_t>(weight.size()) != checked_product(extents, 2) || panel < 1 || panel > 1024) {
        throw std::invalid_argument("a weight holds rows × columns values, a panel 1 to 1024 rows");
    }
    if (groups < 1 || rows % groups != 0) {
        throw std::invalid_argument("groups divide the rows of a weight");
    }
    auto packed = std::make_shared<Packed>();
    packed->form = Form::filters;
    packed->rows = rows;
    packed->columns = columns;
    packed->panel = panel;
    packed->dense.resize(weight.size());
    const int64_t count = rows / groups, panels = (count + panel - 1) / panel;
    for (int64_t i = 0; i < groups * panels; ++i) {
        const int64_t base = i / panels * count, j = i % panels;
        const int64_t first = base + count * j / panels, last = base + count * (j + 1) / panels;
        float* to = packed->dense.data() + first * columns;
        for (int64_t row = first; row < last; ++row) {
            for (int64_t k = 0; k < columns; ++k) {
                to[k * (last - first) + row - first] = weight[static_cast<size_t>(row * columns + k)];
            }
        }
    }
    return packed;
}

}  // namespace lissome
