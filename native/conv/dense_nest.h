// The loop nest of direct convolution: how its schedule (core/schedule.h) cuts and orders a layer. kBlock: channels in
// a block of the input. A 1×1 convolution with stride 1 counts its pixels in one long row, which makes it a matrix
// product. Padding is never copied: rows outside the image are left out of the loop over r. At the left and right edges
// a register block leaves out the one pixel that the first or last column of the filter misses, or, where they miss
// more, is summed column by column, each over the pixels it reaches. Channels that only fill up a block are never read.
// Included by sources compiled once per instruction set.
#pragma once

#include "conv/columns.h"
#include "conv/dense_block.h"
#include "core/kernel.h"

namespace lissome::LISSOME_ISA {

struct Layer {
    ConvShape s;
    ConvSchedule tiles;
    int64_t block;                              // channels in a block of the input
    int64_t channels, blocks, vectors, panels;  // of one group: inputs, blocks of them, vectors of outputs, panels
    int64_t p_tiles, q_tiles, k_tiles;
    Range inner;  // output columns that every column of the filter reaches
    Range most;   // and those that all but its first (at the left) or last (at the right) reach
    Reach reach;
};

static ConvShape flattened(ConvShape s) {
    const bool point = s.r == 1 && s.s == 1 && s.stride_h == 1 && s.stride_w == 1;
    if (point && s.pad_top + s.pad_left + s.pad_bottom + s.pad_right == 0) {
        s.w = s.q = s.h * s.w;
        s.h = s.p = 1;
    }
    return s;
}

// The output columns that column `tap` of the filter reaches.
static Range reached(const ConvShape& s, int64_t tap) {
    return outputs_reached(tap * s.dilation_w - s.pad_left, s.stride_w, s.w, s.q);
}

template <int kBlock>
static Layer layer_of(const Shape& shape) {
    Layer l;
    l.s = flattened(shape.conv);
    l.tiles = shape.schedule;
    const ConvShape& s = l.s;
    l.block = kBlock;
    l.channels = s.c / s.groups;
    l.blocks = ceil_div(l.channels, l.block);
    l.vectors = ceil_div(s.k / s.groups, kLanes);
    l.panels = ceil_div(l.vectors, l.tiles.vectors);
    l.k_tiles = ceil_div(l.panels, l.tiles.tile_k);
    l.p_tiles = ceil_div(s.p, l.tiles.tile_p);
    l.q_tiles = ceil_div(s.q, l.tiles.tile_q);
    l.inner = {reached(s, 0).begin, reached(s, s.s - 1).end};
    l.most = {s.q, 0};
    if (kBlock >= kLanes && s.stride_w <= 2 && s.s > 1) {  // as at_edge can
        l.most = {reached(s, 1).begin, reached(s, s.s - 2).end};
    }
    Reach& r = l.reach;
    r.columns = s.s;
    r.run = l.block;
    r.x_block = s.h * s.w * l.block;
    r.x_row = s.dilation_h * s.w * l.block;
    r.x_column = s.dilation_w * l.block;
    r.x_pixel = s.stride_w * l.block;
    return l;
}

// One panel of one group in one image: what is the same for all its register blocks.
struct Panel {
    const float* x;  // the group's first channel
    const float* w;
    const float* bias;
    const float* residual;
    float* y;
    const BlockTable* table;
    int64_t most;  // pixels of a register block; more in a panel of the vectors that are left over
    Reach reach;
};

template <int kBlock>
static Panel panel_of(const Call& call, const Layer& l, int64_t image, int64_t group, int64_t number) {
    const ConvShape& s = l.s;
    const int64_t first = number * l.tiles.vectors, taps = s.r * s.s;  // first vector of the panel in its group
    const int64_t vectors = least(l.tiles.vectors, l.vectors - first), plane = s.p * s.q * kLanes;
    const int64_t vector = group * l.vectors + first, all = s.groups * l.vectors;
    const int64_t input = image * ceil_div(s.c, l.block) + group * l.blocks;
    Panel panel;
    panel.x = call.in[0] + input * s.h * s.w * l.block;
    panel.w = call.weights.dense + vector * l.blocks * taps * l.block * kLanes;
    panel.bias = call.bias ? call.bias + vector * kLanes : nullptr;
    panel.residual = call.in[1] ? call.in[1] + (image * all + vector) * plane : nullptr;
    panel.y = call.out[0] + (image * all + vector) * plane;
    panel.reach = l.reach;
    panel.reach.w_column = vectors * l.block * kLanes;
    panel.reach.w_row = s.s * panel.reach.w_column;
    panel.reach.w_block = s.r * panel.reach.w_row;
    panel.table = block_table<kBlock>(vectors, l.reach.x_pixel);
    panel.most = vectors < l.tiles.vectors ? panel.table->widest : least(l.tiles.pixels, panel.table->widest);
    return panel;
}

// One output row of a panel, summed over some input blocks: what is the same for all its register blocks.
struct Row {
    const BlockTable* table;
    Reach reach;
    const float* x;  // leftmost input of the first row of the filter that lies in the image
    const float* w;  // and its weights
    Target target;   // of the leftmost output
};

static Row row_of(const Call& call, const Layer& l, const Panel& panel, Range part, int64_t p) {
    const ConvShape& s = l.s;
    const int64_t top = p * s.stride_h - s.pad_top;
    const Range rows = taps_inside(top, s.r, s.dilation_h, s.h);
    Row row{panel.table, panel.reach, panel.x, panel.w, {}};
    row.reach.blocks = part.end - part.begin;
    row.reach.rows = rows.end - rows.begin;
    row.reach.last_run = part.end == l.blocks ? l.channels - (l.blocks - 1) * l.block : l.block;
    const int64_t skipped = row.reach.rows > 0 ? rows.begin : 0, at = p * s.q * kLanes;
    row.x += part.begin * row.reach.x_block + (top + skipped * s.dilation_h) * s.w * l.block;
    row.w += part.begin * row.reach.w_block + skipped * row.reach.w_row;
    row.target = {panel.y + at,   s.p * s.q * kLanes,
                  panel.bias,     panel.residual ? panel.residual + at : nullptr,
                  part.begin > 0, part.end == l.blocks ? &call.activation : nullptr};
    return row;
}

// Columns `taps` of the filter over output pixels `to`.
static void sum(const Layer& l, const Row& row, Range taps, Range to, const Target& target) {
    Reach reach = row.reach;
    reach.columns = taps.end - taps.begin;
    const int64_t column = to.begin * l.s.stride_w - l.s.pad_left + taps.begin * l.s.dilation_w;
    const float* x = reach.columns > 0 ? row.x + column * l.block : row.x;
    row.table->of[to.end - to.begin](reach, x, row.w + taps.begin * reach.w_column, target);
}

// A block that some column of the filter reaches only in part. Columns that reach it whole go last.
static void edge(const Layer& l, const Row& row, Range to, Target target) {
    const Activation* activation = target.activation;
    target.activation = nullptr;
    if (!target.more) {
        sum(l, row, {0, 0}, to, target);
        target.more = true;
    }
    Range whole{0, 0};
    for (int64_t tap = 0; tap < l.s.s; ++tap) {
        Range at = reached(l.s, tap);
        at = {at.begin > to.begin ? at.begin : to.begin, least(at.end, to.end)};
        if (at.begin == to.begin && at.end == to.end) {
            whole = {whole.end > 0 ? whole.begin : tap, tap + 1};
        } else if (at.begin < at.end) {
            Target part = target;
            part.y += (at.begin - to.begin) * kLanes;
            sum(l, row, {tap, tap + 1}, at, part);
        }
    }
    target.activation = activation;
    sum(l, row, whole, to, target);
}

// Output pixels `to` of a row.
static void pixels(const Layer& l, const Row& row, Range to) {
    Target target = row.target;
    target.y += to.begin * kLanes;
    target.residual = target.residual ? target.residual + to.begin * kLanes : nullptr;
    const int64_t first = l.inner.begin - to.begin, last = to.end - l.inner.end;  // pixels missed by the outer columns
    const float* x = row.x + (to.begin * l.s.stride_w - l.s.pad_left) * l.block;
    if (first <= 0 && last <= 0) {
        row.table->of[to.end - to.begin](row.reach, x, row.w, target);
    } else if (first <= 1 && last <= 1 && to.begin >= l.most.begin && to.end <= l.most.end) {
        Reach reach = row.reach;
        reach.cut_first = first == 1;
        reach.cut_last = last == 1;
        row.table->at_edge[to.end - to.begin](reach, x, row.w, target);
    } else {
        edge(l, row, to, target);
    }
}

template <int kBlock>
static int64_t nest_tasks(const Shape& shape, int) {
    const Layer l = layer_of<kBlock>(shape);
    return l.s.n * l.s.groups * l.k_tiles * l.p_tiles * l.q_tiles;
}

// Columns of a tile as register blocks, `wide` pixels each and the first of them one more.
struct Cut {
    int64_t left, count, wide, wider;

