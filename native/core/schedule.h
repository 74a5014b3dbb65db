// How a dense convolution's loop nest runs: data that a planner makes up and a tuner may search. It changes speed, and
// the order in which an output's products are added, but never which products.
#pragma once

#include <cstdint>

namespace lissome {

// What stays in the nearest memory while the rest streams past it.
enum class LoopOrder : int64_t {
    output,  // sums stay in registers until they are done: channels of the input innermost
    weight,  // a tile of weights (tile_c input blocks of a panel) stays while all pixels of a tile pass
    input,   // a register block's inputs (tile_c blocks) stay while all panels of a tile pass
};

struct ConvSchedule {
    int64_t order;           // a LoopOrder
    int64_t vectors;         // of output channels in a panel: the width of a register block
    int64_t pixels;          // in a register block at most
    int64_t tile_k;          // panels in a tile
    int64_t tile_c;          // input blocks in a tile
    int64_t tile_p, tile_q;  // output rows and columns in a tile; a 1×1 convolution has one row of all pixels
};

}  // namespace lissome
