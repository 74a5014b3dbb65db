// unary_f32_*: functions of one tensor, element by element. A task is a run of 4096 elements.
#include "core/activation.h"
#include "core/functions.h"
#include "core/kernel.h"

namespace lissome::LISSOME_ISA {
namespace {

constexpr int64_t kRun = 4096;

int64_t no_workspace(const Shape&, int) {
    return 0;
}

int64_t tasks(const Shape& shape, int) {
    return ceil_div(shape.element.count, kRun);
}

// What each function is called with beside x: the node's constants.
struct Constants {
    Vec a, b;
};

#define LISSOME_FUNCTION(name) LISSOME_INLINE Vec name([[maybe_unused]] Vec x, [[maybe_unused]] const Constants& c)

LISSOME_FUNCTION(copy) {
    return x;
}
LISSOME_FUNCTION(rectify) {
    return relu(x);
}
LISSOME_FUNCTION(leak) {
    return pick(less(x, zero()), multiply(x, c.a), x);
}
LISSOME_FUNCTION(clip) {
    return clamp(x, c.a, c.b);
}
LISSOME_FUNCTION(magnitude) {
    return absolute(x);
}
LISSOME_FUNCTION(opposite) {
    return negate(x);
}
LISSOME_FUNCTION(inverse) {
    return divide(broadcast(1.0f), x);
}
LISSOME_FUNCTION(root) {
    return square_root(x);
}
LISSOME_FUNCTION(floored) {
    return round_down(x);
}
LISSOME_FUNCTION(raised) {
    return round_up(x);
}
LISSOME_FUNCTION(rounded) {
    return nearest(x);
}
LISSOME_FUNCTION(sign) {
    const Vec one = broadcast(1.0f);
    return pick(less(x, zero()), negate(one), pick(less(zero(), x), one, x));
}
LISSOME_FUNCTION(signs_of) {
    const Vec one = broadcast(1.0f), below = broadcast(-__FLT_DENORM_MIN__);  // the largest negative number
    return pick(less(below, x), one, negate(one));
}
LISSOME_FUNCTION(exponent) {
    return exponential(x);
}
LISSOME_FUNCTION(natural_logarithm) {
    return logarithm(x);
}
LISSOME_FUNCTION(sine) {
    return each<sinf>(x);
}
LISSOME_FUNCTION(cosine) {
    return each<cosf>(x);
}
LISSOME_FUNCTION(sigmoid) {
    return logistic(x);
}
LISSOME_FUNCTION(tangent) {
    return hyperbolic_tangent(x);
}
LISSOME_FUNCTION(error) {
    return error_function(x);
}
LISSOME_FUNCTION(hard_sigmoid) {
    return clamp(fma(x, c.a, c.b), zero(), broadcast(1.0f));
}
LISSOME_FUNCTION(hard_swish) {
    return activate(x, Activation{ActivationKind::hard_swish});
}
LISSOME_FUNCTION(swish) {
    return multiply(x, logistic(multiply(x, c.a)));
}
LISSOME_FUNCTION(gelu) {
    const Vec half = multiply(x, broadcast(0.5f));
    return fma(half, error_function(multiply(x, broadcast(0.707106781f))), half);
}
LISSOME_FUNCTION(gelu_tanh) {
    const Vec half = multiply(x, broadcast(0.5f)), cube = multiply(multiply(x, x), x);
    const Vec inner = multiply(broadcast(0.797884561f), fma(cube, broadcast(0.044715f), x));
    return fma(half, hyperbolic_tangent(inner), half);
}
LISSOME_FUNCTION(elu) {
    return pick(less(x, zero()), multiply(c.a, exponential_minus_one(x)), x);
}
LISSOME_FUNCTION(softplus) {
    return add(relu(x), logarithm_plus_one(exponential(negate(absolute(x)))));
}
LISSOME_FUNCTION(softsign) {
    return divide(x, add(broadcast(1.0f), absolute(x)));
}
// tanh(ln(1 + eˣ)) = (e² + 2e) / (e² + 2e + 2) with e = eˣ, or both over e² where that could overflow.
LISSOME_FUNCTION(mish) {
    const Vec e = exponential(negate(absolute(x))), two = broadcast(2.0f);
    const Int negative = less(x, zero());
    const Vec above = pick(negative, multiply(e, add(e, two)), fma(two, e, broadcast(1.0f)));
    const Vec beside = pick(negative, two, multiply(two, multiply(e, e)));
    return multiply(x, divide(above, add(above, beside)));
}

template <Vec (*function)(Vec, const Constants&)>
void run(const Call& call, int64_t begin, int64_t end, int) {
    const ElementShape& e = call.shape->element;
    const Constants constants{broadcast(e.alpha), broadcast(e.beta)};
    const int64_t last = least(end * kRun, e.count);
    const float* x = call.in[0];
    float* y = call.out[0];
    int64_t i = begin * kRun;
    for (; i + kLanes <= last; i += kLanes) {
        store(y + i, function(load(x + i), constants));
    }
    if (i < last) {
        store_some(y + i, function(load_some(x + i, last - i), constants), last - i);
    }
}

}  // namespace

#define LISSOME_UNARY(name, function)         \
    extern const Kernel name;                 \
    const Kernel name = {LISSOME_NAME(#name), \
                         Op::unary,           \
                         Isa::LISSOME_ISA,    \
                         Form::none,          \
                         0,                   \
                         no_workspace,        \
                         {{tasks, run<function>}, {nullptr, nullptr}}}

LISSOME_UNARY(unary_f32_abs, magnitude);
LISSOME_UNARY(unary_f32_binarize, signs_of);
LISSOME_UNARY(unary_f32_ceil, raised);
LISSOME_UNARY(unary_f32_clip, clip);
LISSOME_UNARY(unary_f32_copy, copy);
LISSOME_UNARY(unary_f32_cos, cosine);
LISSOME_UNARY(unary_f32_elu, elu);
LISSOME_UNARY(unary_f32_erf, error);
LISSOME_UNARY(unary_f32_exp, exponent);
LISSOME_UNARY(unary_f32_floor, floored);
LISSOME_UNARY(unary_f32_gelu, gelu);
LISSOME_UNARY(unary_f32_gelu_tanh, gelu_tanh);
LISSOME_UNARY(unary_f32_hard_sigmoid, hard_sigmoid);
LISSOME_UNARY(unary_f32_hard_swish, hard_swish);
LISSOME_UNARY(unary_f32_leaky_relu, leak);
LISSOME_UNARY(unary_f32_log, natural_logarithm);
LISSOME_UNARY(unary_f32_mish, mish);
LISSOME_UNARY(unary_f32_negate, opposite);
LISSOME_UNARY(unary_f32_reciprocal, inverse);
LISSOME_UNARY(unary_f32_relu, rectify);
LISSOME_UNARY(unary_f32_round, rounded);
LISSOME_UNARY(unary_f32_sigmoid, sigmoid);
LISSOME_UNARY(unary_f32_sign, sign);
LISSOME_UNARY(unary_f32_sin, sine);
LISSOME_UNARY(unary_f32_softplus, softplus);
LISSOME_UNARY(unary_f32_softsign, softsign);
LISSOME_UNARY(unary_f32_sqrt, root);
LISSOME_UNARY(unary_f32_swish, swish);
LISSOME_UNARY(unary_f32_tanh, tangent);

}  // namespace lissome::LISSOME_ISA
