#include "codec/small.h"

#include <bit>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "codec/logistic.h"
#include "codec/range_coder.h"
#include "codec/small_contexts.h"
#include "codec/small_layout.h"
#include "codec/small_model.h"

namespace lissome {
namespace {

// Every element costs a decoder some time, however few bytes say that it is zero.
constexpr std::uint64_t kMaxElements = std::uint64_t{1} << 34;

// Trying layouts and splits codes a tensor again and again: only the usual one is tried for tensors above these sizes.
constexpr std::uint64_t kTryLayouts = std::uint64_t{1} << 22;
constexpr std::uint64_t kTrySplits = std::uint64_t{1} << 19;

constexpr std::uint32_t kHalf = 32768;
constexpr std::uint32_t kOtherSplit = 16384;  // how often a split is not the middle, in 65536ths

// Takes the place of a RangeEncoder to learn what coding would cost.
class Cost {
  public:
    int code(int bit, std::uint32_t p) {
        nats_ += Logistic::ln(65536) - Logistic::ln(bit != 0 ? p : 65536 - p);
        return bit;
    }
    std::int64_t nats() const { return nats_; }

  private:
    std::int64_t nats_ = 0;  // in 2^-16
};

std::uint32_t middle(std::uint32_t alphabet) {
    return (alphabet + 1) / 2;
}

template <class Coder>
std::uint32_t code_number(Coder& coder, std::uint32_t number, int bits) {
    std::uint32_t result = 0;
    for (int k = bits - 1; k >= 0; --k) {
        result = result * 2 + static_cast<std::uint32_t>(coder.code(static_cast<int>(number >> k & 1), kHalf));
    }
    return result;
}

template <class Coder>
std::uint32_t code_split(Coder& coder, std::uint32_t split, std::uint32_t alphabet) {
    if (alphabet == 1) return 0;
    if (coder.code(split != middle(alphabet), kOtherSplit) == 0) return middle(alphabet);
    return code_number(coder, split, static_cast<int>(std::bit_width(alphabet)));
}

// The rows of one tensor, as the symbols that a model codes.
class RowsOf {
  public:
    explicit RowsOf(const IndicesView& indices) : indices_(indices) {}

    // The next row into `symbols`.
    void read(SymbolRow symbols) {
        std::visit([&](auto codes) { fill(symbols, codes); }, indices_.codes);
        start_ += symbols.size();
    }

  private:
    template <class Codes>
    void fill(SymbolRow symbols, Codes codes) {
        std::fill(symbols.begin(), symbols.end(), 0);
        if (!indices_.spec.sparse) {
            for (std::uint32_t& symbol : symbols) symbol = 1U + codes[next_++];
            return;
        }
        const std::span<const std::int64_t> positions = indices_.positions;
        const std::uint64_t end = start_ + symbols.size();
        for (; next_ < positions.size() && static_cast<std::uint64_t>(positions[next_]) < end; ++next_) {
            symbols[static_cast<std::uint64_t>(positions[next_]) - start_] = 1U + codes[next_];
        }
    }

    const IndicesView& indices_;
    std::uint64_t start_ = 0;
    std::size_t next_ = 0;
};

// A tensor and one of the ways to see it.
struct Seen {
    Pixels pixels = Pixels::none;
    SmallTensor tensor;
};

// As the settings say; without pixels where the columns do not divide so. None when the split lies outside.
std::optional<Seen> see(const SmallModel& model, const IndexSpec& spec, SmallSettings settings) {
    if (settings.split > spec.alphabet || (spec.alphabet == 1 && settings.split != 0)) return std::nullopt;
    if (!has_pixels(spec.shape)) settings.pixels = Pixels::none;
    std::optional<Layout> layout = make_layout(spec.shape, settings.pixels, model.earlier_rows());
    if (!layout) return see(model, spec, {Pixels::none, settings.split});
    return Seen{settings.pixels, {*layout, spec.sparse, spec.alphabet, settings.split}};
}

template <class Coder>
void encode_tensor(Coder& coder, SmallModel& model, const IndicesView& indices, const Seen& as) {
    if (has_pixels(indices.spec.shape)) {
        code_number(coder, static_cast<std::uint32_t>(as.pixels), 2);
    }
    code_split(coder, as.tensor.split, as.tensor.alphabet);
    model.begin(as.tensor);
    RowsOf rows(indices);
    std::vector<std::uint32_t> symbols(as.tensor.layout.columns());
    for (std::uint64_t left = as.tensor.layout.size; left > 0;) {
        const SymbolRow row(symbols.data(), std::min<std::uint64_t>(left, symbols.size()));
        rows.read(row);
        model.code_row(coder, row);
        left -= row.size();
    }
    model.end();
}

// The way to see a tensor that costs least, among those that are worth a try.
class Search {
  public:
    Search(const SmallModel& model, const IndicesView& indices) : model_(model), indices_(indices) {
        const std::uint32_t alphabet = indices.spec.alphabet;
        best_ = *see(model, indices.spec, {Pixels::none, alphabet == 1 ? 0 : middle(alphabet)});
        if (has_pixels(indices.spec.shape)) try_layouts();
        if (alphabet > 1 && indices.spec.size <= kTrySplits) try_splits(alphabet);
    }

    const Seen& best() const { return best_; }

  private:
    void attempt(const Seen& seen) {
        SmallModel model = model_;
        Cost cost;
        encode_tensor(cost, model, indices_, seen);
        if (cost.nats() < nats_) {
            nats_ = cost.nats();
            best_ = seen;
        }
    }

