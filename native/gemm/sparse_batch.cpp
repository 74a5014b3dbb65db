// gemm_f32_sparse_batch: y = x · wᵀ + bias for many rows of x, weights sparse (sell.h), floats or codes into a table.
// The batch is transposed once in blocks of four vectors; each stored weight is then broadcast against contiguous
// inputs: no gather, one multiply-add per batch element and stored weight.
// Workspace: a flag a block and chunk for NaN or infinity, and the transposed batch, k rows of at most kBlock a block;
// the last block's rows are as many vectors as it needs.
#include "core/activation.h"
#include "core/kernel.h"
#include "core/simd.h"
#include "gemm/sell.h"

namespace lissome::LISSOME_ISA {

extern const Kernel gemm_f32_sparse_batch;

static constexpr int64_t kBlock = 4 * kLanes;
static constexpr int64_t kChunk = 64;  // inputs transposed by one task

static int64_t blocks(const GemmShape& g) {
    return ceil_div(g.m, kBlock);
}

// Flags come first: one a block and chunk, so that no two tasks write the same.
static int64_t chunks(const GemmShape& g) {
    return ceil_div(g.k, kChunk);
}

static int64_t flag_floats(const GemmShape& g) {
    return ceil_div(blocks(g) * chunks(g), 16) * 16;
}

static int64_t vectors(const GemmShape& g, int64_t block) {
    return ceil_div(least(kBlock, g.m - block * kBlock), kLanes);
}

static int64_t workspace_bytes(const Shape& shape, int) {
    return (flag_floats(shape.gemm) + blocks(shape.gemm) * shape.gemm.k * kBlock) * 4;
}

static int64_t turn_tasks(const Shape& shape, int) {
    return blocks(shape.gemm) * chunks(shape.gemm);
}

static void turn(const Call& call, int64_t begin, int64_t end, int) {
    const GemmShape& g = call.shape->gemm;
    float* flags = reinterpret_cast<float*>(call.workspace);
    for (int64_t task = begin; task < end; ++task) {
        const int64_t block = task / chunks(g), first = task % chunks(g) * kChunk, last = least(g.k, first + kChunk);
        const int64_t wide = vectors(g, block) * kLanes;
        float* to = flags + flag_floats(g) + block * g.k * kBlock;
        flags[task] = 0.0f;
        for (int64_t b = 0; b < wide; ++b) {
            const int64_t m = block * kBlock + b;
            if (m >= g.m) {
                for (int64_t i = first; i < last; ++i) {
                    to[i * wide + b] = 0.0f;
                }
                continue;
            }
            const float* x = call.in[0] + m * g.k;
            for (int64_t i = first; i < last; ++i) {
                to[i * wide + b] = x[i];
            }
            if (any_nonfinite(x + first, last - first)) {
                flags[task] = 1.0f;
            }
        }
    }
}

static int64_t tasks(const Shape& shape, int) {
    return blocks(shape.gemm) * ceil_div(shape.gemm.n, kSlice);
}

// One output row against V vectors of the batch.
template <int V, class Index, class Value>
LISSOME_INLINE void row_times_block(const Index* index, const Value* value, const float* table, int64_t length,
                                    const float* x, float* sums) {
    Vec sum[V];
    for (int v = 0; v < V; ++v) {
        sum[v] = zero();
    }
    for (int64_t t = 0; t < length; ++t) {
        const Vec weight = broadcast(value_at(value, table, t * kSlice));
        const float* from = x + int64_t{index[t * kSlice]} * (V * kLanes);
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) {
            sum[v] = fma(weight, load(from + v * kLanes), sum[v]);
        }
    }
    for (int v = 0; v < V; ++v) {
        store(sums + v * kLanes, sum[v]);
    }
}

template <class Index, class Value>
static void slice_times_block(const Call& call, int64_t slice, int64_t block, const float* x) {
    const GemmShape& g = call.shape->gemm;
    const WeightView& w = call.weights;
    const int64_t first = block * kBlock, count = least(kBlock, g.m - first);
    float sums[kBlock];
    for (int64_t lane = 0; lane < kSlice; ++lane) {
        const uint32_t row = w.row[slice * kSlice + lane];
        if (row == kNoRow) {
            continue;
        }
        const int64_t at = int64_t{w.start[slice]} * kSlice + lane, length = w.length[slice * kSlice + lane];
        const Index* index = static_cast<const Index*>(w.index) + at;
        const Value* value = static_cast<const Value*>(w.value) + at;
        switch (vectors(g, block)) {
            case 1:
                row_times_block<1>(index, value, w.table, length, x, sums);
                break;
            case 2:
                row_times_block<2>(index, value, w.table, length, x, sums);
                break;
            case 3:
                row_times_block<3>(index, value, w.table, length, x, sums);
                break;
            default:
                row_times_block<4>(index, value, w.table, length, x, sums);
        }
        const float bias = call.bias ? call.bias[row] : 0.0f;
        for (int64_t b = 0; b < count; ++b) {
            call.out[0][(first + b) * g.n + row] = activate(sums[b] + bias, call.activation);
        }
    }
}

template <class Index, class Value>
static void slices(const Call& call, int64_t begin, int64_t end) {
    const GemmShape& g = call.shape->gemm;
    const int64_t slice_count = ceil_div(g.n, kSlice);
    const float* flags = reinterpret_cast<const float*>(call.workspace);
    for (int64_t task = begin; task < end; ++task) {
        const int64_t block = task / slice_count, slice = task % slice_count;
        slice_times_block<Index, Value>(call, slice, block, flags + flag_floats(g) + block * g.k * kBlock);
        float flagged = 0.0f;
        for (int64_t chunk = 0; chunk < chunks(g); ++chunk) {
            flagged += flags[block * chunks(g) + chunk];
        }
        for (int64_t m = block * kBlock; flagged != 0.0f && m < least(g.m, (block + 1) * kBlock); ++m) {
            poison_slice(call.weights, slice, call.in[0] + m * g.k, g.k, call.out[0] + m * g.n);
        }
    }
}

static void run(const Call& call, int64_t begin, int64_t end, int) {
    const WeightView& w = call.weights;
    if (w.coded) {
        w.wide ? slices<uint32_t, uint8_t>(call, begin, end) : slices<uint16_t, uint8_t>(call, begin, end);
    } else {
        w.wide ? slices<uint32_t, float>(call, begin, end) : slices<uint16_t, float>(call, begin, end);
    }
}

const Kernel gemm_f32_sparse_batch = {
    LISSOME_NAME("gemm_f32_sparse_batch"), Op::gemm, Isa::LISSOME_ISA, Form::sell, 0, workspace_bytes,
    {{turn_tasks, turn}, {tasks, run}}};

}  // namespace lissome::LISSOME_ISA
