// Packing of int8 filters. Kept apart from what kernels include, like conv/pack.h.
#pragma once

#include "core/packed.h"

namespace lissome {

// Channels in a block of the kernel's input, outputs in a vector, bytes of a weight, and whether it is depthwise.
struct BytesForm {
    int64_t block, lanes, weight_bytes;
    bool depthwise;
};
BytesForm bytes_form(const Kernel& kernel);

// Bytes that the packed filters of this convolution take. Throws std::invalid_argument for groups that do not fill
// their blocks, and for a depthwise form without one filter a channel.
int64_t filter_bytes(const ConvShape& shape, const BytesForm& form);

// A linear layer is a convolution of one pixel.
ConvShape linear_conv(int64_t outputs, int64_t inputs);

// Form::bytes: filters (k, c / groups, r, s) as [group][panel][block][r][s][four channels][vector][output][channel],
// where a panel is `vectors` vectors of outputs of its group. Weights of two bytes come as [pair][output][channel] with
// the pairs (0, 2) and (1, 3) of the four channels. Depthwise filters are [vector][r][s][channel] with a zero behind
// each in weights of two bytes, and [vector][r][four taps][channel][tap] in weights of one. What fills up is zero.
// bias: one a filter, in units of its sum; x_zero: the code of the input that stands for 0; scale: what a filter's sum
// is multiplied with. Throws std::invalid_argument where the sum of some inputs would leave int32.
PackedPtr pack_bytes(std::span<const int8_t> weight, const ConvShape& shape, const BytesForm& form, int64_t vectors,
                     int64_t x_zero, std::span<const int64_t> bias, std::span<const float> scale);

}  // namespace lissome
