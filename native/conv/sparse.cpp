// conv_f32_sparse: y (n, k, p, q) = x ∗ w + bias with w sparse (taps.h), floats or codes into a table; any stride,
// padding, dilation and groups. Each stored weight is broadcast against contiguous inputs of the padded image, for a
// strip of up to eight vectors of outputs that stay in registers; the outputs of a padded row that stride past the
// edge are computed and dropped. Wins over im2col where few weights are left; loses where q is much smaller than a
// vector. Workspace: for each image in work, the padded input, one filter's outputs and a flag a channel for NaN or
// infinity. Many images: one task each. Fewer images than workers: padding by channel, then filters.
#include "conv/taps.h"
#include "core/activation.h"
#include "core/kernel.h"
#include "core/simd.h"

namespace lissome::LISSOME_ISA {

extern const Kernel conv_f32_sparse;

static int64_t align(int64_t floats) {
    return ceil_div(floats, 16) * 16;
}
static int64_t padded_floats(const TapGeometry& g) {
    return align(g.floats + kTapSlack);
}
static int64_t grid_floats(const TapGeometry& g) {
    return align(g.positions + kTapSlack);
}
static bool by_image(const ConvShape& shape, int workers) {
    return shape.n >= workers;
}

// Slots hold padded images, one a worker or one an image; grids hold a filter's outputs, one a worker.
static int64_t workspace_bytes(const Shape& shape, int workers) {
    const TapGeometry g = tap_geometry(shape.conv);
    return workers * (padded_floats(g) + grid_floats(g) + align(shape.conv.c)) * 4;
}

struct Space {
    float *padded, *flags, *grid;
};

static Space space(const Call& call, const TapGeometry& g, int64_t slot, int worker) {
    const int64_t c = align(call.shape->conv.c), image = padded_floats(g) + c;
    float* base = reinterpret_cast<float*>(call.workspace);
    float* padded = base + slot * image;
    return {padded, padded + padded_floats(g), base + call.workers * image + worker * grid_floats(g)};
}

static void pad(const Call& call, const TapGeometry& g, const Space& to, int64_t n, int64_t c) {
    const ConvShape& s = call.shape->conv;
    const float* channel = call.in[0] + (n * s.c + c) * s.h * s.w;
    pad_channel(s, g, channel, c, to.padded);
    to.flags[c] = any_nonfinite(channel, s.h * s.w) ? 1.0f : 0.0f;
}

template <int V, class Index, class Value>
LISSOME_INLINE void strip(const Index* offset, const Value* value, const float* table, int64_t taps, const float* x,
                          float bias, const Activation& activation, float* y) {
    Vec sum[V];
    for (int v = 0; v < V; ++v) {
        sum[v] = broadcast(bias);
    }
    for (int64_t j = 0; j < taps; ++j) {
        const Vec weight = broadcast(value_at(value, table, j));
        const float* from = x + offset[j];
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) {
            sum[v] = fma(weight, load(from + v * kLanes), sum[v]);
        }
    }
    for (int v = 0; v < V; ++v) {
        store(y + v * kLanes, activate(sum[v], activation));
    }
}

template <class Index, class Value>
static void filter(const Call& call, const TapGeometry& g, const Space& at, int64_t n, int64_t k) {
    const ConvShape& s = call.shape->conv;
    const WeightView& w = call.weights;
    const int64_t taps = int64_t{w.start[k + 1]} - w.start[k];
    const Index* offset = static_cast<const Index*>(w.index) + w.start[k];
    const Value* value = static_cast<const Value*>(w.value) + w.start[k];
    const float bias = call.bias ? call.bias[k] : 0.0f;
    for (int64_t t = 0; t < g.positions;) {
        const int64_t left = ceil_div(g.positions - t, kLanes);
        const float* x = at.padded + t;
        float* y = at.grid + t;
        if (left >= 7) {
            strip<8>(offset, value, w.table, taps, x, bias, call.activation, y);
            t += 8 * kLanes;
        } else if (left >= 5) {
            strip<6>(offset, value, w.table, taps, x, bias, call.activation, y);
            t += 6 * kLanes;
        } else if (left >= 3) {
            strip<4>(offset, value, w.table, taps, x, bias, call.activation, y);
            t += 4 * kLanes;
        } else if (left == 2) {
            strip<2>(offset, value, w.table, taps, x, bias, call.activation, y);
            t += 2 * kLanes;
        } else {
            strip<1>(offset, value, w.table, taps, x, bias, call.activation, y);
            t += kLanes;
        }
    }
    float* y = call.out[0] + (n * s.k + k) * s.p * s.q;
    for (int64_t p = 0; p < s.p; ++p) {
        __builtin_memcpy(y + p * s.q, at.grid + p * g.width, static_cast<size_t>(s.q) * 4);
    }
    float flagged = 0.0f;
    for (int64_t c = 0; c < s.c; ++c) {
        flagged += at.flags[c];
    }
    if (flagged != 0.0f) {
        poison_filter(w, s, g, k, at.padded, y);
    }
}

static void any_filter(const Call& call, const TapGeometry& g, const Space& at, int64_t n, int64_t k) {
    const WeightView& w = call.weights;
    if (w.coded) {
        w.wide ? filter<uint32_t, uint8_t>(call, g, at, n, k) : filter<uint16_t, uint8_t>(call, g, at, n, k);
    } else {
        w.wide ? filter<uint32_t, float>(call, g, at, n, k) : filter<uint16_t, float>(call, g, at, n, k);
    }
}

static int64_t pad_tasks(const Shape& shape, int workers) {
    return by_image(shape.conv, workers) ? 0 : shape.conv.n * shape.conv.c;
}

static void pad_channels(const Call& call, int64_t begin, int64_t end, int worker) {
    const ConvShape& s = call.shape->conv;
    const TapGeometry g = tap_geometry(s);
    for (int64_t task = begin; task < end; ++task) {
        pad(call, g, space(call, g, task / s.c, worker), task / s.c, task % s.c);
    }
}

static int64_t tasks(const Shape& shape, int workers) {
    return by_image(shape.conv, workers) ? shape.conv.n : shape.conv.n * shape.conv.k;
}

static void run(const Call& call, int64_t begin, int64_t end, int worker) {
    const ConvShape& s = call.shape->conv;
    const TapGeometry g = tap_geometry(s);
    for (int64_t task = begin; task < end; ++task) {
        if (!by_image(s, call.workers)) {
            any_filter(call, g, space(call, g, task / s.k, worker), task / s.k, task % s.k);
            continue;
        }
        const Space at = space(call, g, worker, worker);
        for (int64_t c = 0; c < s.c; ++c) {
            pad(call, g, at, task, c);
        }
        for (int64_t k = 0; k < s.k; ++k) {
            any_filter(call, g, at, task, k);
        }
    }
}

const Kernel conv_f32_sparse = {
    LISSOME_NAME("conv_f32_sparse"),          Op::conv, Isa::LISSOME_ISA, Form::taps, 0, workspace_bytes,
    {{pad_tasks, pad_channels}, {tasks, run}}};

}  // namespace lissome::LISSOME_ISA
