// gemm_f32_panels: y (m, n) = x (m, k) · wᵀ + bias with weights packed in panels of two vectors of outputs (pack.h).
// The weight is read once from end to end, which the processor's own prefetching keeps up with: told to prefetch as
// well, it is slower (measured on Zen 4: 97 GB/s from the third-level cache, and 75).
// The dense fall-back of every linear layer. A task is one panel and a strip of rows of x, which are read in place.
// Traffic: the whole weight once per strip; at m = 1 that read is the cost, and pruning is what lowers it.
#include "core/activation.h"
#include "core/kernel.h"
#include "gemm/tile.h"

namespace lissome::LISSOME_ISA {

extern const Kernel gemm_f32_panels;

static constexpr int64_t kStrip = 48;  // rows of x in a task: few enough to share work, many enough to reuse a panel

static int64_t no_workspace(const Shape&, int) {
    return 0;
}

static int64_t tasks(const Shape& shape, int) {
    return ceil_div(shape.gemm.n, kPanel) * ceil_div(shape.gemm.m, kStrip);
}

// Rows of y from sums, onto which the bias goes.
static void finish(const Call& call, const float* sums, const float* bias, int64_t columns, float* y) {
    if (columns == kPanel) {
        store(y, activate(add(load(sums), load(bias)), call.activation));
        store(y + kLanes, activate(add(load(sums + kLanes), load(bias + kLanes)), call.activation));
        return;
    }
    for (int64_t j = 0; j < columns; ++j) {
        y[j] = activate(sums[j] + bias[j], call.activation);
    }
}

static void run(const Call& call, int64_t begin, int64_t end, int) {
    const GemmShape& g = call.shape->gemm;
    const int64_t strips = ceil_div(g.m, kStrip);
    float sums[kTileRows * kPanel], bias[kPanel];
    for (int64_t task = begin; task < end; ++task) {
        const int64_t first = task / strips * kPanel, columns = least(kPanel, g.n - first);
        const int64_t last_row = least(g.m, (task % strips + 1) * kStrip);
        for (int64_t j = 0; j < kPanel; ++j) {
            bias[j] = call.bias && j < columns ? call.bias[first + j] : 0.0f;
        }
        for (int64_t m = task % strips * kStrip; m < last_row;) {
            const int64_t rows = ceil_div(last_row - m, ceil_div(last_row - m, kTileRows));  // of tiles alike
            find_tile(rows, columns)(call.in[0] + m * g.k, call.weights.dense + first * g.k, kPanel, g.k, sums);
            for (int64_t i = 0; i < rows; ++i, ++m) {
                finish(call, sums + i * kPanel, bias, columns, call.out[0] + m * g.n + first);
            }
        }
    }
}

const Kernel gemm_f32_panels = {
    LISSOME_NAME("gemm_f32_panels"),   Op::gemm, Isa::LISSOME_ISA, Form::panels, kPanel, no_workspace,
    {{tasks, run}, {nullptr, nullptr}}};

}  // namespace lissome::LISSOME_ISA
