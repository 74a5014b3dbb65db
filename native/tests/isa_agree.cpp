// Every kernel of every instruction set that this processor runs, against the scalar one on the same problem, each in
// its own layout, and the decoder `fast` likewise. For processors that no Python runs on (tools/test_neon.sh) and for
// ThreadSanitizer (tools/test_sanitize.sh thread): each program also runs with three workers and in three threads at
// once, which must give the same bits.
#include "tests/isa_agree_images.h"

namespace lissome {
namespace {

// Both sums are within terms · ε / 2 of the exact one, relative to the sum of magnitudes, which `magnitude` holds.
void compare(const Kernel& kernel, const Floats& got, const Floats& want, const Floats& magnitude, float terms) {
    for (size_t i = 0; i < want.size(); ++i) {
        const float bound = terms * std::numeric_limits<float>::epsilon() * magnitude[i];
        const bool same = std::isnan(want[i]) ? std::isnan(got[i]) : got[i] == want[i];
        if (!same && !(std::isfinite(want[i]) && std::abs(got[i] - want[i]) <= bound)) {
            std::printf("%s: element %zu is %.9g, scalar %.9g, bound %.3g\n", kernel.name, i,
                        static_cast<double>(got[i]), static_cast<double>(want[i]), static_cast<double>(bound));
            ++failures;
            return;
        }
    }
}

Floats magnitudes(Floats values) {
    for (float& value : values) {
        value = std::isfinite(value) ? std::abs(value) : 1.0f;
    }
    return values;
}

void check(const Kernel& kernel, const Kernel& scalar, const Problem& problem) {
    const Floats got = run(kernel, problem, 1), want = run(scalar, problem, 1), shared = run(kernel, problem, 3);
    if (std::memcmp(got.data(), shared.data(), got.size() * sizeof(float)) != 0) {
        std::printf("%s: three workers give other bits than one\n", kernel.name);
        ++failures;
    }
    Problem positive = problem;
    for (Floats* values :
         {&positive.x, &positive.x2, &positive.weight, &positive.bias, &positive.filters, &positive.filters_bias}) {
        *values = magnitudes(*values);
    }
    if (kernel.op == Op::separable) {
        positive.floats = {std::numeric_limits<float>::lowest(), std::numeric_limits<float>::max()};
    }
    positive.activation = {};
    const bool linear = kernel.op == Op::conv || kernel.op == Op::gemm || kernel.op == Op::affine ||
                        kernel.op == Op::separable || (kernel.op == Op::pool && problem.terms > 0);
    compare(kernel, got, want, linear ? run(scalar, positive, 1) : Floats(want.size(), 1.0f), problem.terms);
}

// How much larger than inputs times filters the numbers within Winograd's transforms can be.
float growth(const Kernel& kernel, const ConvShape& shape) {
    if (kernel.form != Form::winograd) {
        return 1.0f;
    }
    const WinogradMatrices t = winograd_matrices(kernel.tile, shape.r, {});
    const auto edge = static_cast<size_t>(kernel.tile + shape.r - 1), taps = static_cast<size_t>(shape.r);
    double most = 0.0;
    for (size_t p = 0; p < t.at.size(); p += edge) {
        double sum = 0.0;
        for (size_t i = 0; i < edge; ++i) {
            double input = 0.0, filter = 0.0;
            for (size_t j = 0; j < edge; ++j) {
                input += std::abs(t.bt[i * edge + j]);
            }
            for (size_t j = 0; j < taps; ++j) {
                filter += std::abs(t.g[i * taps + j]);
            }
            sum += std::abs(t.at[p + i]) * input * filter;
        }
        most = std::max(most, sum * sum);
    }
    return static_cast<float>(most);
}

void spoil(Floats& values) {
    values[values.size() / 2] = std::numeric_limits<float>::quiet_NaN();
    values[values.size() / 3] = std::numeric_limits<float>::infinity();
}

std::vector<Problem> weighted(const Kernel& kernel) {
    const std::vector<std::vector<int64_t>> gemms{{1, 1, 1}, {1, 33, 70}, {3, 17, 9}, {5, 40, 130}, {67, 19, 65}};
    const std::vector<std::vector<int64_t>> convs{
        {1, 1, 5, 5, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0},     {2, 3, 9, 11, 5, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
        {1, 4, 13, 8, 6, 5, 2, 2, 2, 1, 1, 2, 0, 1, 2, 3},    {4, 2, 28, 28, 20, 5, 5, 1, 1, 1, 1, 1, 0, 0, 0, 0},
        {1, 8, 7, 40, 8, 3, 3, 8, 1, 2, 1, 1, 1, 1, 1, 1},    {1, 37, 14, 15, 70, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
        {2, 20, 9, 11, 20, 5, 5, 20, 2, 2, 1, 1, 2, 2, 2, 2}, {1, 19, 14, 14, 19, 3, 3, 19, 1, 1, 1, 1, 1, 1, 1, 1},
        {1, 5, 12, 7, 5, 3, 2, 5, 1, 3, 2, 1, 1, 1, 0, 1}};
    // Each order of the loops; panels, blocks and tiles that do not divide.
    const std::vector<std::vector<int64_t>> schedules{
        {0, 2, 4, 1, 1, 2, 5}, {1, 3, 100, 2, 2, 3, 100}, {2, 4, 3, 2, 1, 1, 9}};
    std::vector<Problem> made;
    for (const auto& ints : kernel.op == Op::conv ? convs : gemms) {
        for (const int variant : {0, 1, 2}) {
            Problem problem;
            problem.ints = ints;
            if (kernel.form == Form::blocks) {  // whole groups, or one filter a channel
                if (kernel.depthwise ? ints[1] != ints[7] || ints[4] != ints[7] : ints[7] != 1) {
                    continue;
                }
                if (!kernel.depthwise) {
                    const auto& schedule = schedules[static_cast<size_t>(variant)];
                    problem.ints.insert(problem.ints.end(), schedule.begin(), schedule.end());
                }
            }
            const Shape shape = rule_of(kernel.op).shape(problem.ints, {});
            if (kernel.supports != nullptr && !kernel.supports(shape)) {
                continue;
            }
            const WeightExtents extents = rule_of(kernel.op).weight(shape);
            problem.rows = extents.rows;
            problem.columns = extents.columns;
            problem.weight = floats_of(problem.rows * problem.columns,
                                       kernel.form >= Form::sell && kernel.form != Form::blocks ? 0.7 : 0.0);
            problem.bias = variant == 1 ? Floats{} : floats_of(problem.rows);
            const Images images = images_in(kernel.op, shape);
            problem.x = floats_of(images.n > 0 ? images.plain() : rule_of(kernel.op).operands(shape, kernel).in[0]);
            problem.coded = variant != 0 || kernel.form == Form::slots;
            problem.terms = static_cast<float>(2 * problem.columns + 4) * growth(kernel, shape.conv);
            if (variant == 2) {
                problem.activation.kind = ActivationKind::relu;
                spoil(problem.x);
            }
            made.push_back(problem);
        }
    }
    return made;
}

std::vector<Problem> separable() {
    std::vector<Problem> made;
    const std::vector<std::vector<int64_t>> convs{{2, 20, 9, 11, 20, 3, 3, 20, 1, 1, 1, 1, 1, 1, 1, 1, 37, 3, 2},
                                                  {1, 35, 13, 8, 35, 5, 5, 35, 2, 2, 1, 1, 2, 2, 2, 2, 16, 4, 3}};
    for (const auto& ints : convs) {
        for (const bool spoilt : {false, true}) {
            Problem problem{.ints = ints, .floats = {0.0f, 6.0f}};
            const Shape shape = rule_of(Op::separable).shape(ints, problem.floats);
            const ConvShape& d = shape.separable.depthwise;
            problem.rows = shape.conv.k;
            problem.columns = d.c;
            problem.weight = floats_of(problem.rows * problem.columns);
            problem.filters = floats_of(d.c * d.r * d.s);
            problem.filters_bias = floats_of(d.c);
            problem.bias = floats_of(problem.rows);
            problem.x = floats_of(images_in(Op::separable, shape).plain());
            problem.terms = static_cast<float>(2 * (d.c + d.r * d.s) + 8);
            if (spoilt) {
                spoil(problem.x);
            }
            made.push_back(problem);
        }
    }
    return made;
}

std::vector<Problem> weightless(const Kernel& kernel) {
    std::vector<Problem> made;
    const std::string name = kernel.name;
    const auto has = [&name](const char* part) { return name.find(part) != std::string::npos; };
    if (kernel.op == Op::pool) {
        for (const int64_t flag : {0, 1}) {
            made.push_back({.ints = {2, 3, 11, 37, 3, 2, 2, 1, 1, 1, 1, 0, 1, 1, flag, flag}});
            made.push_back({.ints = {1, 5, 8, 8, 2, 2, 2, 2, 1, 1, 0, 0, 0, 0, flag, flag}});
            made.push_back({.ints = {1, 2, 7, 7, 7, 7, 1, 1, 1, 1, 0, 0, 0, 0, 0, flag}});
        }
        for (Problem& problem : made) {
            problem.terms = has("average") ? 2.0f * static_cast<float>(problem.ints[4] * problem.ints[5]) + 4 : 0;
        }
    } else if (kernel.op == Op::binary) {
        made.push_back({.ints = {3, 5, 37, 185, 37, 1, 0, 1, 0}});
        made.push_back({.ints = {1, 70, 70, 1, 70, 1}});
    } else if (kernel.op == Op::unary) {
        for (const int64_t count : {1, 3, 63, 200}) {
            // Outputs of sigmoid and tanh are at most 1; their approximations lie within 4e-7 of the exact value.
            made.push_back({.ints = {count}, .floats = {0.25f}, .terms = has("sigmoid") || has("tanh") ? 8.0f : 0.0f});
        }
    } else if (kernel.op == Op::softmax || kernel.op == Op::affine) {
        for (const int64_t inner : {1, 5, 40}) {
            Problem problem{.ints = {3, 19, inner}, .terms = kernel.op == Op::softmax ? 16.0f : 4.0f};
            if (kernel.op == Op::affine) {
                problem.rows = 2;
                problem.columns = 19;
                problem.weight = floats_of(38);
            }
            made.push_back(problem);
        }
    }
    for (Problem& problem : made) {
        const Shape shape = rule_of(kernel.op).shape(problem.ints, problem.floats);
        const Operands operands = rule_of(kernel.op).operands(shape, kernel);
        const Images images = images_in(kernel.op, shape);
        problem.x = floats_of(images.n > 0 ? images.plain() : operands.in[0]);
        problem.x2 = floats_of(std::max<int64_t>(operands.in[1], 1));
        if (problem.x.size() > 100) {
            spoil(problem.x);
        }
    }
    return made;
}

void check_kernels() {
    const KernelList list = all_kernels();
    const std::vector<const Kernel*> kernels(list.data, list.data + list.size);
    int compared = 0;
    for (const Kernel* kernel : kernels) {
        const std::string name = kernel->name, stem = name.substr(0, name.size() - std::strlen(isa_name(kernel->isa)));
        const auto twin = std::find_if(kernels.begin(), kernels.end(), [&stem](const Kernel* other) {
            return other->isa == Isa::scalar && other->name == stem + "scalar";
        });
        if (!isa_runs(kernel->isa) || kernel->isa == Isa::scalar) {
            continue;
        }
        if (kernel->width_in == 1 || kernel->width_out == 1) {
            std::printf("%s: not compared: no program begins or ends in codes\n", kernel->name);
            continue;
        }
        const bool images = kernel->op == Op::conv || kernel->op == Op::separable || kernel->op == Op::pool;
        const bool same =
            twin != kernels.end() && kernel->block_in == (*twin)->block_in && kernel->block_out == (*twin)->block_out;
        if (twin == kernels.end() || !(same || images)) {
            std::printf("%s: not compared: it has no scalar twin of the same layout\n", kernel->name);
            continue;
        }
        const bool weights = kernel->op == Op::conv || kernel->op == Op::gemm;
        const std::vector<Problem> problems = kernel->op == Op::separable ? separable()
                                              : weights                   ? weighted(*kernel)
                                                                          : weightless(*kernel);
        if (problems.empty()) {
            std::printf("%s: not compared: there are no problems of its kind here\n", kernel->name);
            continue;
        }
        for (const Problem& problem : problems) {
            check(*kernel, **twin, problem);
        }
        ++compared;
    }
    std::printf("%d kernels compared with their scalar twins\n", compared);
    failures += compared == 0 && best_isa() != Isa::scalar;
}

void check_decoder() {
    for (const uint32_t alphabet : {1u, 16u, 300u}) {
        std::vector<int64_t> positions;
        std::vector<uint16_t> wide;
        std::vector<uint8_t> narrow;
        for (int64_t at = 0; at < 50'000; at += 1 + static_cast<int64_t>(random_bits() % 9)) {
            const uint32_t code = random_bits() % alphabet * (random_bits() % 2);
            positions.push_back(at);
            wide.push_back(static_cast<uint16_t>(code));
            narrow.push_back(static_cast<uint8_t>(code));
        }
        IndicesView view{{50'000, true, alphabet, {100, 500}}, positions, std::span<const uint8_t>(narrow)};
        if (alphabet > 256) {
            view.codes = std::span<const uint16_t>(wide);
        }
        const auto bytes = fast_encode(std::span(&view, 1));
        for (const Isa isa : {Isa::scalar, Isa::neon, Isa::avx2, Isa::avx512}) {
            if (!isa_runs(isa)) {
                continue;
            }
            const auto found = fast_decode_with(isa, bytes, std::span(&view.spec, 1), positions.size());
            const bool same =
                alphabet > 256 ? std::get<1>(found[0].codes) == wide : std::get<0>(found[0].codes) == narrow;
            if (found[0].positions != positions || !same) {
                std::printf("fast, %s: alphabet %u decodes to something else\n", isa_name(isa), alphabet);
                ++failures;
            }
        }
    }
    std::printf("fast decodes alike on every instruction set\n");
}

}  // namespace
}  // namespace lissome

int main() {
    std::printf("best instruction set: %s\n", lissome::isa_name(lissome::best_isa()));
    lissome::check_kernels();
    lissome::check_decoder();
    std::printf(lissome::failures ? "%d FAILED\n" : "all agree\n", lissome::failures);
    return lissome::failures ? 1 : 0;
}
