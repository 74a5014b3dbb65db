// Logistic mixing: many contexts' opinions of one bit become one probability. Normative: docs/coder-small.md, "Mixing".
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "codec/logistic.h"

namespace lissome {

// How fast a mixer learns: steps start at `first` and fall as 16/(16 + k) to `last`, in 65536ths.
struct MixRates {
    int first;
    int last;
};

// Weights of one mixer, a set of them for each value of a selecting context.
template <std::size_t kInputs>
class Mixer {
  public:
    using Inputs = std::array<int, kInputs>;

    // The first input starts with weight 1 (in 65536ths), the last with 0, those between with `weight`.
    Mixer(std::size_t sets, int weight, MixRates rates) : sets_(sets), rates_(rates) {
        for (Set& set : sets_) {
            set.weights.fill(weight);
            set.weights.front() = 65536;
            set.weights.back() = 0;
        }
    }

    int mix(const Inputs& inputs, std::size_t set) const {
        std::int64_t sum = 0;
        for (std::size_t i = 0; i < kInputs; ++i) {
            sum += std::int64_t{sets_[set].weights[i]} * inputs[i];
        }
        return Logistic::clamp(sum >> 16);
    }

    // Gradient step on the cost of coding `bit` with the logit that `mix` gave.
    void learn(const Inputs& inputs, std::size_t set, int logit, int bit) {
        Set& s = sets_[set];
        const int slowed = rates_.first * 16 / (16 + s.steps);
        const std::int64_t step =
            std::int64_t{slowed > rates_.last ? slowed : rates_.last} * ((bit << 16) - Logistic::squash(logit));
        s.steps += s.steps < kMaxSteps ? 1 : 0;
        for (std::size_t i = 0; i < kInputs; ++i) {
            s.weights[i] += static_cast<std::int32_t>((step * inputs[i] + (1 << 23)) >> 24);
        }
    }

  private:
    static constexpr int kMaxSteps = 4095;
    struct Set {
        std::array<std::int32_t, kInputs> weights;
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
        std::array<int, kContexts + 2> inputs;
        inputs.front() = base;
        inputs.back() = 64;
        for (std::size_t i = 0; i < kContexts; ++i) {
            Counter& counter = *contexts[i];
            const int seen = counter.seen();
            if (seen == 0) {
                counter.start(Logistic::squash(base));
            }
            inputs[i + 1] =
                ((Logistic::stretch(counter.p()) - base) * kConfidence[static_cast<std::size_t>(seen)]) >> 8;
        }
        const int logit_a = a_.mix(inputs, set_a);
        const int logit_b = b_.mix(inputs, set_b);
        bit = coder.code(bit, static_cast<std::uint32_t>(Logistic::squash((logit_a + logit_b) >> 1)));
        a_.learn(inputs, set_a, logit_a, bit);
        b_.learn(inputs, set_b, logit_b, bit);
        for (Counter* counter : contexts) {
            counter->update(bit, limit_);
        }
        return bit;
    }

  private:
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
