// conv_f32_sparse: y (n, k, p, q) = x ∗ w + bias (+ residual) with w sparse (taps.h), floats or codes into a table; any
// stride, padding, dilation and groups, on plain tensors. Each stored weight is broadcast against contiguous inputs of
// a band, for a strip of up to eight vectors of outputs that stay in registers: one multiply-add a vector and weight,
// one index and one broadcast a strip and weight. A strip's inputs pass all filters before the next strip does, so that
// they stay in the nearest cache that holds them.
// Workspace: bands (conv/taps.h), and for each a flag a chunk of channels for NaN or infinity. With many bands each
// worker fills its own; with few they are filled first, by chunks of channels, and filters are shared out by weights.
#include "conv/band.h"

namespace lissome::LISSOME_ISA {

extern const Kernel conv_f32_sparse, conv_f32_sparse_blocks;

static constexpr int64_t kChannels = kLanes;  // in a chunk
static constexpr int64_t kFilterCost = 4;     // of a filter beside its taps, in taps

static int64_t align(int64_t floats) {
    return ceil_div(floats, 16) * 16;
}
static int64_t units(const ConvShape& s, const TapGeometry& g) {
    return s.n * g.bands;
}
static bool alone(const ConvShape& s, const TapGeometry& g, int workers) {
    return workers == 1 || units(s, g) >= 8 * workers;
}
static int64_t slot_floats(const ConvShape& s, const TapGeometry& g) {
    return align(g.floats) + align(ceil_div(s.c, kChannels));
}

static int64_t slots(const ConvShape& s, const TapGeometry& g, int workers) {
    return alone(s, g, workers) ? workers : units(s, g);
}

// Bands, then each worker's sums of a strip.
static int64_t workspace_bytes(const Shape& shape, int workers) {
    const ConvShape& s = shape.conv;
    const TapGeometry g = tap_geometry(s);
    return (slots(s, g, workers) * slot_floats(s, g) + workers * s.k * kMostVectors * kLanes) * 4;
}

// A band in workspace.
struct Band {
    float *planes, *flags;
};

static Band band_at(const Call& call, const TapGeometry& g, int64_t slot) {
    float* planes = reinterpret_cast<float*>(call.workspace) + slot * slot_floats(call.shape->conv, g);
    return {planes, planes + align(g.floats)};
}

template <bool kBlocks>
static void fill_chunk(const Call& call, const TapGeometry& g, const Band& band, int64_t unit, int64_t chunk) {
    const ConvShape& s = call.shape->conv;
    const int64_t n = unit / g.bands, first = unit % g.bands * g.band, channel = g.phases_h * g.phases_w * g.plane;
    const int64_t begin = chunk * kChannels, end = least(s.c, begin + kChannels), area = s.h * s.w;
    Copying copying = start_copying();
    if constexpr (kBlocks) {
        const float* from = call.in[0] + (n * ceil_div(s.c, kLanes) + chunk) * area * kLanes;
        fill_block(s, g, from, end - begin, first, band.planes + begin * channel, copying);
    } else {
        for (int64_t c = begin; c < end; ++c) {
            fill_planes(s, g, call.in[0] + (n * s.c + c) * area, first, band.planes + c * channel, copying);
        }
    }
    band.flags[chunk] = copied_finite(copying) ? 0.0f : 1.0f;
}

// Filters [first, last) of the packed ones on one strip of a band.
struct Job {
    const Call* call;
    int64_t n, first, last;
    const float* x;
    float* sums;  // of each filter, between blocks of channels
    Strip strip;
};

// Adds taps [from, to) to a strip of V vectors.
template <int V, class Index, class Value>
LISSOME_INLINE void add_taps(Vec* sum, const WeightView& w, const float* x, uint32_t from, uint32_t to) {
    const Index* index = static_cast<const Index*>(w.index);
    const Value* value = static_cast<const Value*>(w.value);
    for (uint32_t j = from; j < to; ++j) {
        const Vec weight = broadcast(value_at(value, w.table, j));
        const float* at = x + index[j];
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) {
            sum[v] = fma(weight, load(at + v * kLanes), sum[v]);
        }
    }
}

// Between a plain output's rows and a blocked one's: where a filter's sums go when they are done.
template <int V, bool kBlocks>
struct Sink {
    const Job& job;
    alignas(64) float rows[kBlocks ? V * kLanes * kLanes : 1];