    void try_layouts() {
        for (const Pixels pixels : {Pixels::linked, Pixels::square, Pixels::colour, Pixels::none}) {
            const Seen seen = *see(model_, indices_.spec, {pixels, best_.tensor.split});
            if (seen.pixels != pixels) continue;
            if (indices_.spec.size > kTryLayouts) {
                best_ = seen;
                return;
            }
            attempt(seen);
        }
    }

    void try_splits(std::uint32_t alphabet) {
        const std::uint32_t half = middle(alphabet);
        std::vector<std::uint32_t> splits{half, 0, alphabet};
        if (alphabet <= 64) {
            for (std::uint32_t split = half > 3 ? half - 3 : 1; split < std::min(half + 3, alphabet); ++split) {
                splits.push_back(split);
            }
        }
        for (const std::uint32_t split : splits) {
            Seen seen = best_;
            seen.tensor.split = split;
            attempt(seen);
        }
    }

    const SmallModel& model_;
    const IndicesView& indices_;
    std::int64_t nats_ = std::numeric_limits<std::int64_t>::max();
    Seen best_;
};

std::string too_large(std::uint64_t size) {
    return "a tensor of " + std::to_string(size) + " elements; the coder small takes at most 2^34 of one";
}

// What a decoder collects from the rows.
void collect(SymbolRow row, std::uint64_t start, Budget& budget, Indices& out) {
    std::uint64_t survivors = 0;
    for (const std::uint32_t symbol : row) survivors += symbol != 0 ? 1 : 0;
    budget.take(survivors);
    std::visit(
        [&](auto& codes) {
            for (std::size_t i = 0; i < row.size(); ++i) {
                if (row[i] == 0) continue;
                codes.push_back(static_cast<typename std::decay_t<decltype(codes)>::value_type>(row[i] - 1));
                if (out.spec.sparse) out.positions.push_back(static_cast<std::int64_t>(start + i));
            }
        },
        out.codes);
}

SmallTensor decode_head(RangeDecoder& coder, const SmallModel& model, const IndexSpec& spec) {
    SmallTensor tensor;
    tensor.sparse = spec.sparse;
    tensor.alphabet = spec.alphabet;
    const auto pixels = static_cast<Pixels>(has_pixels(spec.shape) ? code_number(coder, 0, 2) : 0);
    const std::optional<Layout> layout = make_layout(spec.shape, pixels, model.earlier_rows());
    if (!layout) {
        throw FormatError("a tensor's columns are said to be pixels, but do not divide into squares");
    }
    tensor.layout = *layout;
    tensor.split = code_split(coder, 0, spec.alphabet);
    if (tensor.split > spec.alphabet) {
        throw FormatError("code " + std::to_string(tensor.split) + " is said to be the first positive one of " +
                          std::to_string(spec.alphabet));
    }
    return tensor;
}

Indices decode_tensor(RangeDecoder& coder, SmallModel& model, const IndexSpec& spec, Budget& budget) {
    Indices out;
    out.spec = spec;
    if (spec.alphabet > 256) {
        out.codes.emplace<std::vector<std::uint16_t>>();
    }
    if (spec.size == 0) return out;
    const SmallTensor tensor = decode_head(coder, model, spec);
    model.begin(tensor);
    std::vector<std::uint32_t> symbols(tensor.layout.columns());
    for (std::uint64_t start = 0; start < spec.size; start += symbols.size()) {
        const SymbolRow row(symbols.data(), std::min<std::uint64_t>(spec.size - start, symbols.size()));
        const bool alive = model.code_row(coder, row);
        if (coder.exhausted()) {
            throw FormatError("the stream ends before its tensors do; it is truncated or damaged");
        }
        if (alive) collect(row, start, budget, out);
    }
    model.end();
    return out;
}

// `choose(model, indices)` says how to see each tensor.
template <class Choose>
std::vector<std::uint8_t> encode_group(std::span<const IndicesView> group, Choose choose) {
    std::vector<std::uint8_t> out;
    RangeEncoder coder(out);
    SmallModel model;
    for (const IndicesView& indices : group) {
        check_indices(indices);
        if (indices.spec.size > kMaxElements) throw WeightError(too_large(indices.spec.size));
        if (indices.spec.size == 0) continue;
        encode_tensor(coder, model, indices, choose(model, indices));
    }
    coder.finish();
    return out;
}

}  // namespace

std::vector<std::uint8_t> small_encode(std::span<const IndicesView> group) {
    return encode_group(
        group, [](const SmallModel& model, const IndicesView& indices) { return Search(model, indices).best(); });
}

std::vector<std::uint8_t> small_encode_as(std::span<const IndicesView> group, SmallSettings settings) {
    return encode_group(group, [&](const SmallModel& model, const IndicesView& indices) {
        const std::optional<Seen> seen = see(model, indices.spec, settings);
        if (!seen) {
            throw WeightError("a split at " + std::to_string(settings.split) + " in an alphabet of " +
                              std::to_string(indices.spec.alphabet));
        }
        return *seen;
    });
}

std::vector<Indices> small_decode(std::span<const std::uint8_t> data, std::span<const IndexSpec> specs,
                                  std::uint64_t max_entries) {
    std::vector<Indices> group;
    RangeDecoder coder(data);
    SmallModel model;
    Budget budget(max_entries);
    for (const IndexSpec& spec : specs) {
        check_spec(spec);
        if (spec.size > kMaxElements) throw FormatError(too_large(spec.size));
        group.push_back(decode_tensor(coder, model, spec, budget));
    }
    if (!coder.finished()) {
        throw FormatError("the stream does not end where its tensors do; it is damaged");
    }
    return group;
}

}  // namespace lissome
