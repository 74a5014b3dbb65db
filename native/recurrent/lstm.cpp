// lstm_f32: one direction of an LSTM, whose products with the input a matrix product has made before:
//   i, f = σ(x + R h + p c);  c' = f c + i tanh(x + R h);  o = σ(x + R h + p c');  h' = o tanh(c')
// in[0]: those products with the biases, (steps, batch, 4 H), H the hidden units in whole vectors, the gates i, o, f, c
// of a vector of units side by side; in[1], in[2]: h and c at first, (batch, hidden); in[3]: peepholes of i, o, f, (3,
// H). Weights: R in panels of those four vectors. out[0]: (steps, directions, batch, hidden), of which this direction
// is written; out[1], out[2]: h and c at last. A task is one sample.
#include "core/functions.h"
#include "core/kernel.h"

namespace lissome::LISSOME_ISA {
namespace {

constexpr int64_t kGates = 4;

// The state h twice, old and new, then c.
int64_t workspace_bytes(const Shape& shape, int workers) {
    return workers * 3 * shape.recurrent.units * 4;
}

int64_t tasks(const Shape& shape, int) {
    return shape.recurrent.batch;
}

struct Gates {
    Vec at[kGates];
};

// x + R h for one vector of units. Even and odd k in sums of their own: one chain of additions would wait for itself.
LISSOME_INLINE Gates gates(const float* x, const float* weights, const float* h, int64_t hidden) {
    Gates even, odd;
    for (int g = 0; g < kGates; ++g) {
        even.at[g] = load(x + g * kLanes);
        odd.at[g] = zero();
    }
    int64_t k = 0;
    for (; k + 2 <= hidden; k += 2) {
        const Vec first = broadcast(h[k]), second = broadcast(h[k + 1]);
        for (int g = 0; g < kGates; ++g) {
            even.at[g] = fma(first, load(weights + (k * kGates + g) * kLanes), even.at[g]);
            odd.at[g] = fma(second, load(weights + ((k + 1) * kGates + g) * kLanes), odd.at[g]);
        }
    }
    for (int g = 0; g < kGates; ++g) {
        if (k < hidden) {
            even.at[g] = fma(broadcast(h[k]), load(weights + (k * kGates + g) * kLanes), even.at[g]);
        }
        even.at[g] = add(even.at[g], odd.at[g]);
    }
    return even;
}

void run(const Call& call, int64_t begin, int64_t end, int worker) {
    const RecurrentShape& s = call.shape->recurrent;
    const int64_t units = s.units;
    float* states = reinterpret_cast<float*>(call.workspace) + worker * 3 * units;
    const float* peepholes = call.in[3];
    for (int64_t sample = begin; sample < end; ++sample) {
        float *h = states, *next = states + units, *c = states + 2 * units;
        for (int64_t i = 0; i < units; ++i) {
            h[i] = i < s.hidden ? call.in[1][sample * s.hidden + i] : 0.0f;
            c[i] = i < s.hidden ? call.in[2][sample * s.hidden + i] : 0.0f;
        }
        for (int64_t step = 0; step < s.steps; ++step) {
            const int64_t t = s.reverse ? s.steps - 1 - step : step;
            const float* x = call.in[0] + (t * s.batch + sample) * kGates * units;
            float* y = call.out[0] + ((t * s.directions + s.direction) * s.batch + sample) * s.hidden;
            for (int64_t u = 0; u < units; u += kLanes) {
                const Gates sums = gates(x + u * kGates, call.weights.dense + u * kGates * s.hidden, h, s.hidden);
                const Vec before = load(c + u);
                const Vec input = logistic(fma(load(peepholes + u), before, sums.at[0]));
                const Vec forget = logistic(fma(load(peepholes + 2 * units + u), before, sums.at[2]));
                const Vec cell = fma(forget, before, multiply(input, hyperbolic_tangent(sums.at[3])));
                const Vec output = logistic(fma(load(peepholes + units + u), cell, sums.at[1]));
                store(c + u, cell);
                store(next + u, multiply(output, hyperbolic_tangent(cell)));
                store_some(y + u, load(next + u), least(s.hidden - u, kLanes));
            }
            float* const old = h;
            h = next;
            next = old;
        }
        for (int64_t i = 0; i < s.hidden; ++i) {
            call.out[1][sample * s.hidden + i] = h[i];
            call.out[2][sample * s.hidden + i] = c[i];
        }
    }
}

}  // namespace

extern const Kernel lstm_f32;
const Kernel lstm_f32 = {
    LISSOME_NAME("lstm_f32"),          Op::lstm, Isa::LISSOME_ISA, Form::panels, kGates * kLanes, workspace_bytes,
    {{tasks, run}, {nullptr, nullptr}}};

}  // namespace lissome::LISSOME_ISA
