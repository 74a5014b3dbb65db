// reorder_f32_block, reorder_f32_plain: (n, c, hw) into (n, ⌈c / lanes⌉, hw, lanes) and back. Lanes behind the last
// channel become zero. A task is a strip of pixels of one channel block.
#include "core/kernel.h"
#include "core/simd.h"

namespace lissome::LISSOME_ISA {

extern const Kernel reorder_f32_block, reorder_f32_plain;

static constexpr int64_t kStrip = 512;  // pixels

static int64_t tasks(const Shape& shape, int) {
    const ElementShape& e = shape.element;
    return e.outer * ceil_div(e.channels, kLanes) * ceil_div(e.inner, kStrip);
}

// Where a task's pixels lie.
struct Strip {
    const float* x;
    float* y;
    int64_t channels, pixels;
};

template <bool kToBlocks>
static Strip strip_of(const Call& call, int64_t task) {
    const ElementShape& e = call.shape->element;
    const int64_t blocks = ceil_div(e.channels, kLanes), strips = ceil_div(e.inner, kStrip);
    const int64_t first = task % strips * kStrip, block = task / strips % blocks, image = task / strips / blocks;
    const int64_t plain = (image * e.channels + block * kLanes) * e.inner + first;
    const int64_t blocked = ((image * blocks + block) * e.inner + first) * kLanes;
    return {call.in[0] + (kToBlocks ? plain : blocked), call.out[0] + (kToBlocks ? blocked : plain),
            least(kLanes, e.channels - block * kLanes), least(kStrip, e.inner - first)};
}

static void to_blocks(const Call& call, int64_t begin, int64_t end, int) {
    const int64_t plane = call.shape->element.inner;
    for (int64_t task = begin; task < end; ++task) {
        const Strip at = strip_of<true>(call, task);
        for (int64_t i = 0; i < at.pixels; ++i) {
            float lanes[kLanes] = {};
            for (int64_t c = 0; c < at.channels; ++c) {
                lanes[c] = at.x[c * plane + i];
            }
            store(at.y + i * kLanes, load(lanes));
        }
    }
}

static void to_plain(const Call& call, int64_t begin, int64_t end, int) {
    const int64_t plane = call.shape->element.inner;
    for (int64_t task = begin; task < end; ++task) {
        const Strip at = strip_of<false>(call, task);
        for (int64_t c = 0; c < at.channels; ++c) {
            for (int64_t i = 0; i < at.pixels; ++i) {
                at.y[c * plane + i] = at.x[i * kLanes + c];
            }
        }
    }
}

static int64_t no_workspace(const Shape&, int) {
    return 0;
}

const Kernel reorder_f32_block = {LISSOME_NAME("reorder_f32_block"),
                                  Op::reorder,
                                  Isa::LISSOME_ISA,
                                  Form::none,
                                  0,
                                  no_workspace,
                                  {{tasks, to_blocks}, {nullptr, nullptr}},
                                  1,
                                  kLanes};
const Kernel reorder_f32_plain = {LISSOME_NAME("reorder_f32_plain"),
                                  Op::reorder,
                                  Isa::LISSOME_ISA,
                                  Form::none,
                                  0,
                                  no_workspace,
                                  {{tasks, to_plain}, {nullptr, nullptr}},
                                  kLanes,
                                  1};

}  // namespace lissome::LISSOME_ISA
