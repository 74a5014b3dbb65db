// Elementary functions of a vector, the same polynomials on every instruction set.
//
// Coefficients are minimax fits in float64, rounded to float32 (bench/polynomials.py prints them with their errors);
// errors below are the largest found against float64 over all of float32's range, in units in the last place.
// NaN gives NaN, and what overflows gives infinity, as in NumPy.
// Included only by sources that are compiled once per instruction set.
#pragma once

#include "core/lanes.h"

namespace lissome::LISSOME_ISA {

// The nearest whole number, halves to even. From 2^23 on every float is whole.
LISSOME_INLINE Vec nearest(Vec x) {
    const Vec size = absolute(x), big = broadcast(8388608.0f);
    const Vec rounded = with_sign(subtract(add(size, big), big), x);
    return pick(less(size, big), rounded, x);
}
LISSOME_INLINE Vec round_down(Vec x) {
    const Vec near = nearest(x);
    return with_sign(absolute(pick(less(x, near), subtract(near, broadcast(1.0f)), near)), x);
}
LISSOME_INLINE Vec round_up(Vec x) {
    return negate(round_down(negate(x)));
}

LISSOME_INLINE Vec polynomial(Vec, Vec sum) {
    return sum;
}
// The coefficients from the highest power down.
template <class... Rest>
LISSOME_INLINE Vec polynomial(Vec x, Vec sum, float next, Rest... rest) {
    return polynomial(x, fma(sum, x, broadcast(next)), rest...);
}

// eʳ = 1 + r + r² · p(r) for |r| ≤ ln 2 / 2.
LISSOME_INLINE Vec exponential_tail(Vec r) {
    return polynomial(r, broadcast(1.39517173e-3f), 8.36959841e-3f, 0.0416661873f, 0.166665129f, 0.50000001f);
}

// eˣ = 2ⁿ · eʳ with x = n · ln 2 + r; ln 2 in two parts, of which the first times n is exact. 1.1 units.
LISSOME_INLINE Vec exponential(Vec x) {
    x = clamp(x, broadcast(-104.0f), broadcast(89.0f));
    const Vec shift = broadcast(12582912.0f);  // 1.5 · 2²³: adding it rounds, and leaves n in the lowest bits
    const Vec shifted = fma(x, broadcast(1.44269504f), shift), n = subtract(shifted, shift);
    const Vec r = fma(n, broadcast(2.12194440e-4f), fma(n, broadcast(-0.693359375f), x));
    const Vec y = add(fma(multiply(r, r), exponential_tail(r), r), broadcast(1.0f));
    // 2ⁿ in two factors, as n alone may be too small or too large for one.
    const Int power = bits_of(shifted) - bits_of(shift), half = power >> 1;
    const Vec first = from_bits((half + 127) << 23), second = from_bits((power - half + 127) << 23);
    return multiply(multiply(y, first), second);
}

// eˣ − 1 for x ≤ 0, small where x is. 1.6 units.
LISSOME_INLINE Vec exponential_minus_one(Vec x) {
    const Vec small = fma(multiply(x, x), exponential_tail(x), x);
    return pick(less(broadcast(-0.34f), x), small, subtract(exponential(x), broadcast(1.0f)));
}

// x = 2ᵉ · (1 + f) with f from √½ − 1 to √2 − 1; ln(1 + f) = f − f² / 2 + f³ · p(f). 0.9 units.
LISSOME_INLINE Vec logarithm(Vec x) {
    const Int tiny = less(x, broadcast(1.17549435e-38f));
    const Vec scaled = pick(tiny, multiply(x, broadcast(8388608.0f)), x);
    const Int shifted = (Int)((Bits)scaled - 0x3f3504f3u);  // √½: the mantissa from there on counts as above 1
    const Vec e = subtract((Vec) __builtin_convertvector(shifted >> 23, Float), pick(tiny, broadcast(23.0f), zero()));
    const Vec f = subtract(from_bits((shifted & 0x7fffff) + 0x3f3504f3), broadcast(1.0f));
    const Vec p = polynomial(f, broadcast(-0.0785954587f), 0.128816224f, -0.131287676f, 0.141811961f, -0.166245531f,
                             0.200022861f, -0.250008104f, 0.333333167f);
    const Vec square = multiply(f, f);
    Vec y = fma(multiply(square, f), p, multiply(e, broadcast(-2.12194440e-4f)));
    y = fma(square, broadcast(-0.5f), y);
    y = fma(e, broadcast(0.693359375f), add(f, y));
    y = pick(less(x, broadcast(__builtin_inff())), y, x);  // infinity, and NaN
    y = pick((Int)((Float)x == (Float)zero()), broadcast(-__builtin_inff()), y);
    return pick(less(x, zero()), broadcast(__builtin_nanf("")), y);
}

// ln(1 + x) for x ≥ 0: what rounding 1 + x lost is given back (Kahan; Higham, Accuracy and Stability, section 1.14.1).
LISSOME_INLINE Vec logarithm_plus_one(Vec x) {
    const Vec sum = add(broadcast(1.0f), x), kept = subtract(sum, broadcast(1.0f));
    const Int lost = less(kept, broadcast(1e-30f));
    return pick(lost, x, multiply(logarithm(sum), divide(x, pick(lost, broadcast(1.0f), kept))));
}

// 1 / (1 + e⁻ˣ) by the side of exp that cannot overflow, so that both tails are right. 2.2 units.
LISSOME_INLINE Vec logistic(Vec x) {
    const Vec e = exponential(negate(absolute(x))), one = broadcast(1.0f);
    return divide(pick(less(x, zero()), e, one), add(one, e));
}

// x + x³ · p(x²) up to 0.625, then 1 − 2 / (e²ˣ + 1). 1.4 units.
LISSOME_INLINE Vec hyperbolic_tangent(Vec x) {
    const Vec size = absolute(x), square = multiply(x, x), one = broadcast(1.0f);
    const Vec p =
        polynomial(square, broadcast(-5.71703656e-3f), 0.020650579f, -0.0537434953f, 0.133314912f, -0.333332839f);
    const Vec small = fma(multiply(square, x), p, x);
    const Vec e = exponential(add(size, size)), large = subtract(one, divide(broadcast(2.0f), add(e, one)));
    return pick(less(broadcast(0.625f), size), with_sign(large, x), small);
}

// x · p(x²) up to 0.95, then 1 − e to a polynomial (ln(1 − erf) is smooth), which is 1 from 4 on. 2.5 units.
LISSOME_INLINE Vec error_function(Vec x) {
    const Vec size = absolute(x), square = multiply(x, x);
    const Vec small = multiply(x, polynomial(square, broadcast(8.21542373e-5f), -8.10596512e-4f, 5.19779717e-3f,
                                             -0.0268581043f, 0.112836725f, -0.376126323f, 1.12837917f));
    const Vec a = clamp(size, zero(), broadcast(4.0f));
    const Vec q = polynomial(a, broadcast(-1.07633604e-5f), 3.18061473e-4f, -3.62292566e-3f, 0.0237201998f,
                             -0.106187626f, -0.63518149f, -1.12864097f);
    const Vec large = subtract(broadcast(1.0f), exponential(multiply(a, q)));
    return pick(less(broadcast(0.95f), size), with_sign(large, x), small);
}

}  // namespace lissome::LISSOME_ISA
