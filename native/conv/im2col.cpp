// conv_f32_im2col: y (n, k, p, q) = x ∗ w + bias as a matrix product, w dense and row-major; any stride, padding,
// dilation and groups. The dense fall-back of every convolution. A task is one panel of output pixels, counted through
// the whole batch so that small images fill vectors too: it gathers the panel's inputs (c/g · r · s, panel) once and
// multiplies all filters of one group with it.
// Workspace: one panel a worker.
#include "core/activation.h"
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

// A panel's pixels as runs within one row of one image's output: neighbours there read neighbouring inputs.
struct Run {
    int64_t first, count;  // place in the panel
    int64_t image, y, x;   // image, and the input row and column of the first pixel's first tap
};

struct Runs {
    Run run[kPanel];
    int64_t count, pixels;
};

static Runs runs_of(const ConvShape& s, int64_t first) {
    Runs runs;
    runs.count = 0;
    runs.pixels = least(kPanel, s.n * s.p * s.q - first);
    for (int64_t j = 0; j < runs.pixels;) {
        const int64_t at = (first + j) % (s.p * s.q), q = at % s.q, count = least(s.q - q, runs.pixels - j);
        runs.run[runs.count++] = {j, count, (first + j) / (s.p * s.q), at / s.q * s.stride_h - s.pad_top,
                                  q * s.stride_w - s.pad_left};
        j += count;
    }
    return runs;
}

// What one tap reads for the pixels of one run; row: that tap's row of one channel, or nullptr outside the image.
LISSOME_INLINE void gather_run(const ConvShape& s, const Run& run, const float* row, int64_t column, float* to) {
    if (row == nullptr) {
        for (int64_t j = 0; j < run.count; ++j) {
            to[j] = 0.0f;
        }
    } else if (column >= 0 && column + (run.count - 1) * s.stride_w < s.w) {
        for (int64_t j = 0; j < run.count; ++j) {
            to[j] = row[column + j * s.stride_w];
        }
    } else {
        for (int64_t j = 0; j < run.count; ++j) {
            const int64_t x = column + j * s.stride_w;
            to[j] = x >= 0 && x < s.w ? row[x] : 0.0f;
        }
    }
}

static void gather_panel(const ConvShape& s, const Runs& runs, const float* x, int64_t first_channel, float* panel) {
    for (int64_t i = 0; i < depth(s); ++i) {
        const int64_t c = i / (s.r * s.s), r = i / s.s % s.r, t = i % s.s;
        float* to = panel + i * kPanel;
        for (int64_t k = 0; k < runs.count; ++k) {
            const Run& run = runs.run[k];
            const float* channel = x + (run.image * s.c + first_channel + c) * s.h * s.w;
            const int64_t y = run.y + r * s.dilation_h;
            gather_run(s, run, y >= 0 && y < s.h ? channel + y * s.w : nullptr, run.x + t * s.dilation_w,
                       to + run.first);
        }
        for (int64_t j = runs.pixels; j < kPanel; ++j) {
            to[j] = 0.0f;
        }
    }
}

static void write_row(const Call& call, const Runs& runs, int64_t first, int64_t k, const float* sums) {
    const ConvShape& s = call.shape->conv;
    const Vec bias = broadcast(call.bias ? call.bias[k] : 0.0f);
    const Vec low = activate(add(load(sums), bias), call.activation);
    const Vec high = activate(add(load(sums + kLanes), bias), call.activation);
    const int64_t area = s.p * s.q, image = runs.run[0].image;
    if (runs.pixels == kPanel && image == runs.run[runs.count - 1].image) {
        float* y = call.out[0] + (image * s.k + k) * area + first % area;
        store(y, low);
        store(y + kLanes, high);
        return;
    }
    float row[kPanel];
    store(row, low);
    store(row + kLanes, high);
    for (int64_t j = 0; j < runs.pixels; ++j) {
        call.out[0][((first + j) / area * s.k + k) * area + (first + j) % area] = row[j];
    }
}

static void run(const Call& call, int64_t begin, int64_t end, int worker) {
    const ConvShape& s = call.shape->conv;
    const int64_t channels = s.c / s.groups, filters = s.k / s.groups;
    float* panel = reinterpret_cast<float*>(call.workspace) + worker * depth(s) * kPanel;
    float sums[kTileRows * kPanel];
    for (int64_t task = begin; task < end; ++task) {
        const int64_t group = task / panels(s), first = task % panels(s) * kPanel;
        const Runs runs = runs_of(s, first);
        gather_panel(s, runs, call.in[0], group * channels, panel);
        for (int64_t k = group * filters; k < (group + 1) * filters;) {
            const float* weight = call.weights.dense + k * depth(s);
            const int64_t left = (group + 1) * filters - k;
            const int64_t done = tile_rows(weight, depth(s), 1, panel, depth(s), left, sums);
            for (int64_t i = 0; i < done; ++i) {
                write_row(call, runs, first, k + i, sums + i * kPanel);
            }
            k += done;
        }
    }
}

const Kernel conv_f32_im2col = {
    LISSOME_NAME("conv_f32_im2col"),   Op::conv, Isa::LISSOME_ISA, Form::rows, 0, workspace_bytes,
    {{tasks, run}, {nullptr, nullptr}}};

}  // namespace lissome::LISSOME_ISA