    Range block(int64_t i) const {
        const int64_t first = left + i * wide + least(i, wider);
        return {first, first + wide + (i < wider ? 1 : 0)};
    }
};

// One task: panels of a group in an image, output rows and columns.
struct Tile {
    int64_t image, group;
    Range panels, rows, columns;

    Cut cut(const Panel& panel) const {
        const int64_t width = columns.end - columns.begin, count = ceil_div(width, panel.most);
        return {columns.begin, count, width / count, width % count};
    }
};

static Tile tile_of(const Layer& l, int64_t task) {
    const ConvSchedule& t = l.tiles;
    const int64_t space = l.p_tiles * l.q_tiles;
    const int64_t outer = task / (space * l.k_tiles), inner = task % (space * l.k_tiles);
    const bool weight_first = static_cast<LoopOrder>(t.order) == LoopOrder::weight;
    const int64_t k = weight_first ? inner / space : inner % l.k_tiles;
    const int64_t at = weight_first ? inner % space : inner / l.k_tiles;
    Tile tile;
    tile.image = outer / l.s.groups;
    tile.group = outer % l.s.groups;
    tile.panels = {k * t.tile_k, least(l.panels, (k + 1) * t.tile_k)};
    tile.rows = {at / l.q_tiles * t.tile_p, least(l.s.p, (at / l.q_tiles + 1) * t.tile_p)};
    const int64_t left = at % l.q_tiles * t.tile_q;
    tile.columns = {left, least(l.s.q, left + t.tile_q)};
    return tile;
}

template <int kBlock>
static void inputs_stay(const Call& call, const Layer& l, const Tile& tile) {
    const Cut cut = tile.cut(panel_of<kBlock>(call, l, tile.image, tile.group, tile.panels.begin));
    for (int64_t i = 0; i < (tile.rows.end - tile.rows.begin) * cut.count; ++i) {
        for (int64_t c = 0; c < l.blocks; c += l.tiles.tile_c) {
            for (int64_t number = tile.panels.begin; number < tile.panels.end; ++number) {
                const Panel panel = panel_of<kBlock>(call, l, tile.image, tile.group, number);
                const Range part{c, least(l.blocks, c + l.tiles.tile_c)};
                const Row row = row_of(call, l, panel, part, tile.rows.begin + i / cut.count);
                pixels(l, row, cut.block(i % cut.count));
            }
        }
    }
}

template <int kBlock>
static void weights_stay(const Call& call, const Layer& l, const Tile& tile, int64_t tile_c) {
    for (int64_t number = tile.panels.begin; number < tile.panels.end; ++number) {
        const Panel panel = panel_of<kBlock>(call, l, tile.image, tile.group, number);
        const Cut cut = tile.cut(panel);
        for (int64_t c = 0; c < l.blocks; c += tile_c) {
            for (int64_t p = tile.rows.begin; p < tile.rows.end; ++p) {
                const Row row = row_of(call, l, panel, {c, least(l.blocks, c + tile_c)}, p);
                for (int64_t i = 0; i < cut.count; ++i) {
                    pixels(l, row, cut.block(i));
                }
            }
        }
    }
}

template <int kBlock>
static void run_nest(const Call& call, int64_t begin, int64_t end, int) {
    const Layer l = layer_of<kBlock>(*call.shape);
    const LoopOrder order = static_cast<LoopOrder>(l.tiles.order);
    for (int64_t task = begin; task < end; ++task) {
        const Tile tile = tile_of(l, task);
        if (order == LoopOrder::input) {
            inputs_stay<kBlock>(call, l, tile);
        } else {
            weights_stay<kBlock>(call, l, tile, order == LoopOrder::output ? l.blocks : l.tiles.tile_c);
        }
    }
}

}  // namespace lissome::LISSOME_ISA
