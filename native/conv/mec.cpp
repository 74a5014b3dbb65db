// conv_f32_mec: y = x ∗ w + bias (+ residual), then the activation, by memory-efficient convolution on blocked data
// (Cho and Brand, "MEC: memory-efficient convolution for deep neural network", ICML 2017); any stride and padding, no
// dilation, one group.
//
// The input is lowered along its width only: L[image][q] holds the columns that output column q sees, as (h, s, c) over
// the padded height, (p − 1) · stride_h + r rows of it. Output row p is then the product of a part of L, which begins p
// · stride_h rows down in every L[q] and is r · s · c numbers long, with the filters: parts of different output rows
// overlap and are multiplied in parallel, where im2col would hold a copy of each. L is q · h · s · c numbers an image,
// im2col's matrix p · q · r · s · c: about r / stride_h times more. Weights: Form::mec (conv/pack.h). Workspace:
// L.
#include "conv/block.h"
#include "core/activation.h"
#include "core/kernel.h"

namespace lissome::LISSOME_ISA {

extern const Kernel conv_f32_mec;

static constexpr int64_t kPanel = 2 * kLanes;
static constexpr int kColumns =
    kPixels[2] < 8 ? kPixels[2] : 8;  // each has a pointer into L: general registers are few

static int64_t rows_of(const ConvShape& s) {
    return (s.p - 1) * s.stride_h + s.r;
}
static int64_t column_floats(const ConvShape& s) {
    return rows_of(s) * s.s * s.c;
}

static int64_t workspace_bytes(const Shape& shape, int) {
    return shape.conv.n * shape.conv.q * column_floats(shape.conv) * 4;
}

static bool supports(const Shape& shape) {
    const ConvShape& s = shape.conv;
    return s.groups == 1 && s.dilation_h == 1 && s.dilation_w == 1;
}

// One pixel's channels, or zeros; at: the pixel in its first block.
LISSOME_INLINE void lower_pixel(const float* at, int64_t plane, int64_t channels, float* to) {
    for (int64_t c = 0; c < channels; c += kLanes) {
        const Vec x = at == nullptr ? zero() : load(at + c / kLanes * plane);
        if (channels - c >= kLanes) {
            store(to + c, x);
            continue;
        }
        float lanes[kLanes];  // what follows may be another task's
        store(lanes, x);
        for (int64_t i = c; i < channels; ++i) {
            to[i] = lanes[i - c];
        }
    }
}

static int64_t lower_tasks(const Shape& shape, int) {
    return shape.conv.n * shape.conv.q;
}

static void lower(const Call& call, int64_t begin, int64_t end, int) {
    const ConvShape& s = call.shape->conv;
    const int64_t plane = s.h * s.w * kLanes;
    for (int64_t task = begin; task < end; ++task) {
        float* to = reinterpret_cast<float*>(call.workspace) + task * column_floats(s);
        const float* image = call.in[0] + task / s.q * ceil_div(s.c, kLanes) * plane;
        const int64_t left = task % s.q * s.stride_w - s.pad_left;
        for (int64_t i = 0; i < rows_of(s) * s.s; ++i, to += s.c) {
            const int64_t y = i / s.s - s.pad_top, x = left + i % s.s;
            const bool inside = y >= 0 && y < s.h && x >= 0 && x < s.w;
            lower_pixel(inside ? image + (y * s.w + x) * kLanes : nullptr, plane, s.c, to);
        }
    }
}

// Sums of P neighbouring output columns and V vectors of filters.
template <int P, int V>
static void block(const float* l, int64_t pitch, const float* w, int64_t depth, float* sums) {
    Sums<P, V> at;
    clear(at);
    const float* column[P];
    LISSOME_UNROLL
    for (int i = 0; i < P; ++i) {
        column[i] = l + i * pitch;
    }
    for (int64_t d = 0; d < depth; ++d) {
        Vec weight[V];
        LISSOME_UNROLL
        for (int j = 0; j < V; ++j) {
            weight[j] = load(w + d * kPanel + j * kLanes);
        }
        LISSOME_UNROLL
        for (int i = 0; i < P; ++i) {
            const Vec x = broadcast(column[i][d]);
            LISSOME_UNROLL
            for (int j = 0; j < V; ++j) {
                at.at[i][j] = fma(x, weight[j], at.at[i][j]);
            }
        }
    }
    store_sums(at, sums, P * kLanes);
}

using Block = void (*)(const float* l, int64_t pitch, const float* w, int64_t depth, float* sums);

template <int V>
struct Blocks {
    Block of[kColumns + 1];
};
template <int P, int V>
static constexpr void fill(Blocks<V>& table) {
    if constexpr (P > 0) {
        table.of[P] = block<P, V>;
        fill<P - 1, V>(table);
    }
}
template <int V>
static constexpr Blocks<V> make_blocks() {
    Blocks<V> table{};
    fill<kColumns, V>(table);
    return table;
}
template <int V>
static constexpr Blocks<V> kBlocks = make_blocks<V>();

// A task is one output row of one panel of filters; a worker's tasks follow each other under the same panel.
static int64_t row_tasks(const Shape& shape, int) {
    const ConvShape& s = shape.conv;
    return s.n * ceil_div(s.k, kPanel) * s.p;
}

static void multiply_rows(const Call& call, int64_t begin, int64_t end, int) {
    const ConvShape& s = call.shape->conv;
    const int64_t panels = ceil_div(s.k, kPanel), blocks = ceil_div(s.k, kLanes), depth = s.r * s.s * s.c;
    const int64_t steps = ceil_div(s.q, kColumns);
    float sums[kColumns * kPanel];
    for (int64_t task = begin; task < end; ++task) {
        const int64_t p = task % s.p, panel = task / s.p % panels, image = task / (s.p * panels);
        const float* w = call.weights.dense + panel * kPanel * depth;
        const float* l = reinterpret_cast<const float*>(call.workspace) + image * s.q * column_floats(s) +
                         p * s.stride_h * s.s * s.c;
        const int64_t vectors = least(2, blocks - 2 * panel);
        for (int64_t i = 0; i < steps; ++i) {
            const int64_t q = s.q * i / steps, together = s.q * (i + 1) / steps - q;
            const Block of = vectors == 2 ? kBlocks<2>.of[together] : kBlocks<1>.of[together];
            of(l + q * column_floats(s), column_floats(s), w, depth, sums);
            for (int64_t j = 0; j < vectors; ++j) {
                const int64_t block = 2 * panel + j;
                const int64_t at = (((image * blocks + block) * s.p + p) * s.q + q) * kLanes;
                const Vec bias = call.bias ? load(call.bias + block * kLanes) : zero();
                for (int64_t k = 0; k < together * kLanes; k += kLanes) {
                    Vec y = add(load(sums + j * together * kLanes + k), bias);
                    y = call.in[1] ? add(y, load(call.in[1] + at + k)) : y;
                    store(call.out[0] + at + k, activate(y, call.activation));
                }
            }
        }
    }
}

const Kernel conv_f32_mec = {LISSOME_NAME("conv_f32_mec"),
                             Op::conv,
                             Isa::LISSOME_ISA,
                             Form::mec,
                             kPanel,
                             workspace_bytes,
                             {{lower_tasks, lower}, {row_tasks, multiply_rows}},
                             kLanes,
                             kLanes,
                             true,
                             supports};

}  // namespace lissome::LISSOME_ISA
