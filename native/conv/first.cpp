// conv_f32_first: conv_f32_direct from a plain image, as a network's first layer reads it: a "block" is one channel,
// and neighbouring inputs are neighbouring pixels. Meant for few channels; any filter, stride, padding and dilation. A
// task is a tile of the schedule (conv/dense_nest.h). No workspace. Weights: Form::blocks (conv/pack.h).
#include "conv/dense_nest.h"

namespace lissome::LISSOME_ISA {

extern const Kernel conv_f32_first;

static int64_t no_workspace(const Shape&, int) {
    return 0;
}

const Kernel conv_f32_first = {LISSOME_NAME("conv_f32_first"),
                               Op::conv,
                               Isa::LISSOME_ISA,
                               Form::blocks,
                               0,
                               no_workspace,
                               {{nest_tasks<1>, run_nest<1>}, {nullptr, nullptr}},
                               1,
                               kLanes,
                               true};

}  // namespace lissome::LISSOME_ISA
