// Rows of a depthwise convolution, as depthwise.cpp computes them, for kernels that go on with them at once.
// Included by sources compiled once per instruction set.
#pragma once

#include "conv/columns.h"
#include "conv/target.h"
#include "core/kernel.h"

namespace lissome::LISSOME_ISA {

// One block of channels of one image.
struct DepthwisePlane {
    const float* x;         // its first row
    const float* w;         // its filters, (r, s, channel)
    const float* bias;      // or nullptr
    const float* residual;  // beside y, or nullptr
    float* y;               // the first output row that is wanted
    const Activation* activation;
};

// Output rows `of`.
void depthwise_rows(const ConvShape& s, const DepthwisePlane& plane, Range of);

}  // namespace lissome::LISSOME_ISA
