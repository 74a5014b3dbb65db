// Bindings of the packers: weights from arrays to the forms that kernels read. They check what they are given.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <stdexcept>

#include "binary/pack.h"
#include "bindings/arrays.h"
#include "conv/pack.h"
#include "executor/program.h"
#include "gemm/codes.h"
#include "gemm/pack.h"
#include "integer/pack.h"
#include "movement/pack.h"

namespace nb = nanobind;

namespace lissome {
namespace {

SparseSource source(int64_t rows, int64_t columns, const Positions& positions, const std::optional<Floats>& values,
                    const std::optional<Codes>& codes, const std::optional<Floats>& table) {
    SparseSource source{rows, columns, span_of(positions), {}, {}, {}};
    if (values) {
        source.values = span_of(*values);
    }
    if (codes && table) {
        source.codes = span_of(*codes);
        source.table = span_of(*table);
    }
    return source;
}

}  // namespace

void bind_packers(nb::module_& m) {
    nb::class_<Packed>(m, "Packed", "Weights packed for one kernel form; made by the pack_ functions.")
        .def_prop_ro("nbytes", &Packed::bytes, "Bytes that the packed weights occupy in memory.")
        .def_prop_ro(
            "plain",
            [](const std::shared_ptr<Packed>& packed) {
                const std::vector<float, LineAllocator<float>>& dense = packed->dense;
                return nb::ndarray<nb::numpy, const float, nb::ndim<1>>(
                    dense.data() + packed->plain, {dense.size() - packed->plain}, nb::cast(packed));
            },
            "The weights of a dense form, float32, in the order of the form and with its padding; empty for others.");
    m.def(
        "pack_rows",
        [](const Floats& weight, int64_t rows, int64_t columns) { return pack_rows(span_of(weight), rows, columns); },
        nb::arg("weight"), nb::arg("rows"), nb::arg("columns"), "A dense (rows, columns) weight, kept row-major.");
    m.def(
        "pack_panels",
        [](const Floats& weight, int64_t rows, int64_t columns, int64_t panel) {
            return pack_panels(span_of(weight), rows, columns, panel);
        },
        nb::arg("weight"), nb::arg("rows"), nb::arg("columns"), nb::arg("panel"),
        "A dense (rows, columns) weight in panels of `panel` rows.");
    m.def(
        "pack_filters",
        [](const Floats& weight, int64_t rows, int64_t columns, int64_t groups, int64_t panel) {
            return pack_filters(span_of(weight), rows, columns, groups, panel);
        },
        nb::arg("weight"), nb::arg("rows"), nb::arg("columns"), nb::arg("groups"), nb::arg("panel"),
        "A dense (rows, columns) weight, the rows of each group in panels of at most `panel`.");
    m.def(
        "pack_mec",
        [](const Floats& weight, const Extents16& conv, int64_t panel) {
            return pack_mec(span_of(weight), make_conv_shape(conv), panel);
        },
        nb::arg("weight"), nb::arg("conv"), nb::arg("panel"),
        "The filters of this convolution as columns of (r, s, c), in panels of `panel`.");
    m.def(
        "pack_winograd",
        [](const Floats& weight, const Extents16& conv, int64_t tile, int64_t lanes) {
            return pack_winograd(span_of(weight), make_conv_shape(conv), tile, lanes);
        },
        nb::arg("weight"), nb::arg("conv"), nb::arg("tile"), nb::arg("lanes"),
        "The filters of this convolution, transformed for tiles of tile x tile outputs.");
    m.def(
        "winograd_matrices",
        [](int64_t m, int64_t r, const std::vector<double>& points) {
            const WinogradMatrices found = winograd_matrices(m, r, points);
            return std::tuple(found.bt, found.g, found.at);
        },
        nb::arg("m"), nb::arg("r"), nb::arg("points") = std::vector<double>{},
        "B transposed, G and A transposed of F(m, r), row-major; of the kernels' points, or of these.");
    m.def(
        "pack_indices", [](const Positions& indices, int64_t extent) { return pack_indices(span_of(indices), extent); },
        nb::arg("indices"), nb::arg("extent"), "Indices below extent, or -1 for nothing.");
    m.def(
        "pack_weighted",
        [](const Positions& indices, const Floats& weights, int64_t taps, int64_t extent) {
            return pack_weighted(span_of(indices), span_of(weights), taps, extent);
        },
        nb::arg("indices"), nb::arg("weights"), nb::arg("taps"), nb::arg("extent"),
        "Indices below extent and their weights, (taps, made); an element is made of nothing where all taps are -1.");
    m.def(
        "pack_sell",
        [](int64_t rows, int64_t columns, const Positions& positions, const std::optional<Floats>& values,
           const std::optional<Codes>& codes, const std::optional<Floats>& table) {
            return pack_sell(source(rows, columns, positions, values, codes, table));
        },
        nb::arg("rows"), nb::arg("columns"), nb::arg("positions"), nb::arg("values").none(), nb::arg("codes").none(),
        nb::arg("table").none(), "A sparse (rows, columns) weight in interleaved slices of 16 rows.");
    m.def(
        "pack_slots",
        [](int64_t rows, int64_t columns, const Positions& positions, const Codes& codes, const Floats& table) {
            return pack_slots(source(rows, columns, positions, {}, codes, table));
        },
        nb::arg("rows"), nb::arg("columns"), nb::arg("positions"), nb::arg("codes"), nb::arg("table"),
        "A sparse (rows, columns) weight of at most 63 values, in slots of 16 bits.");
    m.def(
        "pack_codes",
        [](int64_t rows, int64_t columns, const Codes& codes, const Floats& table, int64_t lanes, int64_t bits) {
            return pack_codes(rows, columns, span_of(codes), span_of(table), lanes, bits);
        },
        nb::arg("rows"), nb::arg("columns"), nb::arg("codes"), nb::arg("table"), nb::arg("lanes"), nb::arg("bits"),
        "A dense (rows, columns) weight of at most 2^bits values, as codes of 4 or 5 bits.");
    m.def(
        "pack_taps",
        [](const Extents16& conv, const Positions& positions, const std::optional<Floats>& values,
           const std::optional<Codes>& codes, const std::optional<Floats>& table, int64_t panel) {
            const ConvShape shape = make_conv_shape(conv);
            const int64_t columns = shape.c / shape.groups * shape.r * shape.s;
            return pack_taps(source(shape.k, columns, positions, values, codes, table), shape, panel);
        },
        nb::arg("conv"), nb::arg("positions"), nb::arg("values").none(), nb::arg("codes").none(),
        nb::arg("table").none(), nb::arg("panel") = 1,
        "A sparse filter bank as offsets into the padded input of this convolution, for outputs in blocks of `panel`.");
    m.def(
        "pack_blocks",
        [](const Floats& weight, const Extents16& conv, int64_t block, int64_t lanes, int64_t vectors, bool depthwise) {
            return pack_blocks(span_of(weight), make_conv_shape(conv), block, lanes, vectors, depthwise);
        },
        nb::arg("weight"), nb::arg("conv"), nb::arg("block"), nb::arg("lanes"), nb::arg("vectors"),
        nb::arg("depthwise"),
        "A dense filter bank in panels of `vectors` vectors of outputs, for inputs in blocks of `block` channels.");
    m.def(
        "pack_separable",
        [](const Floats& filters, const Floats& bias, const Extents16& depthwise, const Floats& pointwise,
           const Extents16& conv, int64_t lanes, int64_t vectors) {
            return pack_separable(span_of(filters), span_of(bias), make_conv_shape(depthwise), span_of(pointwise),
                                  make_conv_shape(conv), lanes, vectors);
        },
        nb::arg("filters"), nb::arg("bias"), nb::arg("depthwise"), nb::arg("pointwise"), nb::arg("conv"),
        nb::arg("lanes"), nb::arg("vectors"),
        "Filters of a depthwise convolution, its bias, and the filters of the 1x1 convolution behind it.");
    m.def(
        "pack_bits",
        [](const std::string& kernel, const Bytes& weight, const Extents16& conv, int64_t vectors, const Floats& scale,
           const Floats& bias) {
            const Kernel& of = find_kernel(kernel);
            if (of.form != Form::bits) {
                throw std::invalid_argument("this kernel has no weights of bits");
            }
            return pack_bits(span_of(weight), make_conv_shape(conv), bits_form(of), vectors, span_of(scale),
                             span_of(bias));
        },
        nb::arg("kernel"), nb::arg("weight"), nb::arg("conv"), nb::arg("vectors"), nb::arg("scale"), nb::arg("bias"),
        "Filters of -1, 0 and 1 for this kernel, with a scale and a bias each.");
    m.def(
        "pack_bytes",
        [](const std::string& kernel, const Bytes& weight, const Extents16& conv, int64_t vectors, int64_t x_zero,
           const Positions& bias, const Floats& scale) {
            return pack_bytes(span_of(weight), make_conv_shape(conv), bytes_form(find_kernel(kernel)), vectors, x_zero,
                              span_of(bias), span_of(scale));
        },
        nb::arg("kernel"), nb::arg("weight"), nb::arg("conv"), nb::arg("vectors"), nb::arg("x_zero"), nb::arg("bias"),
        nb::arg("scale"),
        "An int8 filter bank for this kernel: bias in units of the sums, x_zero the input's code for 0, scale what "
        "each "
        "filter's sum is multiplied with. ValueError where a sum may leave int32.");
}

}  // namespace lissome
