// Logistic mixing: many contexts' opinions of one bit become one probability. Normative: docs/coder-small.md, "Mixing".
#pragma once

#include <algorithm>
#include <array>
#include <cfloat>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "codec/logistic.h"

namespace lissome {

// How fast a mixer learns: steps start at `first` and fall as 16/(16 + k) to `last`, in 65536ths.
struct MixRates {
    int first;
    int last;
};

// Two numbers side by side. All here are integers (or multiples of 2^-26) far below 2^53, which doubles hold exactly:
// so the result is that of integer arithmetic, and every processor has the instructions to do two at once.
using Pair = double __attribute__((vector_size(16)));
static_assert(std::numeric_limits<double>::is_iec559 && FLT_EVAL_METHOD == 0);

// Weights of one mixer, a set of them for each value of a selecting context.
template <std::size_t kInputs>
class Mixer {
  public:
    static constexpr std::size_t kPairs = (kInputs + 1) / 2;
    using Inputs = std::array<Pair, kPairs>;  // an odd one out has a 0 beside it

    // The first input starts with weight 1 (in 65536ths), the last with 0, those between with `weight`.
    Mixer(std::size_t sets, int weight, MixRates rates) : rates_(rates) {
        Set start;
        for (std::size_t i = 0; i < 2 * kPairs; ++i) {
            start.weights[i / 2][i % 2] = i == 0 ? 65536 : i + 1 < kInputs ? weight : 0;
        }
        sets_.assign(sets, start);
    }

    int mix(const Inputs& inputs, std::size_t set) const {
        const Set& s = sets_[set];
        Pair sum = s.weights[0] * inputs[0];
#pragma GCC unroll 8
        for (std::size_t i = 1; i < kPairs; ++i) {
            sum += s.weights[i] * inputs[i];
        }
        return Logistic::clamp(static_cast<std::int64_t>(sum[0] + sum[1]) >> 16);
    }

    // Gradient step on the cost of coding `bit` with the logit that `mix` gave.
    void learn(const Inputs& inputs, std::size_t set, int logit, int bit) {
        Set& s = sets_[set];
        const int rate = s.steps < kSlowed ? std::max(rates_.first * 16 / (16 + s.steps), rates_.last) : rates_.last;
        s.steps += s.steps < kSlowed ? 1 : 0;
        // (step * input + 2^23) >> 24 without shifts: beside 3 * 2^51 a double has no room for fractions and rounds to
        // the nearest integer; a quarter of the last place makes halves go up.
        const double step = rate * ((bit << 16) - Logistic::squash(logit)) * 0x1p-24;
        constexpr double kRounder = 0x3p51;
#pragma GCC unroll 8
        for (std::size_t i = 0; i < kPairs; ++i) {
            s.weights[i] += ((step * inputs[i] + 0x1p-26) + kRounder) - kRounder;
        }
    }

  private:
    static constexpr int kSlowed = 128;  // after so many steps every mixer's rate is its last
    struct Set {
        std::array<Pair, kPairs> weights;
        int steps = 0;
    };
    std::vector<Set> sets_;
    MixRates rates_;
};

// Codes bits of one kind: `contexts` counters each add what they know beyond a base logit, weighted by how much they
// have seen; two mixers, whose weights are chosen by different contexts, are averaged.
template <std::size_t kContexts>
class MixedBit {
  public:
    using Contexts = std::array<Counter*, kContexts>;

    MixedBit(std::size_t sets_a, std::size_t sets_b, int weight, MixRates rates, int limit)
        : a_(sets_a, weight, rates), b_(sets_b, weight, rates), limit_(limit) {}

    // `bit` is what an encoder codes; a decoder ignores it. Returns the bit coded.
    template <class Coder>
    int code(Coder& coder, int bit, int base, const Contexts& contexts, std::size_t set_a, std::size_t set_b) {
        const auto input = [&](std::size_t i) {
            return i == 0 ? base : i <= kContexts ? beyond(base, *contexts[i - 1]) : i == kContexts + 1 ? 64 : 0;
        };
        typename Mixer<kContexts + 2>::Inputs inputs;
#pragma GCC unroll 8
        for (std::size_t i = 0; i < inputs.size(); ++i) {
            inputs[i] = Pair{static_cast<double>(input(2 * i)), static_cast<double>(input(2 * i + 1))};
        }
        const int logit_a = a_.mix(inputs, set_a);
        const int logit_b = b_.mix(inputs, set_b);
        bit = coder.code(bit, static_cast<std::uint32_t>(Logistic::squash((logit_a + logit_b) >> 1)));
        a_.learn(inputs, set_a, logit_a, bit);
        b_.learn(inputs, set_b, logit_b, bit);
#pragma GCC unroll 8
        for (std::size_t i = 0; i < kContexts; ++i) {
            contexts[i]->update(bit, limit_);
        }
        return bit;
    }

  private:
    // What a counter knows beyond the base logit, by how much it has seen; one that saw nothing starts from there.
    static int beyond(int base, Counter& counter) {
        const int seen = counter.seen();
        if (seen == 0) [[unlikely]] {
            counter.start(Logistic::squash(base));
        }
        return ((Logistic::stretch(counter.p()) - base) * kConfidence[static_cast<std::size_t>(seen)]) >> 8;
    }

    // 256 n / (n + 2)
    static constexpr std::array<int, Counter::kMaxLimit + 1> kConfidence = [] {
        std::array<int, Counter::kMaxLimit + 1> confidence{};
        for (int n = 0; n <= Counter::kMaxLimit; ++n) {
            confidence[static_cast<std::size_t>(n)] = 256 * n / (n + 2);
        }
        return confidence;
    }();

    Mixer<kContexts + 2> a_;
    Mixer<kContexts + 2> b_;
    int limit_;
};

// A bit with one counter and nothing to mix.
template <class Coder>
int code_plain(Coder& coder, int bit, Counter& counter, int limit) {
    bit = coder.code(bit, static_cast<std::uint32_t>(Logistic::squash(Logistic::stretch(counter.p()))));
    counter.update(bit, limit);
    return bit;
}

}  // namespace lissome
