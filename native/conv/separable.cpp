// conv_f32_separable: a depthwise convolution, an activation that is bounds, and a 1×1 convolution (+ residual, then an
// activation) in one pass over blocked data. A task takes some rows: it computes all channels of them depthwise into a
// workspace of the second-level cache and multiplies those by the filters at once, so that what lies between the two
// convolutions never goes to memory. The same products in the same order as by conv_f32_depthwise and conv_f32_direct.
// Weights: Form::separable (conv/pack.h). Workspace a worker: the rows of one task.
#include "conv/dense_block.h"
#include "conv/depthwise.h"

namespace lissome::LISSOME_ISA {

extern const Kernel conv_f32_separable;

static int64_t tiles(const Shape& shape) {
    return ceil_div(shape.conv.p, shape.separable.rows);
}

static int64_t worker_floats(const Shape& shape) {
    const ConvShape& c = shape.conv;
    return ceil_div(ceil_div(c.c, kLanes) * shape.separable.rows * c.q * kLanes, kLine) * kLine;
}

static int64_t workspace_bytes(const Shape& shape, int workers) {
    return 4 * workers * worker_floats(shape);
}

static int64_t tasks(const Shape& shape, int) {
    return shape.conv.n * tiles(shape);
}

// Output rows `of` of all channels of one image, (block of channels, row, column, channel).
static void depthwise(const Call& call, int64_t image, Range of, float* to) {
    const ConvShape& s = call.shape->separable.depthwise;
    const int64_t blocks = ceil_div(s.c, kLanes), filters = ceil_div(call.shape->conv.k, kLanes);
    const float* w = call.weights.dense + filters * blocks * kLanes * kLanes;
    const float* bias = w + blocks * s.r * s.s * kLanes;
    const Activation bounds{ActivationKind::clip, call.shape->separable.low, call.shape->separable.high};
    for (int64_t block = 0; block < blocks; ++block) {
        const float* x = call.in[0] + (image * blocks + block) * s.h * s.w * kLanes;
        float* y = to + block * (of.end - of.begin) * s.q * kLanes;
        depthwise_rows(s, {x, w + block * s.r * s.s * kLanes, bias + block * kLanes, nullptr, y, &bounds}, of);
    }
}

// The same rows multiplied by all filters.
static void pointwise(const Call& call, int64_t image, Range of, const float* from) {
    const ConvShape& c = call.shape->conv;
    const int64_t panel = call.shape->schedule.vectors, vectors = ceil_div(c.k, kLanes), plane = c.p * c.q * kLanes;
    const int64_t pixels = (of.end - of.begin) * c.q, blocks = ceil_div(c.c, kLanes);
    Reach reach{};
    reach.blocks = blocks;
    reach.rows = reach.columns = 1;
    reach.run = kLanes;
    reach.last_run = c.c - (blocks - 1) * kLanes;
    reach.x_block = pixels * kLanes;
    reach.x_pixel = kLanes;
    for (int64_t first = 0; first < vectors; first += panel) {
        const int64_t wide = least(panel, vectors - first), count = ceil_div(pixels, kPixels[wide]);
        const float* w = call.weights.dense + first * blocks * kLanes * kLanes;
        reach.w_block = wide * kLanes * kLanes;
        for (int64_t i = 0, begin = 0; i < count; ++i) {
            const int64_t end = pixels * (i + 1) / count;
            const int64_t at = (image * vectors + first) * plane + (of.begin * c.q + begin) * kLanes;
            const Target to{call.out[0] + at,
                            plane,
                            call.bias ? call.bias + first * kLanes : nullptr,
                            call.in[1] ? call.in[1] + at : nullptr,
                            false,
                            &call.activation};
            pointwise_block(wide, end - begin)(reach, from + begin * kLanes, w, to);
            begin = end;
        }
    }
}

static void run(const Call& call, int64_t begin, int64_t end, int worker) {
    const int64_t rows = call.shape->separable.rows, tasks_of_one = tiles(*call.shape);
    float* space = reinterpret_cast<float*>(call.workspace) + worker * worker_floats(*call.shape);
    for (int64_t task = begin; task < end; ++task) {
        const int64_t image = task / tasks_of_one, first = task % tasks_of_one * rows;
        const Range of{first, least(call.shape->conv.p, first + rows)};
        depthwise(call, image, of, space);
        pointwise(call, image, of, space);
    }
}

const Kernel conv_f32_separable = {LISSOME_NAME("conv_f32_separable"),
                                   Op::separable,
                                   Isa::LISSOME_ISA,
                                   Form::separable,
                                   0,
                                   workspace_bytes,
                                   {{tasks, run}, {nullptr, nullptr}},
                                   kLanes,
                                   kLanes,
                                   true};

}  // namespace lissome::LISSOME_ISA
