// How the small coder sees a tensor: rows of channels of pixels. Normative: docs/coder-small.md, "Layout".
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace lissome {

// Element (row, channel, y, x) lies at flat position ((row * channels + channel) * height + y) * width + x.
struct Layout {
    std::uint64_t size = 0;
    std::uint64_t rows = 0;
    std::size_t channels = 1;
    std::size_t height = 1;
    std::size_t width = 1;

    std::size_t columns() const { return channels * height * width; }
};

// The inputs of a fully connected layer may be pixels. Which, the encoder finds by trying and says in two bits.
enum class Pixels : int { none = 0, square = 1, linked = 2, colour = 3 };

// Whether the stream states a choice of pixels for this shape.
bool has_pixels(std::span<const std::uint64_t> shape);

// The layout of `shape`; `earlier_rows` are the row counts of the tensors already coded, the latest last. None when the
// columns do not divide so.
std::optional<Layout> make_layout(std::span<const std::uint64_t> shape, Pixels pixels,
                                  std::span<const std::uint64_t> earlier_rows);

}  // namespace lissome
