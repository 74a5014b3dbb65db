#include <algorithm>
#include <stdexcept>

#include "conv/pack.h"

namespace lissome {

PackedPtr pack_mec(std::span<const float> weight, const ConvShape& shape, int64_t panel) {
    const int64_t c = shape.c / shape.groups, taps = shape.r * shape.s, depth = c * taps;
    const int64_t extents[] = {shape.k, c, shape.r, shape.s};
    if (static_cast<int64_t>(weight.size()) != checked_product(extents, 4) || panel < 1 || panel > 1024) {
        throw std::invalid_argument("a weight holds k × c × r × s values, a panel 1 to 1024 filters");
    }
    const int64_t total[] = {(shape.k + panel - 1) / panel * panel, depth};
    auto packed = std::make_shared<Packed>();
    packed->form = Form::mec;
    packed->rows = shape.k;
    packed->columns = depth;
    packed->panel = panel;
    packed->dense.assign(static_cast<size_t>(checked_product(total, 2)), 0.0f);
    for (int64_t k = 0; k < shape.k; ++k) {
        float* to = packed->dense.data() + k / panel * panel * depth + k % panel;
        for (int64_t i = 0; i < c; ++i) {
            for (int64_t tap = 0; tap < taps; ++tap) {
                to[(tap * c + i) * panel] = weight[static_cast<size_t>((k * c + i) * taps + tap)];
            }
        }
    }
    return packed;
}

}  // namespace lissome
