// conv_f32_sparse: y (n, k, p, q) = x ∗ w + bias (+ residual) with w sparse (taps.h), floats or codes into a table; any
// stride, padding, dilation and groups, on plain tensors, on blocked ones, or from one to the other. Each stored weight
// is broadcast against contiguous inputs of a band, for a strip of up to eight vectors of outputs that stay in
// registers: one multiply-add a vector and weight, one index and one broadcast a strip and weight. A strip's inputs
// pass all filters before the next strip does, so that they stay in the nearest cache that holds them.
// A 1×1 filter of a plain input reads that where it is. Workspace: else bands (conv/taps.h); for each band a flag a
// chunk of channels for NaN or infinity. With many bands each worker fills its own; with few they are filled first, by
// chunks of channels, and filters are shared out by weights.
#include "conv/band.h"
#include "conv/strip.h"

namespace lissome::LISSOME_ISA {

extern const Kernel conv_f32_sparse, conv_f32_sparse_blocks, conv_f32_sparse_to_plain, conv_f32_sparse_to_blocks;

static constexpr int64_t kFilterCost = 4;  // of a filter beside its taps, in taps

// Bands, then each worker's sums of a strip.
template <bool kFromBlocks>
static int64_t workspace_bytes(const Shape& shape, int workers) {
    const ConvShape& s = shape.conv;
    const TapGeometry g = bands<kFromBlocks>(s);
    return (slots(s, g, workers) * slot_floats(s, g) + workers * s.k * kMostVectors * kLanes) * 4;
}

// Filters [first, last) of the packed ones on one strip of a band.
struct Job {
    const Call* call;
    int64_t n, first, last;
    const float* x;
    int64_t step;
    float* sums;  // of each filter, between blocks of channels
    Strip strip;
};

// Adds taps [from, to) to a strip of V vectors.
template <int V, class Index, class Value>
LISSOME_INLINE void add_taps(Vec* sum, const WeightView& w, const float* x, int64_t step, uint32_t from, uint32_t to) {
    const Index* index = static_cast<const Index*>(w.index);
    const Value* value = static_cast<const Value*>(w.value);
    for (uint32_t j = from; j < to; ++j) {
        const Vec weight = broadcast(value_at(value, w.table, j));
        const float* at = x + index[j] * step;
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) {
            sum[v] = fma(weight, load(at + v * kLanes), sum[v]);
        }
    }
}

// Calls for the memory of a filter's outputs, while its sums are made: it is far away, and no processor foresees where.
template <int V>
LISSOME_INLINE void expect(const Job& job, int64_t row) {
    const ConvShape& s = job.call->shape->conv;
    const int64_t at = (job.n * s.k + row) * s.p * s.q + job.strip.first;
    for (int v = 0; v < V; ++v) {
        __builtin_prefetch(job.call->out[0] + at + v * kLanes, 1);
    }
    for (int v = 0; v < V && job.call->in[1] != nullptr; ++v) {
        __builtin_prefetch(job.call->in[1] + at + v * kLanes, 0);
    }
}

// A filter's sums to its plain outputs.
template <int V>
LISSOME_INLINE void give(const Job& job, Vec* sum, int64_t row) {
    const Call& call = *job.call;
    const int64_t at = (job.n * call.shape->conv.k + row) * call.shape->conv.p * call.shape->conv.q;
    const float* residual = call.in[1] ? call.in[1] + at : nullptr;
    store_strip<V>(sum, job.strip, call.activation, residual, call.out[0] + at);
}

// The same to blocks, kLanes filters at a time, which `rows` holds until they are complete.
template <int V>
LISSOME_INLINE void collect(const Job& job, const Vec* sum, int64_t k, int64_t row, float* rows) {
    float* to = rows + row % kLanes * V * kLanes;
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) {
        store(to + v * kLanes, sum[v]);
    }
    if ((k + 1) % kLanes == 0 || k + 1 == job.last) {
        const Call& call = *job.call;
        const ConvShape& s = call.shape->conv;
        for (int64_t i = (k % kLanes + 1) * V; i < V * kLanes; ++i) {
            store(rows + i * kLanes, zero());  // filters behind the last
        }
        const int64_t at = (job.n * ceil_div(s.k, kLanes) + k / kLanes) * s.p * s.q * kLanes;
        const float* residual = call.in[1] ? call.in[1] + at : nullptr;
        store_block<V>(rows, job.strip, call.activation, residual, call.out[0] + at);
    }
}

template <int V, class Index, class Value, bool kToBlocks>
static void filters(const Job& job) {
    const Call& call = *job.call;
    const WeightView& w = call.weights;
    const uint32_t* start = w.start;
    alignas(64) float rows[kToBlocks ? V * kLanes * kLanes : 1];
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
            const bool last = block == w.blocks - 1;
            if (!kToBlocks && last) {
                expect<V>(job, row);
            }
            add_taps<V, Index, Value>(sum, w, job.x, job.step, start[k], start[k + 1]);
            if (!last) {
#pragma GCC unroll 8
                for (int v = 0; v < V; ++v) {
                    store(sums + v * kLanes, sum[v]);
                }
            } else if constexpr (kToBlocks) {
                collect<V>(job, sum, k, row, rows);
            } else {
                give<V>(job, sum, row);
            }
        }
    }
}

using Filters = void (*)(const Job& job);

