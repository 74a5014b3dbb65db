// A binary range coder with 32-bit range and carry propagation; probabilities have 16 bits. Normative:
// docs/coder-small.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace lissome {

// Appends to `out`. Any sequence of `encode` followed by one `finish` is decodable by RangeDecoder.
class RangeEncoder {
  public:
    explicit RangeEncoder(std::vector<std::uint8_t>& out) : out_(out), start_(out.size()) {}

    // Codes `bit`, which is 1 with probability p / 65536; 1 <= p <= 65535.
    int code(int bit, std::uint32_t p) {
        const auto bound = static_cast<std::uint32_t>((std::uint64_t{range_} * p) >> 16);
        if (bit != 0) {
            range_ = bound;
        } else {
            add(bound);
            range_ -= bound;
        }
        while (range_ < (1U << 24)) {
            out_.push_back(static_cast<std::uint8_t>(low_ >> 24));
            low_ <<= 8;
            range_ <<= 8;
        }
        return bit;
    }

    // Ends the stream with no byte when a number of the interval has no digits left, with one byte otherwise.
    void finish() {
        if (low_ == 0) return;
        if (low_ + std::uint64_t{range_} > (std::uint64_t{1} << 32)) {
            carry();
            return;
        }
        const std::uint32_t step = 1U << 24;
        out_.push_back(static_cast<std::uint8_t>((low_ + (step - 1)) >> 24));
    }

  private:
    void add(std::uint32_t bound) {
        low_ += bound;
        if (low_ < bound) carry();
    }

    // The coded number stays below 1, so a carry always finds a byte that is not 255.
    void carry() {
        std::size_t i = out_.size();
        while (i > start_ && ++out_[--i] == 0) {
        }
    }

    std::vector<std::uint8_t>& out_;
    std::size_t start_;
    std::uint32_t low_ = 0;
    std::uint32_t range_ = 0xFFFFFFFFU;
};

// Reads what RangeEncoder wrote. Past the end it sees zeros; `exhausted` tells when no encoder could have meant that.
class RangeDecoder {
  public:
    explicit RangeDecoder(std::span<const std::uint8_t> data) : data_(data) {
        for (int i = 0; i < 4; ++i) shift();
    }

    int code(int /*unused: the encoder's bit*/, std::uint32_t p) {
        const auto bound = static_cast<std::uint32_t>((std::uint64_t{range_} * p) >> 16);
        const int bit = offset_ < bound ? 1 : 0;
        // Without a branch, which would be mispredicted as often as the bit is a surprise.
        const std::uint32_t zero = static_cast<std::uint32_t>(bit) - 1;
        offset_ -= bound & zero;
        range_ = bit != 0 ? bound : range_ - bound;
        while (range_ < (1U << 24)) {
            shift();
            range_ <<= 8;
        }
        return bit;
    }

    // An encoder never leaves more than four bytes to be read past its end.
    bool exhausted() const { return next_ > data_.size() + 4; }

    // Whether the stream ends here and its last byte is the one that RangeEncoder::finish chooses.
    bool finished() const {
        const std::uint32_t low = window_ - offset_;
        std::uint32_t last = 0;
        std::size_t bytes = 0;
        if (low != 0 && low + std::uint64_t{range_} <= (std::uint64_t{1} << 32)) {
            last = (low + ((1U << 24) - 1)) & 0xFF000000U;
            bytes = 1;
        }
        return window_ == last && data_.size() == next_ - 4 + bytes;
    }

  private:
    void shift() {
        const std::uint32_t byte = next_ < data_.size() ? data_[next_] : 0;
        ++next_;
        offset_ = (offset_ << 8) | byte;
        window_ = (window_ << 8) | byte;
    }

    std::span<const std::uint8_t> data_;
    std::size_t next_ = 0;
    std::uint32_t offset_ = 0;  // coded number minus the low end of the interval
    std::uint32_t window_ = 0;  // the last four bytes read: offset_ and this give the encoder's low end
    std::uint32_t range_ = 0xFFFFFFFFU;
};

}  // namespace lissome
