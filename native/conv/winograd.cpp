// conv_f32_winograd_<m>x<r>: y = x ∗ w + bias (+ residual), then the activation, for r × r filters with stride 1, by
// Winograd's F(m × m, r × r) on blocked data (Lavin and Gray, "Fast algorithms for convolutional neural networks", CVPR
// 2016): (m + r − 1)² products give m² outputs, which would take m² r².
//
// The image is cut into tiles of m × m outputs. A task is a group of tiles, and where groups are fewer than workers a
// part of the filters: it transforms its tiles into V[position][channel block][tile], multiplies for each of the (m + r
// − 1)² positions M[position][filter block][tile] = Σ_c U · V with the register block of the direct kernel, and
// transforms M into outputs. Groups are so large that V and M stay in the second-level cache where that leaves enough
// tiles to reuse U.
//
// A tile whose result is not finite is computed again, directly: the transforms would carry NaN and infinity to outputs
// whose window does not see them, and overflow where the sum does not.
// Weights: Form::winograd (conv/pack.h). Workspace a worker: V and M of one group.
#include "conv/winograd_tile.h"
#include "core/activation.h"
#include "core/kernel.h"

namespace lissome::LISSOME_ISA {

extern const Kernel conv_f32_winograd_2x3, conv_f32_winograd_4x3, conv_f32_winograd_6x3, conv_f32_winograd_2x5;

static constexpr int64_t kGroupBytes = 768 * 1024, kLeastTiles = 56, kMostTiles = 96;

// How the work is cut: from the shape alone, but for who does what.
struct Cut {
    int64_t rows, columns, tiles;  // of one image; of all
    int64_t inputs, outputs;       // blocks of channels
    int64_t groups, group;         // of tiles, and tiles in each at most
    int64_t parts, part;           // of the pairs of filter blocks, and blocks in each at most
    int64_t v_step, m_step;  // floats between positions: one cache line off a multiple of many, for the sets' sake
};

template <class T>
static Cut cut_of(const ConvShape& s, int64_t workers) {
    Cut c;
    c.rows = ceil_div(s.p, T::M);
    c.columns = ceil_div(s.q, T::M);
    c.tiles = s.n * c.rows * c.columns;
    c.inputs = ceil_div(s.c, kLanes);
    c.outputs = ceil_div(s.k, kLanes);
    const int64_t fitting = kGroupBytes / (4 * T::A * T::A * (c.inputs + 2) * kLanes);
    c.groups = ceil_div(c.tiles, fitting < kLeastTiles ? kLeastTiles : least(fitting, kMostTiles));
    if (c.groups >= workers || c.tiles >= workers * kLeastTiles / 2) {
        c.groups = ceil_div(c.groups, workers) * workers;
    }
    c.group = ceil_div(c.tiles, c.groups);
    const int64_t pairs = ceil_div(c.outputs, 2);
    c.parts = least(pairs, ceil_div(workers, c.groups));
    c.part = 2 * ceil_div(pairs, c.parts);
    c.v_step = c.inputs * c.group * kLanes + 16;
    c.m_step = 2 * c.group * kLanes + 16;
    return c;
}

template <class T>
static int64_t worker_floats(const Cut& c) {
    return T::A * T::A * (c.v_step + c.m_step);
}

template <class T>
static int64_t workspace_bytes(const Shape& shape, int workers) {
    return workers * worker_floats<T>(cut_of<T>(shape.conv, workers)) * 4;
}

template <class T>
static int64_t tasks(const Shape& shape, int workers) {
    const Cut c = cut_of<T>(shape.conv, workers);
    return c.groups * c.parts;
}

template <class T>
static bool supports(const Shape& shape) {
    const ConvShape& s = shape.conv;
    return s.r == T::R && s.s == T::R && s.groups == 1 && s.stride_h == 1 && s.stride_w == 1 && s.dilation_h == 1 &&
           s.dilation_w == 1;
}

// First output of a tile.
struct Place {
    int64_t image, top, left;
};

template <class T>
static Place place_of(const Cut& c, int64_t tile) {
    const int64_t at = tile % (c.rows * c.columns);
    return {tile / (c.rows * c.columns), at / c.columns * T::M, at % c.columns * T::M};
}

template <class T>
static void transform_inputs(const Call& call, const Cut& c, int64_t first, int64_t count, float* v) {
    const ConvShape& s = call.shape->conv;
    alignas(64) float edge[T::A * T::A * kLanes];
    for (int64_t block = 0; block < c.inputs; ++block) {
        for (int64_t t = 0; t < count; ++t) {
            const Place at = place_of<T>(c, first + t);
            const int64_t top = at.top - s.pad_top, left = at.left - s.pad_left;
            const float* plane = call.in[0] + (at.image * c.inputs + block) * s.h * s.w * kLanes;
            float* to = v + (block * c.group + t) * kLanes;
            for (int64_t i = 0; i < T::A; ++i) {  // of the next tile
                prefetch<T::M * kLanes>(plane + ((top + i) * s.w + left + T::A) * kLanes);
            }
            if (top >= 0 && left >= 0 && top + T::A <= s.h && left + T::A <= s.w) {
                T::input(plane + (top * s.w + left) * kLanes, s.w * kLanes, to, c.v_step);
                continue;
            }
            for (int64_t i = 0; i < T::A * T::A; ++i) {
                const int64_t y = top + i / T::A, x = left + i % T::A;
                const bool inside = y >= 0 && y < s.h && x >= 0 && x < s.w;
                store(edge + i * kLanes, inside ? load(plane + (y * s.w + x) * kLanes) : zero());
            }
            T::input(edge, T::A * kLanes, to, c.v_step);
        }
    }
}

template <int P, int V>
static void product(const float* v, int64_t plane_v, const float* u, int64_t channels, float* m, int64_t plane_m) {
    Sums<P, V> sums;
    clear(sums);
    for (int64_t i = 0; i < channels; i += kLanes) {
        if constexpr (kUnrolled) {
            prefetch<P * kLanes>(v + plane_v);
        }
        accumulate<P, V, kLanes>(sums, v, 0, u, least(kLanes, channels - i));
        v += plane_v;
        u += kLanes * V * kLanes;
    }
    store_sums(sums, m, plane_m);
}

using Product = void (*)(const float* v, int64_t plane_v, const float* u, int64_t channels, float* m, int64_t plane_m);
static constexpr int kTilesAtOnce = kPixels[2];

template <int V>
struct Products {
    Product of[kTilesAtOnce + 1];
};
template <int P, int V>
static constexpr void fill_products(Products<V>& table) {
    if constexpr (P > 0) {
        table.of[P] = product<P, V>;
        fill_products<P - 1, V>(table);
    }
}
template <int V>
static constexpr Products<V> make_products() {
    Products<V> table{};
    fill_products<kTilesAtOnce, V>(table);
    return table;
}
template <int V>
static constexpr Products<V> kProducts = make_products<V>();

// Filter blocks k and, where there is one, k + 1 at every position.
template <class T>
static void multiply_positions(const Call& call, const Cut& c, int64_t count, int64_t k, const float* v, float* m) {
    const int64_t channels = call.shape->conv.c, plane = c.group * kLanes, steps = ceil_div(count, kTilesAtOnce);
    const Product* of = k + 1 < c.outputs ? kProducts<2>.of : kProducts<1>.of;
    for (int64_t position = 0; position < T::A * T::A; ++position) {
        const float* u = call.weights.dense + (position * c.outputs + k) * channels * kLanes;
        for (int64_t i = 0; i < steps; ++i) {
            const int64_t t = count * i / steps, together = count * (i + 1) / steps - t;
            of[together](v + position * c.v_step + t * kLanes, plane, u, channels, m + position * c.m_step + t * kLanes,
                         plane);
        }
    }
}

// One output of one block of filters without any transform.
template <class T>
static Vec directly(const Call& call, const Cut& c, int64_t image, int64_t block, int64_t p, int64_t q) {
    const ConvShape& s = call.shape->conv;
    const float* w = call.weights.dense + (T::A * T::A * c.outputs + block * T::R * T::R) * s.c * kLanes;
    Vec sum = zero();
    for (int64_t i = 0; i < s.c * T::R * T::R; ++i, w += kLanes) {
        const int64_t channel = i / (T::R * T::R), y = p - s.pad_top + i / T::R % T::R, x = q - s.pad_left + i % T::R;
        const bool inside = y >= 0 && y < s.h && x >= 0 && x < s.w;
        const int64_t at = ((image * c.inputs + channel / kLanes) * s.h + y) * s.w + x;
        sum = fma(broadcast(inside ? call.in[0][at * kLanes + channel % kLanes] : 0.0f), load(w), sum);
    }
    return sum;
}

// What is done to the sums of one block of filters. Activations that are no bounds follow in memory.
struct Finish {
    Vec bias, low, high;
    bool more;
};

static Finish finish_of(const Call& call, int64_t block) {
    const Activation& a = call.activation;
    const bool bounded = a.kind == ActivationKind::relu || a.kind == ActivationKind::clip;
    return {call.bias ? load(call.bias + block * kLanes) : zero(), broadcast(bounded ? a.low : -__builtin_inff()),
            broadcast(a.kind == ActivationKind::clip ? a.high : __builtin_inff()), a.kind > ActivationKind::clip};
}

LISSOME_INLINE void write(const Call& call, const Finish& finish, Vec sum, int64_t at) {
    Vec y = add(sum, finish.bias);
    if (call.in[1]) {
        y = add(y, load(call.in[1] + at));
    }
    y = clamp(y, finish.low, finish.high);
    store(call.out[0] + at, finish.more ? activate(y, call.activation) : y);
}

template <class T>
static void write_directly(const Call& call, const Cut& c, const Place& at, int64_t block, const Finish& finish) {
    const ConvShape& s = call.shape->conv;
    for (int64_t p = at.top; p < least(at.top + T::M, s.p); ++p) {
        for (int64_t q = at.left; q < least(at.left + T::M, s.q); ++q) {
            const int64_t to = (((at.image * c.outputs + block) * s.p + p) * s.q + q) * kLanes;
            write(call, finish, directly<T>(call, c, at.image, block, p, q), to);
        }
    }
}

// A tile of one block of filters, from its products.
template <class T>
static void write_tile(const Call& call, const Cut& c, const Place& at, int64_t block, const float* m,
                       const Finish& finish) {
    const ConvShape& s = call.shape->conv;
    const int64_t height = least(T::M, s.p - at.top), width = least(T::M, s.q - at.left);
    Vec t[T::M][T::A], y[T::M], total = zero();
    T::columns(m, c.m_step, t);
    int64_t to = (((at.image * c.outputs + block) * s.p + at.top) * s.q + at.left) * kLanes;
    for (int64_t i = 0; i < height; ++i, to += s.q * kLanes) {
        T::row(t[i], y);
        LISSOME_UNROLL
        for (int j = 0; j < T::M; ++j) {
            __builtin_prefetch(call.out[0] + to + (T::M + j) * kLanes, 1);  // of the next tile
            total = add(total, y[j]);
            if (j < width) {
                write(call, finish, y[j], to + j * kLanes);
            }
        }
    }
    if (!all_finite(total)) {
        write_directly<T>(call, c, at, block, finish);
    }
}

template <class T>
static void run(const Call& call, int64_t begin, int64_t end, int worker) {
    const Cut c = cut_of<T>(call.shape->conv, call.workers);
    float* v = reinterpret_cast<float*>(call.workspace) + worker * worker_floats<T>(c);
    float* m = v + T::A * T::A * c.v_step;
    for (int64_t task = begin; task < end; ++task) {
        const int64_t group = task / c.parts, part = task % c.parts;
        const int64_t first = c.tiles * group / c.groups, count = c.tiles * (group + 1) / c.groups - first;
        const int64_t from = least(c.outputs, part * c.part), to = least(c.outputs, from + c.part);
        transform_inputs<T>(call, c, first, count, v);
        for (int64_t k = from; k < to; k += 2) {
            multiply_positions<T>(call, c, count, k, v, m);
            for (int64_t block = k; block < least(k + 2, to); ++block) {
                const Finish finish = finish_of(call, block);
                for (int64_t t = 0; t < count; ++t) {
                    const float* products = m + ((block - k) * c.group + t) * kLanes;
                    write_tile<T>(call, c, place_of<T>(c, first + t), block, products, finish);
                }
            }
        }
    }
}

#define LISSOME_WINOGRAD(m, r)                                                                          \
    const Kernel conv_f32_winograd_##m##x##r = {LISSOME_NAME("conv_f32_winograd_" #m "x" #r),           \
                                                Op::conv,                                               \
                                                Isa::LISSOME_ISA,                                       \
                                                Form::winograd,                                         \
                                                kLanes,                                                 \
                                                workspace_bytes<WinogradTile<m, r>>,                    \
                                                {{tasks<WinogradTile<m, r>>, run<WinogradTile<m, r>>}}, \
                                                kLanes,                                                 \
                                                kLanes,                                                 \
                                                true,                                                   \
                                                supports<WinogradTile<m, r>>,                           \
                                                m}
LISSOME_WINOGRAD(2, 3);
LISSOME_WINOGRAD(4, 3);
LISSOME_WINOGRAD(6, 3);
LISSOME_WINOGRAD(2, 5);

}  // namespace lissome::LISSOME_ISA