    void take(Vec* sum, int64_t k, int64_t row) {
        const Call& call = *job.call;
        const ConvShape& s = call.shape->conv;
        if constexpr (kBlocks) {
            float* to = rows + row % kLanes * V * kLanes;
#pragma GCC unroll 8
            for (int v = 0; v < V; ++v) {
                store(to + v * kLanes, sum[v]);
            }
            if ((k + 1) % kLanes == 0 || k + 1 == job.last) {
                for (int64_t i = (k % kLanes + 1) * V; i < V * kLanes; ++i) {
                    store(rows + i * kLanes, zero());  // filters behind the last
                }
                const int64_t at = (job.n * ceil_div(s.k, kLanes) + k / kLanes) * s.p * s.q * kLanes;
                const float* residual = call.in[1] ? call.in[1] + at : nullptr;
                store_block<V>(rows, job.strip, call.activation, residual, call.out[0] + at);
            }
        } else {
            const int64_t at = (job.n * s.k + row) * s.p * s.q;
            const float* residual = call.in[1] ? call.in[1] + at : nullptr;
            store_strip<V>(sum, job.strip, call.activation, residual, call.out[0] + at);
        }
    }
};

template <int V, class Index, class Value, bool kBlocks>
static void filters(const Job& job) {
    const Call& call = *job.call;
    const WeightView& w = call.weights;
    const uint32_t* start = w.start;
    Sink<V, kBlocks> sink{job, {}};
    for (int64_t block = 0; block < w.blocks; ++block, start += call.shape->conv.k) {
        float* sums = job.sums;
        for (int64_t k = job.first; k < job.last; ++k, sums += V * kLanes) {
            const int64_t row = w.row[k];
            Vec sum[V];
            const Vec bias = call.bias ? broadcast(call.bias[row]) : zero();
#pragma GCC unroll 8
            for (int v = 0; v < V; ++v) {
                sum[v] = block > 0 ? load(sums + v * kLanes) : bias;
            }
            add_taps<V, Index, Value>(sum, w, job.x, start[k], start[k + 1]);
            if (block == w.blocks - 1) {
                sink.take(sum, k, row);
                continue;
            }
#pragma GCC unroll 8
            for (int v = 0; v < V; ++v) {
                store(sums + v * kLanes, sum[v]);
            }
        }
    }
}

using Filters = void (*)(const Job& job);

template <class Index, class Value, bool kBlocks>
static constexpr Filters kFilters[kMostVectors] = {
    filters<1, Index, Value, kBlocks>, filters<2, Index, Value, kBlocks>, filters<3, Index, Value, kBlocks>,
    filters<4, Index, Value, kBlocks>, filters<5, Index, Value, kBlocks>, filters<6, Index, Value, kBlocks>,
    filters<7, Index, Value, kBlocks>, filters<8, Index, Value, kBlocks>};

template <bool kBlocks>
static const Filters* filters_for(const WeightView& w) {
    if (w.coded) {
        return w.wide ? kFilters<uint32_t, uint8_t, kBlocks> : kFilters<uint16_t, uint8_t, kBlocks>;
    }
    return w.wide ? kFilters<uint32_t, float, kBlocks> : kFilters<uint16_t, float, kBlocks>;
}

// Filters [first, last) on a band, by a worker.
template <bool kBlocks>
static void convolve(const Call& call, const TapGeometry& g, const Band& band, int64_t unit, int64_t first,
                     int64_t last, int worker) {
    const ConvShape& s = call.shape->conv;
    float* sums = reinterpret_cast<float*>(call.workspace) + slots(s, g, call.workers) * slot_floats(s, g);
    sums += worker * s.k * kMostVectors * kLanes;
    const int64_t from = unit % g.bands * g.band, count = least(g.band, g.positions - from);
    const int64_t vectors = ceil_div(count, kLanes), strips = ceil_div(vectors, kMostVectors);
    const Filters* of = filters_for<kBlocks>(call.weights);
    Job job{&call, unit / g.bands, first, last, nullptr, sums, {}};
    for (int64_t i = 0; i < strips; ++i) {
        const int64_t begin = vectors * i / strips, end = vectors * (i + 1) / strips;
        make_strip(s, g, from + begin * kLanes, least(count, end * kLanes) - begin * kLanes, job.strip);
        job.x = band.planes + begin * kLanes;
        of[end - begin - 1](job);
    }
    float flagged = 0.0f;
    for (int64_t chunk = 0; chunk < ceil_div(s.c, kChannels); ++chunk) {
        flagged += band.flags[chunk];
    }
    for (int64_t k = first; flagged != 0.0f && k < last; ++k) {
        const int64_t row = call.weights.row[k], step = kBlocks ? kLanes : 1;
        const int64_t plane = kBlocks ? job.n * ceil_div(s.k, kLanes) + row / kLanes : job.n * s.k + row;
        float* y = call.out[0] + plane * s.p * s.q * step + (kBlocks ? row % kLanes : 0);
        poison_band(call.weights, s, g, k, band.planes, from, y, step);
    }
}

