// What an operator's numbers mean and which tensors and weights go with them: one rule an operator. Program asks the
// rule before it trusts a step; kernels then check nothing.
#pragma once

#include <cstdint>
#include <span>

#include "core/kernel.h"

namespace lissome {

// Elements of every tensor that a step reads and writes; the first `required` inputs must be given.
struct Operands {
    int64_t in[kMaxInputs] = {}, out[kMaxOutputs] = {};
    int required = 1, inputs = 1, outputs = 1;
};

// Rows and columns of the weight; no rows: the shape says nothing of a weight.
struct WeightExtents {
    int64_t rows = 0, columns = 0;
    bool bias = false;
};

// All three throw std::invalid_argument for numbers that contradict each other or overflow.
struct Rule {
    Shape (*shape)(std::span<const int64_t> ints, std::span<const float> floats);
    Operands (*operands)(const Shape& shape, const Kernel& kernel);
    WeightExtents (*weight)(const Shape& shape);
};

const Rule& rule_of(Op op);

}  // namespace lissome
