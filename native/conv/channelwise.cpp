// conv_f32_channelwise: one 3×3 or 5×5 filter a channel, stride 1 or 2, on plain tensors, for where the layers around
// it are sparse ones that want pixels side by side. A vector holds neighbouring outputs of a row; kRows rows are made
// at once, so that an input, read once for each column of the filter, meets every row of it. Weights: Form::rows. Task:
// a channel of an image.
#include "core/activation.h"
#include "core/kernel.h"
#include "core/lanes.h"

namespace lissome::LISSOME_ISA {

extern const Kernel conv_f32_channelwise;

static constexpr int kRows = 7;  // divides the rows of 112, 56, 28, 14 and 7

static bool supports(const Shape& shape) {
    const ConvShape& s = shape.conv;
    return s.groups == s.c && s.groups == s.k && s.r == s.s && (s.r == 3 || s.r == 5) && s.stride_h == s.stride_w &&
           s.stride_h <= 2 && s.dilation_h * s.dilation_w == 1;
}

static int64_t no_workspace(const Shape&, int) {
    return 0;
}

static int64_t tasks(const Shape& shape, int) {
    return shape.conv.n * shape.conv.c;
}

// Lanes of a vector at column x of a row that lie within its w columns.
LISSOME_INLINE LaneRange within(int64_t x, int64_t w) {
    const int64_t first = x < 0 ? least(-x, kLanes) : 0, last = least(w - x, kLanes);
    return lane_range(first, last < first ? first : last);
}

// Columns of a row that a filter's columns meet for kLanes outputs: each every Step-th from some x on.
template <int Taps, int Step>
struct Columns {
    int64_t x;
    LaneRange inside[Taps * Step];

    LISSOME_INLINE Columns at(int64_t x, int64_t w) {
        Columns found;
        found.x = x;
#pragma GCC unroll 16
        for (int t = 0; t < Taps * Step; ++t) {
            found.inside[t] = within(x + t % Taps + t / Taps * kLanes, w);
        }
        return found;
    }
};

template <int Taps, int Step>
LISSOME_INLINE Vec load_columns_of(const float* row, const Columns<Taps, Step>& columns, int t, Int even) {
    const float* from = row + columns.x + t;
    const Vec first = load_lanes(from, columns.inside[t]);
    return Step == 1 ? first : permute(first, load_lanes(from + kLanes, columns.inside[(Step - 1) * Taps + t]), even);
}

// A channel's plane: h rows of w inputs, the first one `top` rows above; p rows of q outputs.
struct Plane {
    const float* x;
    float* y;
    int64_t h, w, top, p, q;
};

// kLanes outputs in kRows rows from p on. Whole: all of them, and all that they need, are there.
template <int Taps, int Step, bool Whole>
LISSOME_INLINE void tile(const Plane& of, const Vec* weight, Vec bias, int64_t p, const Columns<Taps, Step>& columns,
                         Int even, float* y, LaneRange wanted, const Activation& activation) {
    Vec sum[kRows];
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
        sum[i] = bias;
    }
    const float* row = of.x + (p * Step - of.top) * of.w;
#pragma GCC unroll 32
    for (int j = 0; j < (kRows - 1) * Step + Taps; ++j, row += of.w) {
        if (!Whole && (p * Step - of.top + j < 0 || p * Step - of.top + j >= of.h)) {
            continue;
        }
#pragma GCC unroll 8
        for (int t = 0; t < Taps; ++t) {
            const Vec in = load_columns_of<Taps, Step>(row, columns, t, even);
#pragma GCC unroll 8
            for (int i = 0; i < kRows; ++i) {
                if (j - i * Step >= 0 && j - i * Step < Taps) {
                    sum[i] = fma(in, weight[(j - i * Step) * Taps + t], sum[i]);
                }
            }
        }
    }
    activate_each<kRows>(sum, activation);
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i, y += of.q) {
        if (Whole || p + i < of.p) {
            store_lanes(y, sum[i], wanted);
        }
    }
}

template <int Taps, int Step>
static void channel(const Plane of, const float* filter, float bias, int64_t left, const Activation activation) {
    Vec weight[Taps * Taps];
#pragma GCC unroll 32
    for (int i = 0; i < Taps * Taps; ++i) {
        weight[i] = broadcast(filter[i]);
    }
    Int even;
    for (int i = 0; i < kLanes; ++i) {
        even[i] = 2 * i;
    }
    for (int64_t q = 0; q < of.q; q += kLanes) {
        const auto columns = Columns<Taps, Step>::at(q * Step - left, of.w);
        const LaneRange wanted = lane_range(0, least(kLanes, of.q - q));
        float* y = of.y + q;
        for (int64_t p = 0; p < of.p; p += kRows, y += kRows * of.q) {
            const int64_t first = p * Step - of.top, last = first + (kRows - 1) * Step + Taps;
            if (first >= 0 && last <= of.h && p + kRows <= of.p) {
                tile<Taps, Step, true>(of, weight, broadcast(bias), p, columns, even, y, wanted, activation);
            } else {
                tile<Taps, Step, false>(of, weight, broadcast(bias), p, columns, even, y, wanted, activation);
            }
        }
    }
}

static void run(const Call& call, int64_t begin, int64_t end, int) {
    const ConvShape& s = call.shape->conv;
    const auto each = s.r == 3 ? (s.stride_h == 1 ? channel<3, 1> : channel<3, 2>)
                               : (s.stride_h == 1 ? channel<5, 1> : channel<5, 2>);
    for (int64_t task = begin; task < end; ++task) {
        const int64_t c = task % s.c;
        const float* x = call.in[0] + task * s.h * s.w;
        const Plane of{x, call.out[0] + task * s.p * s.q, s.h, s.w, s.pad_top, s.p, s.q};
        each(of, call.weights.dense + c * s.r * s.s, call.bias ? call.bias[c] : 0.0f, s.pad_left, call.activation);
    }
}

const Kernel conv_f32_channelwise = {LISSOME_NAME("conv_f32_channelwise"),
                                     Op::conv,
                                     Isa::LISSOME_ISA,
                                     Form::rows,
                                     0,
                                     no_workspace,
                                     {{tasks, run}, {nullptr, nullptr}},
                                     1,
                                     1,
                                     false,
                                     supports};

}  // namespace lissome::LISSOME_ISA
