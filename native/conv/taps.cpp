#include "conv/taps.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>

#include "conv/pack.h"

namespace lissome {
namespace {

constexpr int64_t kLine = 16, kBandFloats = 65'536;

// A strip of a block of channels should lie in the first-level cache; a filter needs some taps in each block to be
// worth picking its sums up again.
constexpr int64_t kBlockBytes = 28'000, kBlockTaps = 12;

template <class Index>
int64_t nonfinite_taps(const WeightView& weights, int64_t filters, int64_t k, const float* first,
                       int64_t step) noexcept {
    const auto* index = static_cast<const Index*>(weights.index);
    int64_t count = 0;
    for (int64_t block = k; block < weights.blocks * filters; block += filters) {
        count += std::count_if(index + weights.start[block], index + weights.start[block + 1],
                               [&](Index at) { return !std::isfinite(first[at * step]); });
    }
    return count;
}

// Channels in a block, of a group.
int64_t block_channels(const ConvShape& shape, const TapGeometry& g, int64_t taps) noexcept {
    const int64_t channels = shape.c / shape.groups;
    const int64_t reached = std::min(kStrip + g.reach, shape.r * g.phases_w * (kStrip + shape.s + kLine));
    const int64_t bytes = channels * reached * g.phases_h * 4;
    const int64_t blocks = std::min((bytes + kBlockBytes - 1) / kBlockBytes, taps / (shape.k * kBlockTaps));
    return (channels + std::max<int64_t>(blocks, 1) - 1) / std::max<int64_t>(blocks, 1);
}

// Offsets of the taps, by blocks of channels, in each by filters in the order of `packed.row`; values or codes beside
// them. starts: first entry of each filter; used up.
template <class Index>
void fill(const SparseSource& source, std::vector<uint32_t> starts, const TapGeometry& geometry, int64_t block,
          Packed& packed, std::vector<Index>& index) {
    const ConvShape& shape = packed.conv;
    const int64_t channels = shape.c / shape.groups, filters = shape.k / shape.groups, taps = shape.r * shape.s;
    index.reserve(source.positions.size());
    packed.codes.reserve(source.codes.size());
    packed.values.reserve(source.values.size());
    const std::vector<uint32_t> ends(starts.begin() + 1, starts.end());
    packed.start.push_back(0);
    for (int64_t end = block; end < channels + block; end += block) {
        for (const uint32_t k : packed.row) {
            uint32_t& from = starts[k];
            for (; from < ends[k] && source.positions[from] % source.columns < end * taps; ++from) {
                const int64_t column = source.positions[from] % source.columns;
                const int64_t c = k / filters * channels + column / taps;
                const int64_t offset = tap_offset(shape, geometry, c, column / shape.s % shape.r, column % shape.s);
                index.push_back(static_cast<Index>(offset / geometry.step));
                if (source.codes.empty()) {
                    packed.values.push_back(source.values[from]);
                } else {
                    packed.codes.push_back(source.codes[from]);
                }
            }
            packed.start.push_back(static_cast<uint32_t>(index.size()));
        }
    }
}

int64_t phases(int64_t stride, int64_t taps, int64_t dilation) noexcept {
    return dilation == 1 ? std::min(stride, taps) : stride;
}

}  // namespace

TapGeometry tap_geometry(const ConvShape& shape, int64_t channels, int64_t floats) noexcept {
    TapGeometry g{};
    g.stride_h = shape.p == 1 ? 1 : shape.stride_h;
    g.stride_w = shape.q == 1 ? 1 : shape.stride_w;
    g.phases_h = phases(g.stride_h, shape.r, shape.dilation_h);
    g.phases_w = phases(g.stride_w, shape.s, shape.dilation_w);
    const int64_t columns = (shape.s - 1) * shape.dilation_w / g.stride_w;
    g.width = shape.q + columns;
    g.reach = (shape.r - 1) * shape.dilation_h / g.stride_h * g.width + columns;
    g.positions = (shape.p - 1) * g.width + shape.q;
    const int64_t planes = channels * g.phases_h * g.phases_w, strips = (g.positions + kStrip - 1) / kStrip;
    // Strips in a band: more than `floats` hold where the rows that neighbouring bands share would be much of a band.
    const int64_t wanted =
        std::max(floats / planes - g.reach, std::min(4 * g.reach, 5 * floats / (2 * planes) - g.reach));
    const int64_t most = std::max<int64_t>(1, wanted / kStrip);
    g.bands = (strips + most - 1) / most;
    const int64_t even = (strips + g.bands - 1) / g.bands;
    g.bands = (strips + even - 1) / even;
    g.band = std::min(even * kStrip, (g.positions + kLine - 1) / kLine * kLine);
    g.plane = (g.band + g.reach + kLine - 1) / kLine;
    // An even number of lines would put the same place of many channels into the same set of a cache.
    g.plane = (g.reach > 0 ? g.plane | 1 : g.plane) * kLine;
    g.floats = planes * g.plane;
    g.step = shape.r * shape.s == 1 ? g.phases_h * g.phases_w * g.plane : 1;
    return g;
}

TapGeometry tap_geometry(const ConvShape& shape) noexcept {
    return tap_geometry(shape, shape.c, kBandFloats);
}

int64_t tap_offset(const ConvShape& shape, const TapGeometry& g, int64_t c, int64_t r, int64_t s) noexcept {
    const int64_t row = r * shape.dilation_h, column = s * shape.dilation_w;
    const int64_t phase = row % g.stride_h * g.phases_w + column % g.stride_w;
    return (c * g.phases_h * g.phases_w + phase) * g.plane + row / g.stride_h * g.width + column / g.stride_w;
}

PackedPtr pack_taps(const SparseSource& source, const ConvShape& shape, int64_t panel) {
    check_source(source);
    if (source.rows != shape.k || source.columns != shape.c / shape.groups * shape.r * shape.s) {
        throw std::invalid_argument("a sparse filter has k rows of c / groups · r · s columns");
    }
    const TapGeometry geometry = tap_geometry(shape);
    if (geometry.floats >= UINT32_MAX) {
        throw std::invalid_argument("a band of a sparse convolution has fewer than 2^32 elements");
    }
    auto packed = std::make_shared<Packed>();
    packed->form = Form::taps;
    packed->rows = source.rows;
    packed->columns = source.columns;
    packed->panel = panel;
    packed->conv = shape;
    packed->conv.n = 1;
    std::vector<uint32_t> starts(static_cast<size_t>(shape.k) + 1, 0);
    for (const int64_t position : source.positions) {
        ++starts[static_cast<size_t>(position / source.columns) + 1];
    }
    std::partial_sum(starts.begin(), starts.end(), starts.begin());
    // Longest first: neighbours have as many taps, so that a processor foresees where a filter ends. In blocks where
    // the output is in blocks.
    packed->row.resize(static_cast<size_t>(shape.k));
    std::iota(packed->row.begin(), packed->row.end(), 0u);
    const auto length = [&](uint32_t k) { return starts[k + 1] - starts[k]; };
    const int64_t step = panel > 1 ? panel : shape.k;
    for (int64_t k = 0; k < shape.k; k += step) {
        std::stable_sort(packed->row.begin() + k, packed->row.begin() + std::min(shape.k, k + step),
                         [&](uint32_t a, uint32_t b) { return length(a) > length(b); });
    }
    packed->length.push_back(0);
    for (const uint32_t k : packed->row) {
        packed->length.push_back(packed->length.back() + length(k));
    }
    const int64_t block = block_channels(shape, geometry, static_cast<int64_t>(source.positions.size()));
    packed->blocks = (shape.c / shape.groups + block - 1) / block;
    if (geometry.floats / geometry.step <= 65'536) {
        fill(source, starts, geometry, block, *packed, packed->narrow_index);
    } else {
        fill(source, starts, geometry, block, *packed, packed->wide_index);
    }
    packed->set_table(source.table);
    return packed;
}

void poison_band(const WeightView& weights, const ConvShape& shape, const TapGeometry& g, int64_t k,
                 const float* planes, int64_t first, float* y, int64_t step) noexcept {
    const int64_t channels = shape.c / shape.groups, from = weights.row[k] / (shape.k / shape.groups) * channels;
    const int64_t last = std::min(first + g.band, g.positions);
    for (int64_t t = first; t < last; ++t) {
        if (t % g.width >= shape.q) {
            continue;
        }
        const float* window = planes + t - first;
        int64_t bad = 0;
        for (int64_t c = from; c < from + channels; ++c) {
            for (int64_t tap = 0; tap < shape.r * shape.s; ++tap) {
                bad += !std::isfinite(window[tap_offset(shape, g, c, tap / shape.s, tap % shape.s)]);
            }
        }
        const int64_t met = weights.wide ? nonfinite_taps<uint32_t>(weights, shape.k, k, window, g.step)
                                         : nonfinite_taps<uint16_t>(weights, shape.k, k, window, g.step);
        if (met < bad) {
            y[(t / g.width * shape.q + t % g.width) * step] = std::numeric_limits<float>::quiet_NaN();
        }
    }
}

}  // namespace lissome
