// gemm_i8, gemm_i8_f32: y (m, n) = x (m, k) · wᵀ of uint8 codes and int8 weights, as in integer/direct.cpp. Rows of x
// and y are in whole blocks of kLanes, which for a tensor of one pixel is what blocks of channels are. The rows of a
// batch are the pixels of a register block, so that each weight is read once for several of them. A task is a panel of
// outputs.
#include "conv/columns.h"
#include "core/activation.h"
#include "integer/block.h"

namespace lissome::LISSOME_ISA {

extern const Kernel gemm_i8, gemm_i8_f32;

static int64_t tasks(const Shape& shape, int) {
    return ceil_div(ceil_div(shape.gemm.n, kLanes), shape.codes.vectors);
}

template <bool kFloats>
static void run(const Call& call, int64_t begin, int64_t end, int) {
    const GemmShape& g = call.shape->gemm;
    const CodeShape& codes = call.shape->codes;
    const int64_t blocks = ceil_div(g.k, kLanes), all = ceil_div(g.n, kLanes);
    const Window window{blocks, 1, 1, kLanes, 0, 0, blocks * kLanes};
    const auto* x = reinterpret_cast<const uint8_t*>(call.in[0]);
    for (int64_t panel = begin; panel < end; ++panel) {
        const int64_t first = panel * codes.vectors, vectors = least(codes.vectors, all - first);
        const BlockTable& table = kTables<kLanes / 4>[vectors - 1];
        const int64_t count = ceil_div(g.m, table.widest);
        for (int64_t i = 0; i < count; ++i) {
            const Range rows = piece_of(i, count, g.m);
            const int64_t at = (rows.begin * all + first) * kLanes;
            const Result result{reinterpret_cast<uint8_t*>(call.out[0]) + at,
                                kFloats ? call.out[0] + at : nullptr,
                                nullptr,
                                all * kLanes,
                                kLanes,
                                call.weights.offset + first * kLanes,
                                call.weights.scale + first * kLanes,
                                &codes,
                                &call.activation};
            table.of[rows.end - rows.begin](window, x + rows.begin * window.x_pixel,
                                            call.weights.bytes + first * blocks * (kLanes / 4) * kFourBytes, result);
        }
    }
}

static int64_t no_workspace(const Shape&, int) {
    return 0;
}

template <bool kFloats>
static constexpr Kernel gemm_kernel(const char* name) {
    return {name,
            Op::gemm_codes,
            Isa::LISSOME_ISA,
            Form::bytes,
            0,
            no_workspace,
            {{tasks, run<kFloats>}, {nullptr, nullptr}},
            kLanes,
            kLanes,
            false,
            nullptr,
            kWeightBytes,
            false,
            1,
            kFloats ? 4 : 1};
}

const Kernel gemm_i8 = gemm_kernel<false>(LISSOME_NAME("gemm_i8"));
const Kernel gemm_i8_f32 = gemm_kernel<true>(LISSOME_NAME("gemm_i8_f32"));

}  // namespace lissome::LISSOME_ISA
