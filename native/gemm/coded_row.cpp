// gemm_f32_coded_row: y = x · wᵀ + bias for few rows of x, w sparse with few values (slots.h). Of thirty-two weights
// the inputs are looked up among the 64 of their segment, the values in their codebook, all in registers: two table
// look-ups and two multiply-adds, no gather. Sums of all groups pass a segment before the next one does. Reads two
// bytes a weight from memory; where the dense weight does not fit a cache, that alone makes up for the rest. Workspace:
// x as words (core/words.h), flags for NaN or infinity, sums.
#include "core/activation.h"
#include "core/kernel.h"
#include "core/words.h"
#include "gemm/slots.h"

namespace lissome::LISSOME_ISA {

extern const Kernel gemm_f32_coded_row;

static constexpr int64_t kChunk = 32;  // segments split by one task

// What a row of x has in workspace.
struct Space {
    int64_t segments, chunks, groups;
    uint16_t* words;
    float *flags, *sums;
};

static int64_t row_floats(const GemmShape& g) {
    const int64_t segments = ceil_div(g.k, kSegment);
    return segments * kSegment + ceil_div(ceil_div(segments, kChunk), 16) * 16 + ceil_div(g.n, kGroup) * kGroup;
}

static Space space(const Call& call, int64_t m) {
    const GemmShape& g = call.shape->gemm;
    Space s;
    s.segments = ceil_div(g.k, kSegment);
    s.chunks = ceil_div(s.segments, kChunk);
    s.groups = ceil_div(g.n, kGroup);
    float* words = reinterpret_cast<float*>(call.workspace) + m * row_floats(g);
    s.words = reinterpret_cast<uint16_t*>(words);
    s.flags = words + s.segments * kSegment;
    s.sums = s.flags + ceil_div(s.chunks, 16) * 16;
    return s;
}

static int64_t workspace_bytes(const Shape& shape, int) {
    return shape.gemm.m * row_floats(shape.gemm) * 4;
}

static int64_t split_tasks(const Shape& shape, int) {
    return shape.gemm.m * ceil_div(ceil_div(shape.gemm.k, kSegment), kChunk);
}

static void split(const Call& call, int64_t begin, int64_t end, int) {
    const GemmShape& g = call.shape->gemm;
    for (int64_t task = begin; task < end; ++task) {
        const int64_t chunks = space(call, 0).chunks, m = task / chunks, chunk = task % chunks;
        const Space to = space(call, m);
        const float* x = call.in[0] + m * g.k;
        const int64_t first = chunk * kChunk, last = least(to.segments, first + kChunk);
        for (int64_t s = first; s < last; ++s) {
            float inputs[kSegment] = {};
            __builtin_memcpy(inputs, x + s * kSegment, static_cast<size_t>(least(kSegment, g.k - s * kSegment)) * 4);
            split_words(inputs, to.words + s * 2 * kSegment);
        }
        const int64_t from = first * kSegment;
        to.flags[chunk] = any_nonfinite(x + from, least(g.k, last * kSegment) - from) ? 1.0f : 0.0f;
    }
}

static int64_t tasks(const Shape& shape, int) {
    return shape.gemm.m * ceil_div(shape.gemm.n, kGroup);
}

// The runs of all segments, for groups [first, last).
static void add_runs(const WeightView& w, const Space& at, int64_t first, int64_t last) {
    uint16_t codebook[2 * kTable64];
    split_words(w.table, codebook);
    const Table64 values = load_table64(codebook);
    const uint16_t* slots = static_cast<const uint16_t*>(w.index);
    for (int64_t s = 0; s < at.segments; ++s) {
        const Table64 inputs = load_table64(at.words + s * 2 * kSegment);
        const int64_t begin = w.length[s], runs = (w.length[s + 1] - begin) / at.groups;
        const uint16_t* from = slots + (begin + first * runs) * kRunSlots;
        for (int64_t group = first; group < last; ++group) {
            float* sums = at.sums + group * kGroup;
            Vec even[kSlotVectors], odd[kSlotVectors];
            for (int v = 0; v < kSlotVectors; ++v) {
                even[v] = load(sums + v * kLanes);
                odd[v] = zero();
            }
            for (int64_t run = 0; run < runs; ++run, from += kRunSlots) {
                Vec x_even[kSlotVectors], x_odd[kSlotVectors], w_even[kSlotVectors], w_odd[kSlotVectors];
                look_up64<0>(inputs, from, x_even, x_odd);
                look_up64<6>(values, from, w_even, w_odd);
                for (int v = 0; v < kSlotVectors; ++v) {
                    even[v] = fma(x_even[v], w_even[v], even[v]);
                    odd[v] = fma(x_odd[v], w_odd[v], odd[v]);
                }
            }
            for (int v = 0; v < kSlotVectors; ++v) {
                store(sums + v * kLanes, add(even[v], odd[v]));
            }
        }
    }
}

// The weights of a row that are in no run, in four sums.
static float rest_of(const WeightView& w, int64_t row, const float* x) {
    const auto product = [&](uint32_t i) { return x[w.row[i] >> 8] * w.table[w.row[i] & 255]; };
    float sums[4] = {};
    uint32_t i = w.start[row];
    for (; i + 4 <= w.start[row + 1]; i += 4) {
        sums[0] += product(i);
        sums[1] += product(i + 1);
        sums[2] += product(i + 2);
        sums[3] += product(i + 3);
    }
    for (; i < w.start[row + 1]; ++i) {
        sums[0] += product(i);
    }
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

static void groups(const Call& call, int64_t m, int64_t first, int64_t last) {
    const GemmShape& g = call.shape->gemm;
    const WeightView& w = call.weights;
    const Space at = space(call, m);
    const float* x = call.in[0] + m * g.k;
    float* y = call.out[0] + m * g.n;
    __builtin_memset(at.sums + first * kGroup, 0, static_cast<size_t>((last - first) * kGroup) * 4);
    add_runs(w, at, first, last);
    float flagged = 0.0f;
    for (int64_t chunk = 0; chunk < at.chunks; ++chunk) {
        flagged += at.flags[chunk];
    }
    for (int64_t row = first * kGroup; row < least(g.n, last * kGroup); ++row) {
        float sum = at.sums[row] + rest_of(w, row, x);
        if (flagged != 0.0f) {
            sum = exact_slots_row(w, g.n, g.k, row, x);
        }
        y[row] = sum + (call.bias ? call.bias[row] : 0.0f);
    }
    const int64_t from = first * kGroup;
    activate_all(y + from, least(g.n, last * kGroup) - from, call.activation);
}

static void run(const Call& call, int64_t begin, int64_t end, int) {
    const int64_t count = ceil_div(call.shape->gemm.n, kGroup);
    while (begin < end) {
        const int64_t m = begin / count, last = least(end, (m + 1) * count);
        groups(call, m, begin - m * count, last - m * count);
        begin = last;
    }
}

const Kernel gemm_f32_coded_row = {
    LISSOME_NAME("gemm_f32_coded_row"),  Op::gemm, Isa::LISSOME_ISA, Form::slots, 0, workspace_bytes,
    {{split_tasks, split}, {tasks, run}}};

}  // namespace lissome::LISSOME_ISA
