// Packing of weights of −1, 0 and 1 as bits. Kept apart from what kernels include, like conv/pack.h.
#pragma once

#include "core/packed.h"

namespace lissome {

// Channels in a word of 32 bits, outputs in a block, blocks in a vector, and planes of bits (binary/bits.h). With 16
// channels bits are looked up: each is four bytes of four bits, and a vector four blocks.
struct BitsForm {
    int64_t channels, lanes, each, planes;
};
BitsForm bits_form(const Kernel& kernel);

// Bytes that the packed filters of this convolution take. Throws std::invalid_argument for more than one group.
int64_t bit_bytes(const ConvShape& shape, const BitsForm& form);

// Form::bits: filters (k, c, r, s) of −1, 0 and 1 as [panel][word][r][s][plane][vector][output], 32 bits each, or,
// where bits are looked up, as [panel][word][r][s][byte][plane][vector][output of a block][block], a byte each; a panel
// is `vectors` vectors of outputs. The first plane is 1 where a weight is positive, the second, if there are two, where
// it is not 0, or, looked up, negative; in one plane no weight is 0. Behind the last channel and filter bits are 0.
// offset: Σ |w| of each output, then its Σ w of each tap as [vector][r][s][output]; scale: one an output, then biases.
PackedPtr pack_bits(std::span<const int8_t> weight, const ConvShape& shape, const BitsForm& form, int64_t vectors,
                    std::span<const float> scale, std::span<const float> bias);

}  // namespace lissome
