// conv_f32_im2col: y (n, k, p, q) = x ∗ w + bias (+ residual) as a matrix product on plain data; any stride, padding,
// dilation and groups. The lowered matrix never exists: a task takes a strip of output pixels, counted through the
// whole batch so that small images fill vectors too, and for one piece of the channels after the other lowers the strip
// into panels of two vectors of pixels and multiplies all its filters with them. A 1×1 convolution is not lowered:
// whole panels are read where they lie. Where there are fewer strips than workers the filters are shared out as well.
// Weights: Form::filters (gemm/pack.h). Workspace a worker: the panels of one piece, and the strip's sums.
#include "core/activation.h"
#include "core/kernel.h"
#include "gemm/rows_block.h"

namespace lissome::LISSOME_ISA {

extern const Kernel conv_f32_im2col;

// A piece's panel of pixels and one panel of filters share the first-level cache; a strip shares the second.
static constexpr int64_t kDepth = 320, kStripBytes = 384 * 1024, kStripPanels = 12;

// How the work is cut: all from the shape, and workers change only who does what.
struct Cut {
    int64_t taps, depth;       // additions of one output, by channel and in all
    int64_t channels, pieces;  // of one group; pieces of them
    int64_t filters;           // of one group
    int64_t panels;            // of pixels
    int64_t strips, parts;     // strips of panels, and parts of the filters, in each of the groups
    int64_t wide, tall;        // panels in a strip, filters in a part, at most
    int64_t lowered, sums;     // floats of workspace
};

static Cut cut_of(const ConvShape& s, int64_t workers) {
    Cut c;
    c.taps = s.r * s.s;
    c.channels = s.c / s.groups;
    c.depth = c.channels * c.taps;
    c.pieces = ceil_div(c.channels, c.taps < kDepth ? kDepth / c.taps : 1);
    c.filters = s.k / s.groups;
    c.panels = ceil_div(s.n * s.p * s.q, kPanel);
    const int64_t deep = ceil_div(c.channels, c.pieces) * c.taps;
    const int64_t wide = kStripBytes / (4 * kPanel * (deep + (c.pieces > 1 ? c.filters : 0)));
    c.wide = wide < 2 ? 2 : least(wide, kStripPanels);
    c.strips = ceil_div(c.panels, c.wide);
    if (workers > 1 && c.strips * s.groups < 4 * workers) {
        c.strips = least(ceil_div(4 * workers, s.groups), ceil_div(c.panels, 2));
    }
    const int64_t idle = ceil_div(workers, c.strips * s.groups);
    c.parts = least(idle, row_panels(c.filters));
    c.wide = ceil_div(c.panels, c.strips);
    c.tall = kMaxRows * ceil_div(row_panels(c.filters), c.parts);
    c.lowered = c.wide * kPanel * deep + kLanes;
    c.sums = (c.pieces > 1 ? c.wide * c.tall : kMaxRows) * kPanel;
    return c;
}

static int64_t workspace_bytes(const Shape& shape, int workers) {
    const Cut c = cut_of(shape.conv, workers);
    return workers * ceil_div(c.lowered + c.sums, 16) * 64;
}

static int64_t tasks(const Shape& shape, int workers) {
    const Cut c = cut_of(shape.conv, workers);
    return shape.conv.groups * c.strips * c.parts;
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

// Lowering writes whole vectors: up to one too many, which the next run or the next step of the depth covers.
LISSOME_INLINE void write_zeros(float* to, int64_t count) {
    for (int64_t j = 0; j < count; j += kLanes) {
        store(to + j, zero());
    }
}
LISSOME_INLINE void copy(float* to, const float* from, int64_t count) {
    for (int64_t j = 0; j < count; j += kLanes) {
        store(to + j, load(from + j));
    }
}

// A run within one row of taps of one channel. row: nullptr above and below the image; whole: every tap may read whole
// vectors of neighbours.
struct Source {
    const float* row;
    int64_t to, count, x;
    bool whole;
};

static Source source_of(const ConvShape& s, const Run& run, const float* x, int64_t c, int64_t y) {
    if (y < 0 || y >= s.h) {
        return {nullptr, run.first, run.count, run.x, false};
    }
    const int64_t at = ((run.image * s.c + c) * s.h + y) * s.w, last = run.x + (s.s - 1) * s.dilation_w;
    const int64_t end = at + last + ceil_div(run.count, kLanes) * kLanes;
    const bool whole = s.stride_w == 1 && at + run.x >= 0 && end <= s.n * s.c * s.h * s.w;
    return {x + at, run.first, run.count, run.x, whole};
}

// What one tap reads where whole vectors may be read: past the edges of the image, numbers of other rows, which zeros
// then replace.
LISSOME_INLINE void lower_whole(const Source& from, int64_t column, int64_t width, float* to) {
    copy(to, from.row + column, from.count);
    for (int64_t j = least(from.count, -column) - 1; j >= 0; --j) {
        to[j] = 0.0f;
    }
    for (int64_t j = column < width ? width - column : 0; j < from.count; ++j) {
        to[j] = 0.0f;
    }
}

// The same for any stride and any place.
static void lower_any(const ConvShape& s, const Source& from, int64_t column, float* to) {
    for (int64_t j = 0; j < from.count; ++j) {
        const int64_t x = column + j * s.stride_w;
        to[j] = x >= 0 && x < s.w ? from.row[x] : 0.0f;
    }
}

// One row of taps. Sources are copied: what vectors are stored to might be them, for all the compiler knows.
static void lower_row(const ConvShape& s, const Source* sources, int64_t count, int64_t pixels, float* to) {
    const int64_t taps = s.s, dilation = s.dilation_w, width = s.w;
    for (int64_t t = 0; t < taps; ++t, to += kPanel) {
        for (int64_t k = 0; k < count; ++k) {
            const Source from = sources[k];
            const int64_t column = from.x + t * dilation;
            if (from.whole) {
                lower_whole(from, column, width, to + from.to);
            } else if (from.row == nullptr) {
                write_zeros(to + from.to, from.count);
            } else {
                lower_any(s, from, column, to + from.to);
            }
        }
        for (int64_t j = pixels; j < kPanel; ++j) {
            to[j] = 0.0f;
        }
    }
}

// Channels [first, last) for one panel of pixels.
static void lower(const ConvShape& s, const Runs& runs, const float* x, int64_t first, int64_t last, float* to) {
    Source sources[kPanel];
    for (int64_t c = first; c < last; ++c) {
        for (int64_t r = 0; r < s.r; ++r, to += s.s * kPanel) {
            for (int64_t k = 0; k < runs.count; ++k) {
                sources[k] = source_of(s, runs.run[k], x, c, runs.run[k].y + r * s.dilation_h);
            }
            lower_row(s, sources, runs.count, runs.pixels, to);
        }
    }
}

// One filter's sums for one panel of pixels, finished.
static void write_row(const Call& call, const ConvShape& s, const Runs& runs, int64_t first, int64_t k, float* sums) {
    const Vec bias = broadcast(call.bias ? call.bias[k] : 0.0f);
    const int64_t area = s.p * s.q, image = runs.run[0].image;
    if (runs.pixels == kPanel && image == runs.run[runs.count - 1].image) {
        const int64_t at = (image * s.k + k) * area + first % area;
        for (int64_t j = 0; j < kPanel; j += kLanes) {
            Vec y = add(load(sums + j), bias);
            if (call.in[1]) {
                y = add(y, load(call.in[1] + at + j));
            }
            store(call.out[0] + at + j, activate(y, call.activation));
        }
        return;
    }
    for (int64_t j = 0; j < kPanel; j += kLanes) {
        store(sums + j, add(load(sums + j), bias));
    }
    for (int64_t i = 0; i < runs.count; ++i) {
        const Run& run = runs.run[i];
        const int64_t at = (run.image * s.k + k) * area + (first + run.first) % area;
        for (int64_t j = 0; call.in[1] && j < run.count; ++j) {
            sums[run.first + j] += call.in[1][at + j];
        }
    }
    activate_all(sums, kPanel, call.activation);
    for (int64_t i = 0; i < runs.count; ++i) {
        const Run& run = runs.run[i];
        float* y = call.out[0] + (run.image * s.k + k) * area + (first + run.first) % area;
        for (int64_t j = 0; j < run.count; ++j) {
            y[j] = sums[run.first + j];
        }
    }
}

// A 1×1 convolution that touches every pixel has one row an image.
static ConvShape flattened(ConvShape s) {
    const bool dense = s.r == 1 && s.s == 1 && s.stride_h == 1 && s.stride_w == 1;
    if (dense && s.pad_top + s.pad_left + s.pad_bottom + s.pad_right == 0) {
        s.w = s.q = s.h * s.w;
        s.h = s.p = 1;
    }
    return s;
}

struct Space {
    float *lowered, *sums;
};

// A panel as register blocks read it.
struct Panel {
    const float* at;
    int64_t pitch;
};

// Whether channels of the input are panels already: a 1×1 convolution, and pixels that fill a panel within one image.
static bool reads_input(const ConvShape& s, const Runs& runs) {
    return s.h == 1 && s.r == 1 && s.s == 1 && s.w == s.q && runs.count == 1 && runs.pixels == kPanel;
}

static Panel panel_of(const ConvShape& s, const Runs& runs, const float* x, int64_t first, int64_t last, float* to) {
    if (reads_input(s, runs)) {
        return {x + (runs.run[0].image * s.c + first) * s.w + runs.run[0].x, s.w};
    }
    lower(s, runs, x, first, last, to);
    return {to, kPanel};
}

static void run_task(const Call& call, const ConvShape& s, const Cut& c, const Space& space, int64_t task) {
    const int64_t group = task / (c.strips * c.parts), strip = task / c.parts % c.strips, part = task % c.parts;
    const int64_t first = c.panels * strip / c.strips, last = c.panels * (strip + 1) / c.strips;
    const int64_t all = row_panels(c.filters), top = all * part / c.parts, bottom = all * (part + 1) / c.parts;
    const float* weights = call.weights.dense + group * c.filters * c.depth;
    Panel panels[kStripPanels];
    for (int64_t piece = 0; piece < c.pieces; ++piece) {
        const int64_t begin = c.channels * piece / c.pieces, end = c.channels * (piece + 1) / c.pieces;
        const int64_t deep = (end - begin) * c.taps, channel = group * c.channels;
        for (int64_t j = first; j < last; ++j) {
            float* to = space.lowered + (j - first) * deep * kPanel;
            panels[j - first] = panel_of(s, runs_of(s, j * kPanel), call.in[0], channel + begin, channel + end, to);
        }
        for (int64_t i = top; i < bottom; ++i) {
            const int64_t row = first_row(i, c.filters), rows = first_row(i + 1, c.filters) - row;
            const float* filters = weights + row * c.depth + begin * c.taps * rows;
            for (int64_t j = first; j < last; ++j) {
                const int64_t slot = ((i - top) * (last - first) + j - first) * kMaxRows;
                float* sums = space.sums + (c.pieces > 1 ? slot * kPanel : 0);
                const RowsBlock block = find_rows_block(rows, s.n * s.p * s.q - j * kPanel);
                block(filters, panels[j - first].at, panels[j - first].pitch, deep, piece > 0, sums);
                if (piece + 1 < c.pieces) {
                    continue;
                }
                const Runs runs = runs_of(s, j * kPanel);
                for (int64_t k = 0; k < rows; ++k) {
                    write_row(call, s, runs, j * kPanel, group * c.filters + row + k, sums + k * kPanel);
                }
            }
        }
    }
}

static void run(const Call& call, int64_t begin, int64_t end, int worker) {
    const Cut c = cut_of(call.shape->conv, call.workers);
    float* space = reinterpret_cast<float*>(call.workspace) + worker * ceil_div(c.lowered + c.sums, 16) * 16;
    for (int64_t task = begin; task < end; ++task) {
        run_task(call, flattened(call.shape->conv), c, {space, space + c.lowered}, task);
    }
}

const Kernel conv_f32_im2col = {LISSOME_NAME("conv_f32_im2col"),
                                Op::conv,
                                Isa::LISSOME_ISA,
                                Form::filters,
                                kMaxRows,
                                workspace_bytes,
                                {{tasks, run}, {nullptr, nullptr}},
                                1,
                                1,
                                true};

}  // namespace lissome::LISSOME_ISA
