// Every kernel in this build. A new kernel is one source file, one line in native/CMakeLists.txt and one line here.
#include "core/kernel.h"

#define LISSOME_EACH_KERNEL(X, isa) \
    X(isa, affine_f32)              \
    X(isa, binary_f32_add)          \
    X(isa, binary_f32_multiply)     \
    X(isa, conv_f32_depthwise)      \
    X(isa, conv_f32_direct)         \
    X(isa, conv_f32_first)          \
    X(isa, conv_f32_im2col)         \
    X(isa, conv_f32_mec)            \
    X(isa, conv_f32_sparse)         \
    X(isa, conv_f32_winograd_2x3)   \
    X(isa, conv_f32_winograd_2x5)   \
    X(isa, conv_f32_winograd_4x3)   \
    X(isa, conv_f32_winograd_6x3)   \
    X(isa, gemm_f32_panels)         \
    X(isa, gemm_f32_sparse_batch)   \
    X(isa, gemm_f32_sparse_row)     \
    X(isa, pool_f32_average)        \
    X(isa, pool_f32_average_blocks) \
    X(isa, pool_f32_max)            \
    X(isa, pool_f32_max_blocks)     \
    X(isa, reorder_f32_block)       \
    X(isa, reorder_f32_plain)       \
    X(isa, softmax_f32)             \
    X(isa, unary_f32_copy)          \
    X(isa, unary_f32_leaky_relu)    \
    X(isa, unary_f32_relu)          \
    X(isa, unary_f32_sigmoid)       \
    X(isa, unary_f32_tanh)

#if LISSOME_HAVE_avx512
#define LISSOME_EACH_AVX512(X) LISSOME_EACH_KERNEL(X, avx512)
#else
#define LISSOME_EACH_AVX512(X)
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

#define LISSOME_EACH(X) LISSOME_EACH_AVX512(X) LISSOME_EACH_AVX2(X) LISSOME_EACH_NEON(X) LISSOME_EACH_KERNEL(X, scalar)

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
