// Integer arithmetic under the context-modelling coders: logits, adaptive counters, natural logarithms. Every step is
// exact, so that every machine and instruction set decodes the same bits. Normative: docs/coder-small.md, "Arithmetic".
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace lissome {

// Logits have 256 units a nat and stay within ±2815, which is a probability of 1 in 59,600.
inline constexpr int kLogitMax = 2815;

class Logistic {
  public:
    // 65536 / (1 + exp(-logit / 256)): a probability of 1 to 65535 parts of 65536.
    static int squash(int logit) { return tables_.squash[static_cast<std::size_t>(logit + kLogitMax)]; }

    // The largest logit that squashes to at most `p`, for p of 0 to 65535.
    static int stretch(std::uint32_t p) { return tables_.stretch[p]; }

    // ln(x) in 2^-16 nats, for x of at least 1.
    static std::int64_t ln(std::uint64_t x) {
        const int shift = static_cast<int>(std::bit_width(x)) - 1;
        const std::uint64_t top = shift >= 11 ? x >> (shift - 11) : x << (11 - shift);
        return tables_.ln[top - 2048] + shift * std::int64_t{kLn2};
    }

    static int clamp(std::int64_t logit) {
        return static_cast<int>(logit < -kLogitMax ? -kLogitMax : logit > kLogitMax ? kLogitMax : logit);
    }

  private:
    static constexpr int kLn2 = 45426;  // ln 2 in 2^-16 nats

    struct Tables {
        std::array<std::uint16_t, 2 * kLogitMax + 1> squash;
        std::array<std::int16_t, 65536> stretch;
        std::array<std::int32_t, 2048> ln;  // of 1 + i / 2048
        Tables();
    };
    static const Tables tables_;
};

// The probability that a bit is 1 where a context says so, learnt from how often it was: the k-th observation moves it
// by 1/(k + 1.5), until `limit` observations make that a fixed rate.
class Counter {
  public:
    static constexpr int kMaxLimit = 1023;

    int seen() const { return static_cast<int>(state_ & 1023); }
    std::uint32_t p() const { return state_ >> 16; }  // in 65536ths
    void start(int p, int seen = 0) { state_ = static_cast<std::uint32_t>(p << 16 | seen); }
    void forget(int seen_at_most) {
        if (seen() > seen_at_most) {
            state_ = (state_ & ~1023U) | static_cast<std::uint32_t>(seen_at_most);
        }
    }

    void update(int bit, int limit) {
        const std::int64_t target = bit != 0 ? (1 << 22) - 1 : 0;
        const std::int64_t p22 = state_ >> 10;
        const int n = seen();
        const std::int64_t moved = p22 + (((target - p22) * kRate[static_cast<std::size_t>(n)]) >> 16);
        state_ = static_cast<std::uint32_t>(moved << 10) | static_cast<std::uint32_t>(n < limit ? n + 1 : n);
    }

  private:
    // 65536 / (n + 1.5)
    static constexpr std::array<std::int32_t, kMaxLimit + 1> kRate = [] {
        std::array<std::int32_t, kMaxLimit + 1> rate{};
        for (int n = 0; n <= kMaxLimit; ++n) {
            rate[static_cast<std::size_t>(n)] = 131072 / (2 * n + 3);
        }
        return rate;
    }();

    std::uint32_t state_ = 1U << 31;  // probability in the upper 22 bits, observations in the lower 10
};

}  // namespace lissome
