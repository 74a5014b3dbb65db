// conv_f32_im2col: y (n, k, p, q) = x ∗ w + bias as a matrix product, w dense and row-major; any stride, padding,
// dilation and groups. The dense fall-back of every convolution. A task is one panel of output pixels, counted through
// the whole batch so that small images fill vectors too: it gathers the panel's inputs (c/g · r · s, panel) once and
// multiplies all filters of one group with it.
// Workspace: one panel a worker.
#include "core/kernel.h"
#include "gemm/tile.h"

namespace lissome::LISSOME_ISA {

extern const Kernel conv_f32_im2col;

static int64_t depth(const ConvShape& s) {
    return s.c / s.groups * s.r * s.s;
}

static int64_t workspace_bytes(const Shape& shape, int workers) {
    return workers * depth(shape.conv) * kPanel * 4;
}

static int64_t panels(const ConvShape& s) {
    return ceil_div(s.n * s.p * s.q, kPanel);
}

static int64_t tasks(const Shape& shape, int) {
    return shape.conv.groups * panels(shape.conv);
}

// Where each of the panel's pixels reads: image, and the input row and column of its first tap.
struct Pixels {
    int64_t image[kPanel], y[kPanel], x[kPanel], count;
};

static Pixels pixels_of(const ConvShape& s, int64_t first) {
    Pixels pixels;
    pixels.count = least(kPanel, s.n * s.p * s.q - first);
    for (int64_t j = 0; j < pixels.count; ++j) {
        const int64_t at = (first + j) % (s.p * s.q);
        pixels.image[j] = (first + j) / (s.p * s.q);
        pixels.y[j] = at / s.q * s.stride_h - s.pad_top;
        pixels.x[j] = at % s.q * s.stride_w - s.pad_left;
    }
    return pixels;
}

static void gather_panel(const ConvShape& s, const Pixels& pixels, const float* x, int64_t first_channel,
                         float* panel) {
    const int64_t channels = s.c / s.groups;
    for (int64_t j = 0; j < kPanel; ++j) {
        if (j >= pixels.count) {
            for (int64_t i = 0; i < depth(s); ++i) {
                panel[i * kPanel + j] = 0.0f;
            }
            continue;
        }
        float* to = panel + j;
        const float* image = x + (pixels.image[j] * s.c + first_channel) * s.h * s.w;
        for (int64_t c = 0; c < channels; ++c, image += s.h * s.w) {
            for (int64_t r = 0; r < s.r; ++r) {
                const int64_t row = pixels.y[j] + r * s.dilation_h;
                const bool inside = row >= 0 && row < s.h;
                for (int64_t t = 0; t < s.s; ++t, to += kPanel) {
                    const int64_t column = pixels.x[j] + t * s.dilation_w;
                    *to = inside && column >= 0 && column < s.w ? image[row * s.w + column] : 0.0f;
                }
            }
        }
    }
}

static void write_row(const Call& call, const Pixels& pixels, int64_t first, int64_t k, const float* sums) {
    const ConvShape& s = call.shape->conv;
    const Vec bias = broadcast(call.bias ? call.bias[k] : 0.0f);
    Vec low = add(load(sums), bias), high = add(load(sums + kLanes), bias);
    if (call.activation == Activation::relu) {
        low = relu(low);
        high = relu(high);
    }
    const int64_t area = s.p * s.q;
    float* y = call.y + (pixels.image[0] * s.k + k) * area + first % area;
    if (pixels.count == kPanel && pixels.image[0] == pixels.image[kPanel - 1]) {
        store(y, low);
        store(y + kLanes, high);
        return;
    }
    float row[kPanel];
    store(row, low);
    store(row + kLanes, high);
    for (int64_t j = 0; j < pixels.count; ++j) {
        call.y[(pixels.image[j] * s.k + k) * area + (first + j) % area] = row[j];
    }
}

static void run(const Call& call, int64_t begin, int64_t end, int worker) {
    const ConvShape& s = call.shape->conv;
    const int64_t channels = s.c / s.groups, filters = s.k / s.groups;
    float* panel = reinterpret_cast<float*>(call.workspace) + worker * depth(s) * kPanel;
    float sums[kTileRows * kPanel];
    for (int64_t task = begin; task < end; ++task) {
        const int64_t group = task / panels(s), first = task % panels(s) * kPanel;
        const Pixels pixels = pixels_of(s, first);
        gather_panel(s, pixels, call.x, group * channels, panel);
        for (int64_t k = group * filters; k < (group + 1) * filters;) {
            const float* weight = call.weights.dense + k * depth(s);
            const int64_t left = (group + 1) * filters - k;
            const int64_t done = tile_rows(weight, depth(s), 1, panel, depth(s), left, sums);
            for (int64_t i = 0; i < done; ++i) {
                write_row(call, pixels, first, k + i, sums + i * kPanel);
            }
            k += done;
        }
    }
}

const Kernel conv_f32_im2col = {
    LISSOME_NAME("conv_f32_im2col"),   Op::conv, Isa::LISSOME_ISA, Form::rows, 0, workspace_bytes,
    {{tasks, run}, {nullptr, nullptr}}};

}  // namespace lissome::LISSOME_ISA
