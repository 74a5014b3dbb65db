// conv_f32_direct: y = x ∗ w + bias (+ residual), then the activation, on blocked data; any stride, padding, dilation,
// and groups whose channels are whole blocks.
//
//   y[k][p][q] = Σ_c Σ_r Σ_s x[c][p · stride_h − pad_top + r · dilation_h][…] · w[k][c][r][s]
//
// A task is a tile of the schedule (conv/dense_nest.h). No workspace. Weights: Form::blocks (conv/pack.h).
#include "conv/dense_nest.h"

namespace lissome::LISSOME_ISA {

extern const Kernel conv_f32_direct;

BlockFunction pointwise_block(int64_t vectors, int64_t pixels) {
    return block_table<kLanes>(vectors, kLanes)->of[pixels];
}

static int64_t no_workspace(const Shape&, int) {
    return 0;
}

const Kernel conv_f32_direct = {LISSOME_NAME("conv_f32_direct"),
                                Op::conv,
                                Isa::LISSOME_ISA,
                                Form::blocks,
                                0,
                                no_workspace,
                                {{nest_tasks<kLanes>, run_nest<kLanes>}, {nullptr, nullptr}},
                                kLanes,
                                kLanes,
                                true};

}  // namespace lissome::LISSOME_ISA
