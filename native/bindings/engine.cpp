// Bindings of the engine: packing weights, building a Program, running it. Shapes come as plain integers, and the
// makers in core/conv_shape.h check them; nothing from Python reaches a kernel unchecked.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <optional>
#include <stdexcept>

#include "conv/pack.h"
#include "executor/program.h"
#include "gemm/pack.h"

namespace nb = nanobind;

namespace lissome {
namespace {

using Floats = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Codes = nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Positions = nb::ndarray<const int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Result = nb::ndarray<float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Times = nb::ndarray<double, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Extents16 = std::array<int64_t, 16>;

template <class Array>
auto span_of(const Array& array) {
    return std::span(array.data(), array.size());
}

std::vector<float> copy_of(const Floats& array) {
    return {array.data(), array.data() + array.size()};
}

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

// Collects tensors and steps; build() makes the Program, which checks them all.
struct Builder {
    std::vector<Tensor> tensors;
    std::vector<std::vector<float>> constants;
    std::vector<Step> steps;

    int add_tensor(Place place, int64_t elements, int64_t at) {
        tensors.push_back({place, elements, at});
        return static_cast<int>(tensors.size()) - 1;
    }

    Step& add_step(const std::string& kernel, Op op, int x, int y, Activation activation) {
        const Kernel& found = find_kernel(kernel);
        if (found.op != op) {
            throw std::invalid_argument("kernel " + kernel + " is for another operator");
        }
        Step& step = steps.emplace_back();
        step.kernel = &found;
        step.x = x;
        step.y = y;
        step.activation = activation;
        return step;
    }
};

Activation activation(bool relu) {
    return relu ? Activation::relu : Activation::none;
}

void bind_packed(nb::module_& m) {
    nb::class_<Packed>(m, "Packed", "Weights packed for one kernel form; made by the pack_ functions.")
        .def_prop_ro("nbytes", &Packed::bytes, "Bytes that the packed weights occupy in memory.");
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
        "pack_sell",
        [](int64_t rows, int64_t columns, const Positions& positions, const std::optional<Floats>& values,
           const std::optional<Codes>& codes, const std::optional<Floats>& table) {
            return pack_sell(source(rows, columns, positions, values, codes, table));
        },
        nb::arg("rows"), nb::arg("columns"), nb::arg("positions"), nb::arg("values").none(), nb::arg("codes").none(),
        nb::arg("table").none(), "A sparse (rows, columns) weight in interleaved slices of 16 rows.");
    m.def(
        "pack_taps",
        [](const Extents16& conv, const Positions& positions, const std::optional<Floats>& values,
           const std::optional<Codes>& codes, const std::optional<Floats>& table) {
            const ConvShape shape = make_conv_shape(conv);
            const int64_t columns = shape.c / shape.groups * shape.r * shape.s;
            return pack_taps(source(shape.k, columns, positions, values, codes, table), shape);
        },
        nb::arg("conv"), nb::arg("positions"), nb::arg("values").none(), nb::arg("codes").none(),
        nb::arg("table").none(), "A sparse filter bank as offsets into the padded input of this convolution.");
}

void bind_builder(nb::module_& m) {
    using Weights = std::shared_ptr<const Packed>;
    nb::class_<Builder>(m, "Builder", "Collects the tensors and steps of a Program.")
        .def(nb::init<>())
        .def(
            "arena", [](Builder& b, int64_t elements, int64_t at) { return b.add_tensor(Place::arena, elements, at); },
            nb::arg("elements"), nb::arg("offset"), "A tensor in the arena, at a byte offset that 64 divides.")
        .def(
            "input", [](Builder& b, int64_t elements, int64_t at) { return b.add_tensor(Place::input, elements, at); },
            nb::arg("elements"), nb::arg("number"), "The number-th input.")
        .def(
            "output",
            [](Builder& b, int64_t elements, int64_t at) { return b.add_tensor(Place::output, elements, at); },
            nb::arg("elements"), nb::arg("number"), "The number-th output.")
        .def(
            "constant",
            [](Builder& b, const Floats& values) {
                b.constants.push_back(copy_of(values));
                return b.add_tensor(Place::constant, static_cast<int64_t>(values.size()),
                                    static_cast<int64_t>(b.constants.size()) - 1);
            },
            nb::arg("values"), "A tensor that every run reads and none writes.")
        .def(
            "conv",
            [](Builder& b, const std::string& kernel, int x, int y, const Extents16& shape, Weights weights,
               const std::optional<Floats>& bias, bool relu) {
                Step& step = b.add_step(kernel, Op::conv, x, y, activation(relu));
                step.shape.conv = make_conv_shape(shape);
                step.weights = std::move(weights);
                step.bias = bias ? copy_of(*bias) : std::vector<float>{};
            },
            nb::arg("kernel"), nb::arg("x"), nb::arg("y"), nb::arg("shape"), nb::arg("weights").none(),
            nb::arg("bias").none(), nb::arg("relu"))
        .def(
            "gemm",
            [](Builder& b, const std::string& kernel, int x, int y, const std::array<int64_t, 3>& shape,
               Weights weights, const std::optional<Floats>& bias, bool relu) {
                Step& step = b.add_step(kernel, Op::gemm, x, y, activation(relu));
                step.shape.gemm = make_gemm_shape(shape[0], shape[1], shape[2]);
                step.weights = std::move(weights);
                step.bias = bias ? copy_of(*bias) : std::vector<float>{};
            },
            nb::arg("kernel"), nb::arg("x"), nb::arg("y"), nb::arg("shape"), nb::arg("weights").none(),
            nb::arg("bias").none(), nb::arg("relu"))
        .def(
            "pool",
            [](Builder& b, const std::string& kernel, int x, int y, const Extents16& shape) {
                b.add_step(kernel, Op::pool, x, y, Activation::none).shape.pool = make_pool_shape(shape);
            },
            nb::arg("kernel"), nb::arg("x"), nb::arg("y"), nb::arg("shape"))
        .def(
            "unary",
            [](Builder& b, const std::string& kernel, int x, int y, int64_t count, float alpha) {
                ElementShape& e = b.add_step(kernel, Op::unary, x, y, Activation::none).shape.element;
                e.count = count;
                e.alpha = alpha;
            },
            nb::arg("kernel"), nb::arg("x"), nb::arg("y"), nb::arg("count"), nb::arg("alpha"))
        .def(
            "binary",
            [](Builder& b, const std::string& kernel, int x, int x2, int y, const std::vector<int64_t>& extents,
               const std::vector<int64_t>& stride_a, const std::vector<int64_t>& stride_b, bool relu) {
                const size_t rank = extents.size();
                if (rank < 1 || rank > kMaxRank || stride_a.size() != rank || stride_b.size() != rank) {
                    throw std::invalid_argument("a binary operator has 1 to 8 axes, each with two strides");
                }
                Step& step = b.add_step(kernel, Op::binary, x, y, activation(relu));
                step.x2 = x2;
                ElementShape& e = step.shape.element;
                e.rank = static_cast<int64_t>(rank);
                e.count = checked_product(extents.data(), e.rank);
                std::copy(extents.begin(), extents.end(), e.dim);
                std::copy(stride_a.begin(), stride_a.end(), e.stride_a);
                std::copy(stride_b.begin(), stride_b.end(), e.stride_b);
            },
            nb::arg("kernel"), nb::arg("x"), nb::arg("x2"), nb::arg("y"), nb::arg("extents"), nb::arg("stride_a"),
            nb::arg("stride_b"), nb::arg("relu"))
        .def(
            "affine",
            [](Builder& b, const std::string& kernel, int x, int y, const std::array<int64_t, 3>& shape,
               Weights weights, bool relu) {
                Step& step = b.add_step(kernel, Op::affine, x, y, activation(relu));
                step.weights = std::move(weights);
                step.shape.element.outer = shape[0];
                step.shape.element.channels = shape[1];
                step.shape.element.inner = shape[2];
            },
            nb::arg("kernel"), nb::arg("x"), nb::arg("y"), nb::arg("shape"), nb::arg("weights").none(), nb::arg("relu"))
        .def(
            "softmax",
            [](Builder& b, const std::string& kernel, int x, int y, const std::array<int64_t, 3>& shape) {
                ElementShape& e = b.add_step(kernel, Op::softmax, x, y, Activation::none).shape.element;
                e.outer = shape[0];
                e.channels = shape[1];
                e.inner = shape[2];
            },
            nb::arg("kernel"), nb::arg("x"), nb::arg("y"), nb::arg("shape"))
        .def(
            "build",
            [](Builder& b, const std::vector<int>& workers) {
                if (workers.size() != b.steps.size()) {
                    throw std::invalid_argument("one number of workers for every step");
                }
                for (size_t i = 0; i < workers.size(); ++i) {
                    b.steps[i].workers = workers[i];
                }
                return std::make_shared<Program>(b.tensors, b.constants, b.steps);
            },
            nb::arg("workers"), "Checks everything and returns the Program; ValueError for what does not fit.");
}

void run_program(const Program& program, const std::vector<Floats>& inputs, const std::vector<Result>& outputs,
                 const std::optional<Times>& seconds) {
    std::vector<const float*> from;
    std::vector<float*> to;
    const auto check = [](size_t found, const std::vector<int64_t>& wanted, size_t i) {
        if (i >= wanted.size() || static_cast<int64_t>(found) != wanted[i]) {
            throw std::invalid_argument("an input or output array has another size than its tensor");
        }
    };
    for (size_t i = 0; i < inputs.size(); ++i) {
        check(inputs[i].size(), program.input_elements(), i);
        from.push_back(inputs[i].data());
    }
    for (size_t i = 0; i < outputs.size(); ++i) {
        check(outputs[i].size(), program.output_elements(), i);
        to.push_back(outputs[i].data());
    }
    if (seconds && seconds->size() != program.steps()) {
        throw std::invalid_argument("one time for every step");
    }
    double* times = seconds ? seconds->data() : nullptr;
    const nb::gil_scoped_release release;
    program.run(from, to, times);
}

std::vector<std::tuple<std::string, std::string, int64_t>> kernels() {
    std::vector<std::tuple<std::string, std::string, int64_t>> rows;
    const KernelList list = all_kernels();
    for (int64_t i = 0; i < list.size; ++i) {
        if (isa_runs(list.data[i]->isa)) {
            rows.emplace_back(list.data[i]->name, isa_name(list.data[i]->isa), list.data[i]->panel);
        }
    }
    return rows;
}

}  // namespace

void bind_engine(nb::module_& m) {
    bind_packed(m);
    bind_builder(m);
    nb::class_<Program>(m, "Program", "A network compiled for one batch size. Runs may overlap.")
        .def_prop_ro("arena_bytes", &Program::arena_bytes, "Bytes of activations and workspace of one run.")
        .def_prop_ro("steps", &Program::steps, "Number of kernel calls in a run.")
        .def("run", &run_program, nb::arg("inputs"), nb::arg("outputs"), nb::arg("seconds").none(),
             "Runs once without holding the GIL; adds each step's time to `seconds`.");
    m.def("kernels", &kernels, "Name, instruction set and panel width of every kernel that this processor runs.");
    m.def(
        "conv_extents",
        [](const Extents16& shape) {
            const ConvShape s = make_conv_shape(shape);
            return std::pair(s.p, s.q);
        },
        nb::arg("shape"), "Output height and width of a convolution.");
    m.def(
        "pool_extents",
        [](const Extents16& shape) {
            const PoolShape s = make_pool_shape(shape);
            return std::pair(s.p, s.q);
        },
        nb::arg("shape"), "Output height and width of a pooling.");
}

}  // namespace lissome
