// product_f32: y = alpha · a · b of two tensors that are both computed, one product for every element of the batch
// axes. Rows and columns of either operand lie any number of floats apart, so that transposed operands need no copy.
// A task is one panel of columns of one product: it packs the panel of b, then goes down all rows of a.
#include "core/activation.h"
#include "core/kernel.h"
#include "core/lanes.h"

namespace lissome::LISSOME_ISA {
namespace {

constexpr int64_t kPanel = 2 * kLanes;

int64_t panels(const ProductShape& p) {
    return ceil_div(p.n, kPanel);
}

int64_t workspace_bytes(const Shape& shape, int workers) {
    return workers * shape.product.k * kPanel * 4;
}

int64_t tasks(const Shape& shape, int) {
    return shape.product.batch * panels(shape.product);
}

// M rows by two vectors, as gemm/tile.h, for rows and columns of a any number of floats apart; in order of k.
template <int M>
LISSOME_INLINE int64_t strided_tile(const float* a, const ProductShape& p, const float* panel, float* sums) {
    Vec low[M], high[M];
    for (int i = 0; i < M; ++i) {
        low[i] = high[i] = zero();
    }
    for (int64_t k = 0; k < p.k; ++k) {
        const Vec b0 = load(panel + k * kPanel), b1 = load(panel + k * kPanel + kLanes);
#pragma GCC unroll 12
        for (int i = 0; i < M; ++i) {
            const Vec x = broadcast(a[i * p.a_row + k * p.a_column]);
            low[i] = fma(x, b0, low[i]);
            high[i] = fma(x, b1, high[i]);
        }
    }
    for (int i = 0; i < M; ++i) {
        store(sums + i * kPanel, low[i]);
        store(sums + i * kPanel + kLanes, high[i]);
    }
    return M;
}

// The tallest tile that fits into `rows`; returns how many rows it covered.
LISSOME_INLINE int64_t tile_rows(const float* a, const ProductShape& p, const float* panel, int64_t rows, float* sums) {
    if (rows >= kTileRows) {
        return strided_tile<kTileRows>(a, p, panel, sums);
    }
    if (rows >= 4) {
        return strided_tile<4>(a, p, panel, sums);
    }
    return rows >= 2 ? strided_tile<2>(a, p, panel, sums) : strided_tile<1>(a, p, panel, sums);
}

// Columns [first, first + count) of b, then zeros: (k, kPanel).
LISSOME_INLINE void pack(const ProductShape& p, const float* b, int64_t count, float* panel) {
    for (int64_t k = 0; k < p.k; ++k) {
        const float* row = b + k * p.b_row;
        float* to = panel + k * kPanel;
        for (int64_t j = 0; j < count; ++j) {
            to[j] = row[j * p.b_column];
        }
        for (int64_t j = count; j < kPanel; ++j) {
            to[j] = 0.0f;
        }
    }
}

void run(const Call& call, int64_t begin, int64_t end, int worker) {
    const ProductShape& p = call.shape->product;
    const Activation activation = call.activation;
    float* panel = reinterpret_cast<float*>(call.workspace) + worker * p.k * kPanel;
    for (int64_t task = begin; task < end; ++task) {
        const int64_t first = task % panels(p) * kPanel, count = least(p.n - first, kPanel);
        int64_t rest = task / panels(p);
        const float *a = call.in[0], *b = call.in[1];
        float* y = call.out[0] + rest * p.m * p.n + first;
        for (int64_t axis = p.rank - 1; axis >= 0; --axis) {
            a += rest % p.dim[axis] * p.a_stride[axis];
            b += rest % p.dim[axis] * p.b_stride[axis];
            rest /= p.dim[axis];
        }
        pack(p, b + first * p.b_column, count, panel);
        const Vec alpha = broadcast(p.alpha);
        for (int64_t row = 0; row < p.m;) {
            float sums[kTileRows * kPanel];
            const int64_t done = tile_rows(a + row * p.a_row, p, panel, p.m - row, sums);
            for (int64_t i = 0; i < done; ++i, ++row) {
                for (int64_t j = 0; j < count; j += kLanes) {
                    const Vec sum = multiply(alpha, load(sums + i * kPanel + j));
                    store_some(y + row * p.n + j, activate(sum, activation), least(count - j, kLanes));
                }
            }
        }
    }
}

}  // namespace

extern const Kernel product_f32;
const Kernel product_f32 = {
    LISSOME_NAME("product_f32"),       Op::product, Isa::LISSOME_ISA, Form::none, 0, workspace_bytes,
    {{tasks, run}, {nullptr, nullptr}}};

}  // namespace lissome::LISSOME_ISA
