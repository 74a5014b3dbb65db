// gemm_f32_sparse_row: y = x · wᵀ + bias for few rows of x, weights sparse (sell.h), floats or codes into a table.
// One vector holds 16 outputs' sums (or 8, or 4): per stored weight one gathered input and one multiply-add, and no
// horizontal sums. Wins over sparse_batch while a vector of batch elements would be mostly empty.
// Workspace: x with a zero behind each row, and a flag a row for NaN or infinity.
#include "core/activation.h"
#include "core/kernel.h"
#include "core/simd.h"
#include "gemm/sell.h"

namespace lissome::LISSOME_ISA {

extern const Kernel gemm_f32_sparse_row;

static int64_t workspace_bytes(const Shape& shape, int) {
    return shape.gemm.m * (shape.gemm.k + 2) * 4;
}

static int64_t copy_tasks(const Shape& shape, int) {
    return shape.gemm.m;
}

static void copy(const Call& call, int64_t begin, int64_t end, int) {
    const GemmShape& g = call.shape->gemm;
    for (int64_t m = begin; m < end; ++m) {
        float* to = reinterpret_cast<float*>(call.workspace) + m * (g.k + 2);
        __builtin_memcpy(to, call.in[0] + m * g.k, static_cast<size_t>(g.k) * 4);
        to[g.k] = 0.0f;
        to[g.k + 1] = any_nonfinite(to, g.k) ? 1.0f : 0.0f;
    }
}

static int64_t tasks(const Shape& shape, int) {
    return ceil_div(shape.gemm.n, kSlice);
}

template <class Index, class Value, class Values>
static void slices(const Call& call, const Values& table, int64_t begin, int64_t end) {
    const GemmShape& g = call.shape->gemm;
    const WeightView& w = call.weights;
    for (int64_t slice = begin; slice < end; ++slice) {
        const int64_t first = int64_t{w.start[slice]} * kSlice, last = int64_t{w.start[slice + 1]} * kSlice;
        for (int64_t m = 0; m < g.m; ++m) {
            const float* x = reinterpret_cast<const float*>(call.workspace) + m * (g.k + 2);
            Vec sum[kSlice / kLanes];
            for (int v = 0; v < kSlice / kLanes; ++v) {
                sum[v] = zero();
            }
            for (int64_t at = first; at < last; at += kSlice) {
#pragma GCC unroll 4
                for (int v = 0; v < kSlice / kLanes; ++v) {
                    const Vec weight = values_at(static_cast<const Value*>(w.value), table, at + v * kLanes);
                    sum[v] = fma(weight, gather(x, static_cast<const Index*>(w.index) + at + v * kLanes), sum[v]);
                }
            }
            float sums[kSlice];
            for (int v = 0; v < kSlice / kLanes; ++v) {
                store(sums + v * kLanes, sum[v]);
            }
            float* y = call.out[0] + m * g.n;
            for (int64_t i = 0; i < kSlice; ++i) {
                const uint32_t row = w.row[slice * kSlice + i];
                if (row != kNoRow) {
                    y[row] = activate(sums[i] + (call.bias ? call.bias[row] : 0.0f), call.activation);
                }
            }
            if (x[g.k + 1] != 0.0f) {
                poison_slice(w, slice, x, g.k, y);
            }
        }
    }
}

template <class Index>
static void any_values(const Call& call, int64_t begin, int64_t end) {
    const WeightView& w = call.weights;
    if (!w.coded) {
        slices<Index, float>(call, w.table, begin, end);
    } else if (w.entries <= kTableEntries) {
        slices<Index, uint8_t>(call, load_table(w.table), begin, end);
    } else {
        slices<Index, uint8_t>(call, w.table, begin, end);
    }
}

static void run(const Call& call, int64_t begin, int64_t end, int) {
    call.weights.wide ? any_values<uint32_t>(call, begin, end) : any_values<uint16_t>(call, begin, end);
}

const Kernel gemm_f32_sparse_row = {
    LISSOME_NAME("gemm_f32_sparse_row"), Op::gemm, Isa::LISSOME_ISA, Form::sell, 0, workspace_bytes,
    {{copy_tasks, copy}, {tasks, run}}};

}  // namespace lissome::LISSOME_ISA
