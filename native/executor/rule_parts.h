// What rules are made of: checks, and the tables of the families that are not in rules.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <stdexcept>

#include "executor/rules.h"

namespace lissome {

constexpr int64_t kMaxReach = int64_t{1} << 46;

inline void require(bool holds, const char* message) {
    if (!holds) {
        throw std::invalid_argument(message);
    }
}

template <size_t N>
std::array<int64_t, N> numbers(std::span<const int64_t> ints) {
    require(ints.size() == N, "a step has as many numbers as its operator takes");
    std::array<int64_t, N> values{};
    std::copy(ints.begin(), ints.end(), values.begin());
    return values;
}

template <size_t N>
std::array<float, N> constants(std::span<const float> floats) {
    require(floats.size() == N, "a step has as many constants as its operator takes");
    std::array<float, N> values{};
    std::copy(floats.begin(), floats.end(), values.begin());
    return values;
}

// Elements of (n, channels, h, w) with channels in whole blocks.
inline int64_t blocked(int64_t n, int64_t channels, int64_t h, int64_t w, int64_t block) {
    const int64_t extents[] = {n, (channels + block - 1) / block * block, h, w};
    return checked_product(extents, 4);
}

inline WeightExtents no_weight(const Shape&) {
    return {};
}

// Elements from the first to the last that extents with these strides, none negative, reach.
int64_t reach(const int64_t* dim, const int64_t* stride, int64_t rank);

const Rule* elementwise_rule(Op op);
const Rule* axis_rule(Op op);
const Rule* movement_rule(Op op);
const Rule* codes_rule(Op op);

}  // namespace lissome
