#include "movement/pack.h"

#include <stdexcept>

namespace lissome {
namespace {

std::shared_ptr<Packed> indices_of(Form form, std::span<const int64_t> indices, int64_t extent) {
    const int64_t extents[] = {static_cast<int64_t>(indices.size()), 1}, axis[] = {extent};
    checked_product(extents, 2);
    checked_product(axis, 1);
    auto packed = std::make_shared<Packed>();
    packed->form = form;
    packed->rows = extents[0];
    packed->columns = extent;
    packed->wide_index.reserve(indices.size());
    for (const int64_t index : indices) {
        if (index < -1 || index >= extent) {
            throw std::invalid_argument("indices lie within their axis, or are -1");
        }
        packed->wide_index.push_back(index < 0 ? kNothing : static_cast<uint32_t>(index));
    }
    return packed;
}

}  // namespace

PackedPtr pack_indices(std::span<const int64_t> indices, int64_t extent) {
    return indices_of(Form::indices, indices, extent);
}

PackedPtr pack_weighted(std::span<const int64_t> indices, std::span<const float> weights, int64_t taps,
                        int64_t extent) {
    auto packed = indices_of(Form::weighted, indices, extent);
    if (weights.size() != indices.size() || taps < 1 || packed->rows % taps != 0) {
        throw std::invalid_argument("one weight for each index, and as many taps for each element");
    }
    const size_t made = indices.size() / static_cast<size_t>(taps);
    for (size_t i = made; i < indices.size(); ++i) {
        if ((indices[i] < 0) != (indices[i % made] < 0)) {
            throw std::invalid_argument("the taps of an element are all -1, or none is");
        }
    }
    packed->dense.assign(weights.begin(), weights.end());
    return packed;
}

}  // namespace lissome
