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

template <class Coder>
void encode_tensor(Coder& coder, SmallModel& model, const IndicesView& indices, Pixels pixels, const SmallTensor& as) {
    if (has_pixels(indices.spec.shape)) {
        code_number(coder, static_cast<std::uint32_t>(pixels), 2);
    }
    code_split(coder, as.split, as.alphabet);
    model.begin(as);
    RowsOf rows(indices);
    std::vector<std::uint32_t> symbols(as.layout.columns());
    for (std::uint64_t left = as.layout.size; left > 0;) {
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
        best_.sparse = indices.spec.sparse;
        best_.alphabet = indices.spec.alphabet;
        best_.split = best_.alphabet == 1 ? 0 : middle(best_.alphabet);
        best_.layout = *make_layout(indices.spec.shape, Pixels::none, model.earlier_rows());
        if (has_pixels(indices.spec.shape)) try_layouts();
        if (best_.alphabet > 1 && indices.spec.size <= kTrySplits) try_splits();
    }

    Pixels pixels() const { return pixels_; }
    const SmallTensor& tensor() const { return best_; }

  private:
    void attempt(Pixels pixels, const SmallTensor& tensor) {
        SmallModel model = model_;
        Cost cost;
        encode_tensor(cost, model, indices_, pixels, tensor);
        if (cost.nats() < nats_) {
            nats_ = cost.nats();
            pixels_ = pixels;
            best_ = tensor;
        }
    }

    void try_layouts() {
        for (const Pixels pixels : {Pixels::linked, Pixels::square, Pixels::colour, Pixels::none}) {
            SmallTensor tensor = best_;
            const std::optional<Layout> layout = make_layout(indices_.spec.shape, pixels, model_.earlier_rows());
            if (!layout) continue;
            tensor.layout = *layout;
            if (indices_.spec.size > kTryLayouts) {
                pixels_ = pixels;
                best_ = tensor;
                return;
            }
            attempt(pixels, tensor);
        }
    }

    void try_splits() {
        const std::uint32_t half = middle(best_.alphabet);
        std::vector<std::uint32_t> splits{half, 0, best_.alphabet};
        if (best_.alphabet <= 64) {
            for (std::uint32_t split = half > 3 ? half - 3 : 1; split < std::min(half + 3, best_.alphabet); ++split) {
                splits.push_back(split);
            }
        }
        for (const std::uint32_t split : splits) {
            SmallTensor tensor = best_;
            tensor.split = split;
            attempt(pixels_, tensor);
        }
    }

    const SmallModel& model_;
    const IndicesView& indices_;
    std::int64_t nats_ = std::numeric_limits<std::int64_t>::max();
    Pixels pixels_ = Pixels::none;
    SmallTensor best_;
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
        model.code_row(coder, row);
        if (coder.exhausted()) {
            throw FormatError("the stream ends before its tensors do; it is truncated or damaged");
        }
        collect(row, start, budget, out);
    }
    model.end();
    return out;
}

}  // namespace

std::vector<std::uint8_t> small_encode(std::span<const IndicesView> group) {
    std::vector<std::uint8_t> out;
    RangeEncoder coder(out);
    SmallModel model;
    for (const IndicesView& indices : group) {
        check_indices(indices);
        if (indices.spec.size > kMaxElements) throw WeightError(too_large(indices.spec.size));
        if (indices.spec.size == 0) continue;
        const Search search(model, indices);
        encode_tensor(coder, model, indices, search.pixels(), search.tensor());
    }
    coder.finish();
    return out;
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
