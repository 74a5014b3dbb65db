// conv_b1_binary, conv_b1_ternary: convolution of inputs of ±1, given as bits (binary/binarize.cpp), with weights of
// ±1, or of −1, 0 and 1 as two planes of bits, sign and mask; any stride, padding and dilation, one group. Padding is
// 0. Rastegari et al., "XNOR-Net" (ECCV 2016), section 3.3:
//
//   sum[k][p][q] = Σ mask − 2 · Σ popcount((x xor sign) and mask)
//   y = scale[k] · sum + bias[k], then the activation
//
// With padding the first phase copies the input into a frame of zeros, which are −1; finish() adds the weights of those
// taps again. A task is a panel of outputs over a strip of rows. Weights: Form::bits (binary/pack.h).
#include "binary/bits.h"
#include "conv/columns.h"
#include "core/activation.h"
#include "integer/frame.h"

namespace lissome::LISSOME_ISA {

extern const Kernel conv_b1_binary, conv_b1_ternary;

static constexpr int64_t kTaskWork = 1 << 20;  // words

static bool framed(const Shape& shape) {
    return padded(shape.conv);
}

// What one register block sums over; offsets in bytes.
struct Window {
    int64_t words, rows, columns;
    int64_t x_word, x_row, x_column, x_pixel;
};

template <int P, int V, bool kTernary>
static void differing(const Window& over, const uint8_t* x, const int8_t* w, Int* found) {
    Counts<P, V, kTernary> counts;
    int64_t room = kCountable;
    for (int64_t b = 0; b < over.words; ++b) {
        for (int64_t r = 0; r < over.rows; ++r) {
            const uint8_t* at = x + b * over.x_word + r * over.x_row;
            for (int64_t s = 0; s < over.columns; ++s, at += over.x_column) {
                counts.word(at, over.x_pixel, w);
                w += (kTernary ? 2 : 1) * V * kWordBytes;
                if (--room == 0) {
                    counts.flush();
                    room = kCountable;
                }
            }
        }
    }
    counts.finish(found);
}

using Differing = void (*)(const Window& over, const uint8_t* x, const int8_t* w, Int* found);
struct BlockTable {
    Differing of[kPixels[1] + 1];
};
template <int P, int V, bool kTernary>
static constexpr void fill(BlockTable& table) {
    if constexpr (P > 0) {
        table.of[P] = differing<P, V, kTernary>;
        fill<P - 1, V, kTernary>(table);
    }
}
template <int V, bool kTernary>
static constexpr BlockTable make_table() {
    BlockTable table{};
    fill<kPixels[V], V, kTernary>(table);
    return table;
}
template <bool kTernary>
static constexpr BlockTable kBlocks[kMaxVectors] = {make_table<1, kTernary>(), make_table<2, kTernary>(),
                                                    make_table<3, kTernary>(), make_table<4, kTernary>()};

struct Layer {
    ConvShape s;  // of the frame
    Window window;
    int64_t blocks, vectors, panels, rows,
        tiles;  // blocks and vectors: of outputs, as they lie and as they are counted
};

static Layer layer_of(const Shape& shape) {
    Layer l;
    const ConvShape& s = l.s = frame_of(shape.conv);
    l.blocks = ceil_div(s.k, kLanes);
    l.vectors = ceil_div(l.blocks, kEach);
    l.panels = ceil_div(l.vectors, shape.codes.vectors);
    const int64_t words = ceil_div(s.c, kWordChannels);
    l.rows = least(s.p, ceil_div(kTaskWork, s.q * s.r * s.s * words * shape.codes.vectors * kEach * kLanes));
    l.tiles = ceil_div(s.p, l.rows);
    l.window = {words, s.r, s.s, s.h * s.w * 4, s.dilation_h * s.w * 4, s.dilation_w * 4, s.stride_w * 4};
    return l;
}

// A strip of one output row of a panel.
struct Piece {
    int64_t p, q, count, vector, vectors, block, blocks;
    Range inner;  // outputs of the row whose windows lie in the image
};

// Σ of the weights of those taps of output (p, q) that lie in the padding.
static Int outside(const Call& call, const Piece& piece, int64_t q, int64_t vector) {
    const ConvShape& s = call.shape->conv;
    const int64_t top = piece.p * s.stride_h - s.pad_top, left = q * s.stride_w - s.pad_left;
    const Range rows = taps_inside(top, s.r, s.dilation_h, s.h), columns = taps_inside(left, s.s, s.dilation_w, s.w);
    Int sum{};
    const int64_t all_vectors = ceil_div(s.k, kLanes);
    const int32_t* taps = call.weights.offset + (all_vectors + vector * s.r * s.s) * kLanes;
    for (int64_t r = 0; r < s.r; ++r) {
        for (int64_t t = 0; t < s.s; ++t) {
            const bool inside = r >= rows.begin && r < rows.end && t >= columns.begin && t < columns.end;
            sum += inside ? Int{} : load_words(taps + (r * s.s + t) * kLanes);
        }
    }
    return sum;
}

static void finish(const Call& call, const Piece& piece, const Int* found, float* y, int64_t plane) {
    for (int64_t j = 0; j < piece.blocks; ++j) {
        const int64_t vector = piece.block + j;
        const Int most = load_words(call.weights.offset + vector * kLanes);
        const Vec scale = load(call.weights.scale + vector * kLanes);
        const Vec bias = load(call.weights.scale + (ceil_div(call.shape->conv.k, kLanes) + vector) * kLanes);
        for (int64_t i = 0; i < piece.count; ++i) {
            const Int differing_bits = found[i * piece.vectors * kEach + j];
            Int sum = most - differing_bits - differing_bits;
            if (piece.q + i < piece.inner.begin || piece.q + i >= piece.inner.end) {
                sum += outside(call, piece, piece.q + i, vector);
            }
            store(y + j * plane + i * kLanes, activate(add(multiply(to_float(sum), scale), bias), call.activation));
        }
    }
}

static int64_t tasks(const Shape& shape, int) {
    const Layer l = layer_of(shape);
    return l.s.n * l.panels * l.tiles;
}

template <bool kTernary>
static void run(const Call& call, int64_t begin, int64_t end, int) {
    const Layer l = layer_of(*call.shape);
    const ConvShape& s = l.s;
    const auto* x = reinterpret_cast<const uint8_t*>(
        framed(*call.shape) ? call.workspace : reinterpret_cast<const std::byte*>(call.in[0]));
    const int64_t plane = s.p * s.q * kLanes;
    const int64_t vector_bytes = l.window.words * s.r * s.s * kWordBytes * (kTernary ? 2 : 1);
    Int found[kPixels[1] * kMaxVectors * kEach];
    for (int64_t task = begin; task < end; ++task) {
        const int64_t tile = task % l.tiles, panel = task / l.tiles % l.panels, image = task / l.tiles / l.panels;
        Piece piece;
        piece.vector = panel * call.shape->codes.vectors;
        piece.vectors = least(call.shape->codes.vectors, l.vectors - piece.vector);
        piece.block = piece.vector * kEach;
        piece.blocks = least(piece.vectors * kEach, l.blocks - piece.block);
        const BlockTable& table = kBlocks<kTernary>[piece.vectors - 1];
        const int64_t pieces = ceil_div(s.q, kPixels[piece.vectors]);
        for (piece.p = tile * l.rows; piece.p < least(s.p, (tile + 1) * l.rows); ++piece.p) {
            const ConvShape& of = call.shape->conv;
            const int64_t top = piece.p * of.stride_h - of.pad_top;
            const bool whole = top >= 0 && top + (of.r - 1) * of.dilation_h < of.h;
            piece.inner = {
                outputs_reached(-of.pad_left, of.stride_w, of.w, of.q).begin,
                whole ? outputs_reached((of.s - 1) * of.dilation_w - of.pad_left, of.stride_w, of.w, of.q).end : 0};
            const uint8_t* row = x + image * l.window.words * l.window.x_word + piece.p * s.stride_h * s.w * 4;
            for (int64_t i = 0; i < pieces; ++i) {
                piece.q = s.q * i / pieces;
                piece.count = s.q * (i + 1) / pieces - piece.q;
                table.of[piece.count](l.window, row + piece.q * s.stride_w * 4,
                                      call.weights.bytes + piece.vector * vector_bytes, found);
                finish(call, piece, found,
                       call.out[0] + (image * l.blocks + piece.block) * plane + (piece.p * s.q + piece.q) * kLanes,
                       plane);
            }
        }
    }
}

static Shape in_bytes(const Shape& shape) {
    Shape made = shape;
    made.conv.c = ceil_div(shape.conv.c, kWordChannels) * 4;
    made.codes.x_zero = 0;
    return made;
}
static int64_t word_frame_bytes(const Shape& shape, int workers) {
    return frame_bytes<4>(in_bytes(shape), workers);
}
static int64_t word_frame_tasks(const Shape& shape, int workers) {
    return frame_tasks<4>(in_bytes(shape), workers);
}
static void word_frame(const Call& call, int64_t begin, int64_t end, int worker) {
    const Shape shape = in_bytes(*call.shape);
    Call made = call;
    made.shape = &shape;
    frame<4>(made, begin, end, worker);
}

template <bool kTernary>
static constexpr Kernel conv_kernel(const char* name) {
    return {name,
            Op::conv_bits,
            Isa::LISSOME_ISA,
            Form::bits,
            0,
            word_frame_bytes,
            {{word_frame_tasks, word_frame}, {tasks, run<kTernary>}},
            4,
            kLanes,
            false,
            nullptr,
            kTernary ? 2 : 1,
            false,
            1,
            4};
}

const Kernel conv_b1_binary = conv_kernel<false>(LISSOME_NAME("conv_b1_binary"));
const Kernel conv_b1_ternary = conv_kernel<true>(LISSOME_NAME("conv_b1_ternary"));

}  // namespace lissome::LISSOME_ISA
