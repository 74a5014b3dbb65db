// What the kernels of isa_agree.cpp are given: problems, and images in each kernel's own layout.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "codec/fast.h"
#include "conv/pack.h"
#include "executor/program.h"
#include "executor/rules.h"
#include "gemm/codes.h"
#include "gemm/pack.h"

namespace lissome {
namespace {

using Floats = std::vector<float>;

std::mt19937 random_bits(1);
int failures = 0;

// What a kernel computes: numbers as its rule takes them, operands, and how far two right answers may lie apart.
struct Problem {
    std::vector<int64_t> ints;
    Floats floats, x, x2;
    Floats weight, bias;           // dense; packed as each kernel wants it
    Floats filters, filters_bias;  // of the depthwise convolution of a separable one, which has no bias beside
    int64_t rows = 0, columns = 0;
    bool coded = false;  // sparse forms: codes into a table
    float terms = 0;     // rounded operations in one output, each by half a unit in the last place
    Activation activation{};
};

Floats floats_of(int64_t count, double zeros = 0) {
    Floats made(static_cast<size_t>(count));
    for (float& value : made) {
        const bool zero = std::uniform_real_distribution<>()(random_bits) < zeros;
        value = zero ? 0.0f : static_cast<float>(std::uniform_int_distribution<>(-7, 7)(random_bits)) / 8.0f + 0.0625f;
    }
    return made;
}

// A code for every weight; table: what they choose from.
std::vector<uint8_t> all_codes(const Floats& weight, Floats& table) {
    table = weight;
    std::sort(table.begin(), table.end());
    table.erase(std::unique(table.begin(), table.end()), table.end());
    std::vector<uint8_t> codes;
    for (const float value : weight) {
        codes.push_back(static_cast<uint8_t>(std::lower_bound(table.begin(), table.end(), value) - table.begin()));
    }
    return codes;
}

// Images as kernels on blocks of channels have them; none for other operators. Problems hold plain ones.
struct Images {
    int64_t n = 0, c = 0, plane = 0;

    int64_t plain() const { return n * c * plane; }

    // Where the element of a plain tensor lies in one of this many blocks.
    int64_t at(int64_t i, int64_t block) const {
        const int64_t image = i / (c * plane), channel = i / plane % c, blocks = (c + block - 1) / block;
        return ((image * blocks + channel / block) * plane + i % plane) * block + channel % block;
    }

    Floats to_blocks(const Floats& x, int64_t block, int64_t elements) const {
        Floats y(static_cast<size_t>(elements), 0.0f);
        for (int64_t i = 0; i < plain(); ++i) {
            y[static_cast<size_t>(at(i, block))] = x[static_cast<size_t>(i)];
        }
        return y;
    }

    Floats to_plain(const Floats& x, int64_t block) const {
        Floats y(static_cast<size_t>(plain()));
        for (int64_t i = 0; i < plain(); ++i) {
            y[static_cast<size_t>(i)] = x[static_cast<size_t>(at(i, block))];
        }
        return y;
    }
};

Images images_in(Op op, const Shape& shape) {
    if (op == Op::pool) {
        return {shape.pool.n, shape.pool.c, shape.pool.h * shape.pool.w};
    }
    if (op != Op::conv && op != Op::separable) {
        return {};
    }
    const ConvShape& s = op == Op::conv ? shape.conv : shape.separable.depthwise;
    return {s.n, s.c, s.h * s.w};
}

Images images_out(Op op, const Shape& shape) {
    if (op == Op::pool) {
        return {shape.pool.n, shape.pool.c, shape.pool.p * shape.pool.q};
    }
    if (op != Op::conv && op != Op::separable) {
        return {};
    }
    return {shape.conv.n, shape.conv.k, shape.conv.p * shape.conv.q};
}

PackedPtr pack(const Kernel& kernel, const Shape& shape, const Problem& problem) {
    std::vector<int64_t> positions;
    Floats values, table;
    std::vector<uint8_t> codes;
    for (size_t i = 0; i < problem.weight.size(); ++i) {
        if (problem.weight[i] != 0.0f) {
            positions.push_back(static_cast<int64_t>(i));
            values.push_back(problem.weight[i]);
        }
    }
    SparseSource source{problem.rows, problem.columns, positions, values, {}, {}};
    if (problem.coded && !values.empty()) {
        codes = all_codes(values, table);
        source = {problem.rows, problem.columns, positions, {}, codes, table};
    }
    switch (kernel.form) {
        case Form::rows:
            return pack_rows(problem.weight, problem.rows, problem.columns);
        case Form::panels:
            return pack_panels(problem.weight, problem.rows, problem.columns, kernel.panel);
        case Form::filters:
            return pack_filters(problem.weight, problem.rows, problem.columns, shape.conv.groups, kernel.panel);
        case Form::mec:
            return pack_mec(problem.weight, shape.conv, kernel.panel);
        case Form::winograd:
            return pack_winograd(problem.weight, shape.conv, kernel.tile, kernel.panel);
        case Form::blocks:
            return pack_blocks(problem.weight, shape.conv, kernel.block_in, kernel.block_out,
                               kernel.depthwise ? 1 : shape.schedule.vectors, kernel.depthwise);
        case Form::separable:
            return pack_separable(problem.filters, problem.filters_bias, shape.separable.depthwise, problem.weight,
                                  shape.conv, kernel.block_out, shape.schedule.vectors);
        case Form::sell:
            return pack_sell(source);
        case Form::slots:
            return pack_slots(source);
        case Form::codes:
            codes = all_codes(problem.weight, table);
            return pack_codes(problem.rows, problem.columns, codes, table, kernel.panel, kernel.tile);
        case Form::taps:
            return pack_taps(source, shape.conv, kernel.panel);
        default:
            return nullptr;
    }
}

Floats run(const Kernel& kernel, const Problem& problem, int workers) {
    const Rule& rule = rule_of(kernel.op);
    Step step;
    step.kernel = &kernel;
    step.shape = rule.shape(problem.ints, problem.floats);
    step.weights = pack(kernel, step.shape, problem);
    step.bias = problem.bias;
    step.activation = problem.activation;
    step.workers = workers;
    const Operands operands = rule.operands(step.shape, kernel);
    const Images in = images_in(kernel.op, step.shape), out = images_out(kernel.op, step.shape);
    const Floats x = in.n > 0 ? in.to_blocks(problem.x, kernel.block_in, operands.in[0]) : problem.x;
    std::vector<Tensor> tensors{{Place::input, operands.in[0], 0}};
    std::vector<const float*> inputs{x.data()};
    step.inputs = {0};
    if (operands.required == 2) {
        tensors.push_back({Place::input, operands.in[1], 1});
        inputs.push_back(problem.x2.data());
        step.inputs = {0, 1};
    }
    step.outputs = {static_cast<int>(tensors.size())};
    tensors.push_back({Place::output, operands.out[0], 0});
    const Program program(tensors, {}, {step});

    std::vector<Floats> found(workers > 1 ? 3 : 1, Floats(static_cast<size_t>(operands.out[0]), -99.0f));
    std::vector<std::thread> threads;
    for (Floats& y : found) {
        threads.emplace_back([&] {
            float* outputs[] = {y.data()};
            program.run(inputs, outputs, nullptr);
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    for (const Floats& y : found) {
        if (std::memcmp(y.data(), found[0].data(), y.size() * sizeof(float)) != 0) {
            std::printf("%s: runs at the same time differ\n", kernel.name);
            ++failures;
        }
    }
    return out.n > 0 ? out.to_plain(found[0], kernel.block_out) : found[0];
}

}  // namespace
}  // namespace lissome
