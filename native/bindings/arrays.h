// Arrays from Python as spans, and shapes as plain integers.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>

#include <array>
#include <cstdint>
#include <span>

namespace lissome {

using Floats = nanobind::ndarray<const float, nanobind::ndim<1>, nanobind::c_contig, nanobind::device::cpu>;
using Codes = nanobind::ndarray<const uint8_t, nanobind::ndim<1>, nanobind::c_contig, nanobind::device::cpu>;
using Bytes = nanobind::ndarray<const int8_t, nanobind::ndim<1>, nanobind::c_contig, nanobind::device::cpu>;
using Positions = nanobind::ndarray<const int64_t, nanobind::ndim<1>, nanobind::c_contig, nanobind::device::cpu>;
using Extents16 = std::array<int64_t, 16>;

template <class Array>
auto span_of(const Array& array) {
    return std::span(array.data(), array.size());
}

}  // namespace lissome
