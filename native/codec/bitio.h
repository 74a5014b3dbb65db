// Bits in the order they are written, the first in the highest bit of a byte; counts as exponential Golomb codes.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "codec/errors.h"

namespace lissome {

class BitWriter {
  public:
    // The low `count` bits of `value`, the highest of them first; count is at most 56.
    void put(std::uint64_t value, unsigned count) {
        pending_ = (pending_ << count) | (value & ((std::uint64_t{1} << count) - 1));
        pending_bits_ += count;
        while (pending_bits_ >= 8) {
            pending_bits_ -= 8;
            bytes_.push_back(static_cast<std::uint8_t>(pending_ >> pending_bits_));
        }
    }

    // Exponential Golomb code of order k: with v = value + 2^k, as many zeros as v has bits beyond k + 1, then v.
    void put_count(std::uint64_t value, unsigned k = 0) {
        const std::uint64_t v = value + (std::uint64_t{1} << k);
        const unsigned bits = static_cast<unsigned>(std::bit_width(v));
        put(0, bits - k - 1);
        put(v, bits);
    }

    // How many bits put_count takes.
    static unsigned count_bits(std::uint64_t value, unsigned k = 0) {
        return 2 * static_cast<unsigned>(std::bit_width(value + (std::uint64_t{1} << k))) - k - 1;
    }

    // Zeros up to the next byte.
    void align() {
        if (pending_bits_ > 0) {
            put(0, 8 - pending_bits_);
        }
    }

    void append(std::span<const std::uint8_t> whole_bytes) {
        align();
        bytes_.insert(bytes_.end(), whole_bytes.begin(), whole_bytes.end());
    }

    std::uint64_t bits_written() const { return std::uint64_t{8} * bytes_.size() + pending_bits_; }

    std::vector<std::uint8_t> finish() {
        align();
        return std::move(bytes_);
    }

  private:
    std::vector<std::uint8_t> bytes_;
    std::uint64_t pending_ = 0;
    unsigned pending_bits_ = 0;  // fewer than 8 between calls
};

// Reads zeros past the end and remembers that it did: hot loops test `check` once, after a count of steps that the
// length of the data bounds.
class BitReader {
  public:
    explicit BitReader(std::span<const std::uint8_t> data) : data_(data) {}

    // At least the next 57 bits, the first in the highest bit.
    std::uint64_t window() const {
        const std::uint64_t at = position_ >> 3;
        std::uint64_t word = 0;
        if (at + 8 <= data_.size()) [[likely]] {
            std::memcpy(&word, data_.data() + at, 8);
            if constexpr (std::endian::native == std::endian::little) {
                word = __builtin_bswap64(word);
            }
        } else {
            for (unsigned i = 0; i < 8; ++i) {
                word = (word << 8) | (at + i < data_.size() ? data_[at + i] : 0u);
            }
        }
        return word << (position_ & 7);
    }

    void skip(unsigned count) { position_ += count; }

    // The next `count` bits as a number; count is at most 57.
    std::uint64_t get(unsigned count) {
        const std::uint64_t value = (window() >> 1) >> (63 - count);
        position_ += count;
        return value;
    }

    // The inverse of BitWriter::put_count; throws FormatError past the end or for a value of 2^48 or more.
    std::uint64_t get_count(unsigned k = 0) {
        const unsigned zeros = static_cast<unsigned>(std::countl_zero(window()));
        if (zeros + k > 48) {
            throw FormatError("a count of 2^48 or more, or the stream ends early");
        }
        skip(zeros);
        const std::uint64_t value = get(zeros + k + 1) - (std::uint64_t{1} << k);
        check();
        if (value >> 48) {
            throw FormatError("a count of 2^48 or more");
        }
        return value;
    }

    // Bits not yet read.
    std::uint64_t left() const {
        const std::uint64_t all = std::uint64_t{8} * data_.size();
        return position_ < all ? all - position_ : 0;
    }

    // Throws FormatError when more was read than there is.
    void check() const {
        if (position_ > std::uint64_t{8} * data_.size()) {
            throw FormatError("the stream ends early");
        }
    }

    // Moves to the next byte, and throws FormatError unless the bits skipped are zero.
    void align() {
        check();
        const unsigned spare = static_cast<unsigned>((8 - (position_ & 7)) & 7);
        if (get(spare) != 0) {
            throw FormatError("the bits that fill up a byte are not zero");
        }
    }

    // Whole bytes not yet read; the reader stands on a byte's first bit.
    std::span<const std::uint8_t> rest() const { return data_.subspan(position_ >> 3); }

    void skip_bytes(std::size_t count) { position_ += std::uint64_t{8} * count; }

    // Throws FormatError unless nothing but the last byte's filling is left.
    void finish() {
        align();
        if (left() != 0) {
            throw FormatError("bytes follow the end of the stream");
        }
    }

  private:
    std::span<const std::uint8_t> data_;
    std::uint64_t position_ = 0;  // in bits
};

}  // namespace lissome
