#include "codec/small_layout.h"

namespace lissome {
namespace {

// State is kept for every column, so their number is bounded; longer rows are cut into pieces of this length.
constexpr std::uint64_t kMaxColumns = 65536;
constexpr std::uint64_t kMinPixels = 16;

std::uint64_t product(std::span<const std::uint64_t> extents) {
    std::uint64_t result = 1;
    for (const std::uint64_t extent : extents) {
        result *= extent;
    }
    return result;
}

// The side of a square of `area`, or 0.
std::uint64_t side_of(std::uint64_t area) {
    std::uint64_t side = 1;
    while (side * side < area) {
        ++side;
    }
    return side * side == area ? side : 0;
}

// Channels of the image whose pixels the columns are, or 0.
std::uint64_t count_channels(std::uint64_t columns, Pixels pixels, std::span<const std::uint64_t> earlier_rows) {
    if (pixels == Pixels::square) {
        return 1;
    }
    if (pixels == Pixels::colour) {
        return 3;
    }
    for (std::size_t i = earlier_rows.size(); i-- > 0;) {
        if (earlier_rows[i] > 1 && earlier_rows[i] < columns && columns % earlier_rows[i] == 0) {
            return earlier_rows[i];
        }
    }
    return 0;
}

}  // namespace

bool has_pixels(std::span<const std::uint64_t> shape) {
    return shape.size() == 2 && shape[1] >= kMinPixels && shape[1] <= kMaxColumns;
}

std::optional<Layout> make_layout(std::span<const std::uint64_t> shape, Pixels pixels,
                                  std::span<const std::uint64_t> earlier_rows) {
    Layout layout;
    layout.size = product(shape);
    if (layout.size == 0) {
        return layout;
    }
    layout.rows = shape.empty() ? 1 : shape[0];
    const std::uint64_t columns = layout.size / layout.rows;
    if (columns > kMaxColumns) {
        layout.rows = (layout.size + kMaxColumns - 1) / kMaxColumns;
        layout.channels = kMaxColumns;
    } else if (shape.size() > 2) {
        layout.channels = shape[1];
        layout.width = shape.back();
        layout.height = columns / (layout.channels * layout.width);
    } else if (pixels == Pixels::none) {
        layout.channels = columns;
    } else {
        const std::uint64_t channels = count_channels(columns, pixels, earlier_rows);
        if (channels == 0 || columns % channels != 0) {
            return std::nullopt;
        }
        const std::uint64_t side = side_of(columns / channels);
        if (side < 2) {
            return std::nullopt;
        }
        layout.channels = channels;
        layout.height = side;
        layout.width = side;
    }
    return layout;
}

}  // namespace lissome
