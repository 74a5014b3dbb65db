// Every kernel in this build. A new kernel is one source file, one line in native/CMakeLists.txt and one line here.
#include "core/kernel.h"

// Compiled for extensions of an instruction set, too.
#define LISSOME_EACH_INTEGER(X, isa) \
    X(isa, add_i8)                   \
    X(isa, conv_i8_depthwise)        \
    X(isa, conv_i8_depthwise_f32)    \
    X(isa, conv_i8_direct)           \
    X(isa, conv_i8_direct_f32)       \
    X(isa, conv_i8_first)            \
    X(isa, conv_i8_first_f32)        \
    X(isa, dequantize_i8)            \
    X(isa, gemm_i8)                  \
    X(isa, gemm_i8_f32)              \
    X(isa, pool_i8_average)          \
    X(isa, pool_i8_max)              \
    X(isa, quantize_i8_block)        \
    X(isa, quantize_i8_image)        \
    X(isa, quantize_i8_lanes)        \
    X(isa, reorder_i8_block)         \
    X(isa, reorder_i8_plain)

#define LISSOME_EACH_BINARY(X, isa) \
    X(isa, binarize_b1)             \
    X(isa, conv_b1_binary)          \
    X(isa, conv_b1_ternary)

#define LISSOME_EACH_KERNEL(X, isa)   \
    LISSOME_EACH_BINARY(X, isa)       \
    LISSOME_EACH_INTEGER(X, isa)      \
    X(isa, affine_f32)                \
    X(isa, affine_f32_blocked)        \
    X(isa, binary_f32_add)            \
    X(isa, binary_f32_divide)         \
    X(isa, binary_f32_maximum)        \
    X(isa, binary_f32_minimum)        \
    X(isa, binary_f32_multiply)       \
    X(isa, binary_f32_power)          \
    X(isa, binary_f32_prelu)          \
    X(isa, binary_f32_subtract)       \
    X(isa, conv_f32_channelwise)      \
    X(isa, conv_f32_depthwise)        \
    X(isa, conv_f32_direct)           \
    X(isa, conv_f32_first)            \
    X(isa, conv_f32_im2col)           \
    X(isa, conv_f32_mec)              \
    X(isa, conv_f32_separable)        \
    X(isa, conv_f32_sparse)           \
    X(isa, conv_f32_sparse_blocks)    \
    X(isa, conv_f32_sparse_to_blocks) \
    X(isa, conv_f32_sparse_to_plain)  \
    X(isa, conv_f32_winograd_2x3)     \
    X(isa, conv_f32_winograd_2x5)     \
    X(isa, conv_f32_winograd_4x3)     \
    X(isa, conv_f32_winograd_6x3)     \
    X(isa, gemm_f32_coded_row)        \
    X(isa, gemm_f32_codes4)           \
    X(isa, gemm_f32_codes5)           \
    X(isa, gemm_f32_panels)           \
    X(isa, gemm_f32_sparse_batch)     \
    X(isa, gemm_f32_sparse_row)       \
    X(isa, layer_norm_f32)            \
    X(isa, log_softmax_f32)           \
    X(isa, lrn_f32)                   \
    X(isa, lrn_f32_blocked)           \
    X(isa, lstm_f32)                  \
    X(isa, move_f32)                  \
    X(isa, pool_f32_average)          \
    X(isa, pool_f32_average_blocks)   \
    X(isa, pool_f32_max)              \
    X(isa, pool_f32_max_blocks)       \
    X(isa, product_f32)               \
    X(isa, reduce_f32_max)            \
    X(isa, reduce_f32_mean)           \
    X(isa, reduce_f32_min)            \
    X(isa, reduce_f32_product)        \
    X(isa, reduce_f32_sum)            \
    X(isa, reorder_f32_block)         \
    X(isa, reorder_f32_plain)         \
    X(isa, resample_f32)              \
    X(isa, select_f32)                \
    X(isa, select_f32_blocked)        \
    X(isa, softmax_f32)               \
    X(isa, unary_f32_abs)             \
    X(isa, unary_f32_binarize)        \
    X(isa, unary_f32_ceil)            \
    X(isa, unary_f32_clip)            \
    X(isa, unary_f32_copy)            \
    X(isa, unary_f32_cos)             \
    X(isa, unary_f32_elu)             \
    X(isa, unary_f32_erf)             \
    X(isa, unary_f32_exp)             \
    X(isa, unary_f32_floor)           \
    X(isa, unary_f32_gelu)            \
    X(isa, unary_f32_gelu_tanh)       \
    X(isa, unary_f32_hard_sigmoid)    \
    X(isa, unary_f32_hard_swish)      \
    X(isa, unary_f32_leaky_relu)      \
    X(isa, unary_f32_log)             \
    X(isa, unary_f32_mish)            \
    X(isa, unary_f32_negate)          \
    X(isa, unary_f32_reciprocal)      \
    X(isa, unary_f32_relu)            \
    X(isa, unary_f32_round)           \
    X(isa, unary_f32_sigmoid)         \
    X(isa, unary_f32_sign)            \
    X(isa, unary_f32_sin)             \
    X(isa, unary_f32_softplus)        \
    X(isa, unary_f32_softsign)        \
    X(isa, unary_f32_sqrt)            \
    X(isa, unary_f32_swish)           \
    X(isa, unary_f32_tanh)

#if LISSOME_HAVE_avx512
#define LISSOME_EACH_AVX512(X) LISSOME_EACH_KERNEL(X, avx512)
#else
#define LISSOME_EACH_AVX512(X)
#endif
#if LISSOME_HAVE_avx512_vnni
#define LISSOME_EACH_VNNI(X) LISSOME_EACH_INTEGER(X, avx512_vnni)
#else
#define LISSOME_EACH_VNNI(X)
#endif
#if LISSOME_HAVE_avx512_vpopcntdq
#define LISSOME_EACH_VPOPCNTDQ(X) LISSOME_EACH_BINARY(X, avx512_vpopcntdq)
#else
#define LISSOME_EACH_VPOPCNTDQ(X)
#endif
#if LISSOME_HAVE_avx2
#define LISSOME_EACH_AVX2(X) LISSOME_EACH_KERNEL(X, avx2)
#else
#define LISSOME_EACH_AVX2(X)
#endif
#if LISSOME_HAVE_neon
#define LISSOME_EACH_NEON(X) LISSOME_EACH_KERNEL(X, neon)
#else
#define LISSOME_EACH_NEON(X)
#endif

#define LISSOME_EACH(X)    \
    LISSOME_EACH_AVX512(X) \
    LISSOME_EACH_AVX2(X)   \
    LISSOME_EACH_NEON(X) LISSOME_EACH_KERNEL(X, scalar) LISSOME_EACH_VNNI(X) LISSOME_EACH_VPOPCNTDQ(X)

#define LISSOME_DECLARE(isa, kernel) \
    namespace lissome::isa {         \
    extern const Kernel kernel;      \
    }
LISSOME_EACH(LISSOME_DECLARE)

namespace lissome {

KernelList all_kernels() noexcept {
#define LISSOME_ADDRESS(isa, kernel) &isa::kernel,
    static const Kernel* const kernels[] = {LISSOME_EACH(LISSOME_ADDRESS)};
    return {kernels, sizeof kernels / sizeof kernels[0]};
}

}  // namespace lissome