template <class Index, class Value, bool kToBlocks>
static constexpr Filters kFilters[kMostVectors] = {
    filters<1, Index, Value, kToBlocks>, filters<2, Index, Value, kToBlocks>, filters<3, Index, Value, kToBlocks>,
    filters<4, Index, Value, kToBlocks>, filters<5, Index, Value, kToBlocks>, filters<6, Index, Value, kToBlocks>,
    filters<7, Index, Value, kToBlocks>, filters<8, Index, Value, kToBlocks>};

template <bool kToBlocks>
static const Filters* filters_for(const WeightView& w) {
    if (w.coded) {
        return w.wide ? kFilters<uint32_t, uint8_t, kToBlocks> : kFilters<uint16_t, uint8_t, kToBlocks>;
    }
    return w.wide ? kFilters<uint32_t, float, kToBlocks> : kFilters<uint16_t, float, kToBlocks>;
}

// Filters [first, last) on a band, by a worker.
template <bool kToBlocks>
static void convolve(const Call& call, const TapGeometry& g, const Band& band, int64_t unit, int64_t first,
                     int64_t last, int worker) {
    const ConvShape& s = call.shape->conv;
    float* sums = reinterpret_cast<float*>(call.workspace) + slots(s, g, call.workers) * slot_floats(s, g);
    sums += worker * s.k * kMostVectors * kLanes;
    const int64_t from = unit % g.bands * g.band, count = least(g.band, g.positions - from);
    const int64_t vectors = ceil_div(count, kLanes), strips = ceil_div(vectors, kMostVectors);
    const Filters* of = filters_for<kToBlocks>(call.weights);
    Job job{&call, unit / g.bands, first, last, nullptr, g.step, sums, {}};
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
        const int64_t row = call.weights.row[k], step = kToBlocks ? kLanes : 1;
        const int64_t plane = kToBlocks ? job.n * ceil_div(s.k, kLanes) + row / kLanes : job.n * s.k + row;
        float* y = call.out[0] + plane * s.p * s.q * step + (kToBlocks ? row % kLanes : 0);
        poison_band(call.weights, s, g, k, band.planes, from, y, step);
    }
}

template <bool kFromBlocks>
static int64_t fill_tasks(const Shape& shape, int workers) {
    const TapGeometry g = bands<kFromBlocks>(shape.conv);
    return alone(shape.conv, g, workers) ? 0 : units(shape.conv, g) * ceil_div(shape.conv.c, kChannels);
}

template <bool kFromBlocks>
static void fill(const Call& call, int64_t begin, int64_t end, int) {
    const TapGeometry g = bands<kFromBlocks>(call.shape->conv);
    const int64_t chunks = ceil_div(call.shape->conv.c, kChannels);
    for (int64_t task = begin; task < end; ++task) {
        const int64_t unit = task / chunks;
        fill_chunk<kFromBlocks>(call, g, band_at(call, g, unit, unit), unit, task % chunks);
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

template <bool kFromBlocks>
static int64_t tasks(const Shape& shape, int workers) {
    const TapGeometry g = bands<kFromBlocks>(shape.conv);
    return units(shape.conv, g) * (alone(shape.conv, g, workers) ? 1 : pieces(shape.conv, workers));
}

template <bool kFromBlocks, bool kToBlocks>
static void run(const Call& call, int64_t begin, int64_t end, int worker) {
    const ConvShape& s = call.shape->conv;
    const TapGeometry g = bands<kFromBlocks>(s);
    if (!alone(s, g, call.workers)) {
        const int64_t count = pieces(s, call.workers), step = kToBlocks ? kLanes : 1;
        for (int64_t task = begin; task < end; ++task) {
            const int64_t unit = task / count, piece = task % count;
            const int64_t first = piece_begin(call, piece, count, step);
            const int64_t last = piece_begin(call, piece + 1, count, step);
            convolve<kToBlocks>(call, g, band_at(call, g, unit, unit), unit, first, last, worker);
        }
        return;
    }
    for (int64_t unit = begin; unit < end; ++unit) {
        const Band band = band_at(call, g, worker, unit);
        for (int64_t chunk = 0; chunk < ceil_div(s.c, kChannels); ++chunk) {
            fill_chunk<kFromBlocks>(call, g, band, unit, chunk);
        }
        convolve<kToBlocks>(call, g, band, unit, 0, s.k, worker);
    }
}

#define LISSOME_SPARSE(name, from_blocks, to_blocks)                                                       \
    const Kernel name = {                                                                                  \
        LISSOME_NAME(#name),                                                                               \
        Op::conv,                                                                                          \
        Isa::LISSOME_ISA,                                                                                  \
        Form::taps,                                                                                        \
        to_blocks ? kLanes : 1,                                                                            \
        workspace_bytes<from_blocks>,                                                                      \
        {{fill_tasks<from_blocks>, fill<from_blocks>}, {tasks<from_blocks>, run<from_blocks, to_blocks>}}, \
        from_blocks ? kLanes : 1,                                                                          \
        to_blocks ? kLanes : 1,                                                                            \
        true}
LISSOME_SPARSE(conv_f32_sparse, false, false);
LISSOME_SPARSE(conv_f32_sparse_blocks, true, true);
LISSOME_SPARSE(conv_f32_sparse_to_plain, true, false);
LISSOME_SPARSE(conv_f32_sparse_to_blocks, false, true);

}  // namespace lissome::LISSOME_ISA