static int64_t fill_tasks(const Shape& shape, int workers) {
    const TapGeometry g = tap_geometry(shape.conv);
    return alone(shape.conv, g, workers) ? 0 : units(shape.conv, g) * ceil_div(shape.conv.c, kChannels);
}

template <bool kBlocks>
static void fill(const Call& call, int64_t begin, int64_t end, int) {
    const TapGeometry g = tap_geometry(call.shape->conv);
    const int64_t chunks = ceil_div(call.shape->conv.c, kChannels);
    for (int64_t task = begin; task < end; ++task) {
        fill_chunk<kBlocks>(call, g, band_at(call, g, task / chunks), task / chunks, task % chunks);
    }
}

// Filters are cut so that each piece has about as many taps, at whole blocks of `step` filters.
static int64_t piece_begin(const Call& call, int64_t piece, int64_t pieces, int64_t step) {
    const uint32_t* before = call.weights.length;
    const int64_t k = call.shape->conv.k, whole = before[k] + k * kFilterCost;
    int64_t low = 0, high = ceil_div(k, step);
    while (low < high) {
        const int64_t middle = (low + high) / 2, at = middle * step;
        if ((before[at] + at * kFilterCost) * pieces < piece * whole) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return least(k, low * step);
}

static int64_t pieces(const ConvShape& s, int workers) {
    return least(s.k, 4 * workers);
}

static int64_t tasks(const Shape& shape, int workers) {
    const TapGeometry g = tap_geometry(shape.conv);
    return units(shape.conv, g) * (alone(shape.conv, g, workers) ? 1 : pieces(shape.conv, workers));
}

template <bool kBlocks>
static void run(const Call& call, int64_t begin, int64_t end, int worker) {
    const ConvShape& s = call.shape->conv;
    const TapGeometry g = tap_geometry(s);
    if (!alone(s, g, call.workers)) {
        const int64_t count = pieces(s, call.workers), step = kBlocks ? kLanes : 1;
        for (int64_t task = begin; task < end; ++task) {
            const int64_t unit = task / count, piece = task % count;
            const int64_t first = piece_begin(call, piece, count, step);
            const int64_t last = piece_begin(call, piece + 1, count, step);
            convolve<kBlocks>(call, g, band_at(call, g, unit), unit, first, last, worker);
        }
        return;
    }
    const Band band = band_at(call, g, worker);
    for (int64_t unit = begin; unit < end; ++unit) {
        for (int64_t chunk = 0; chunk < ceil_div(s.c, kChannels); ++chunk) {
            fill_chunk<kBlocks>(call, g, band, unit, chunk);
        }
        convolve<kBlocks>(call, g, band, unit, 0, s.k, worker);
    }
}

const Kernel conv_f32_sparse = {LISSOME_NAME("conv_f32_sparse"),
                                Op::conv,
                                Isa::LISSOME_ISA,
                                Form::taps,
                                1,
                                workspace_bytes,
                                {{fill_tasks, fill<false>}, {tasks, run<false>}},
                                1,
                                1,
                                true};
const Kernel conv_f32_sparse_blocks = {
    LISSOME_NAME("conv_f32_sparse_blocks"),         Op::conv, Isa::LISSOME_ISA, Form::taps, kLanes, workspace_bytes,
    {{fill_tasks, fill<true>}, {tasks, run<true>}}, kLanes,   kLanes,           true};

}  // namespace lissome::LISSOME_ISA
