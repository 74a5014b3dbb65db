// A compiled network for one batch size: a list of kernel calls over tensors that live in one arena.
//
// Building validates everything once (kernel and weight forms, shapes against tensor sizes, places within the arena);
// running trusts it, allocates nothing in the steady state, and may happen in several threads at once.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/arena.h"
#include "core/kernel.h"
#include "core/packed.h"

namespace lissome {

enum class Place : int { arena, input, output, constant };

struct Tensor {
    Place place;
    int64_t elements;
    int64_t at;         // arena: offset in bytes, a multiple of 64; otherwise: which input, output or constant
    int64_t width = 4;  // bytes of an element: float, or uint8_t codes
    int64_t skip = 0;   // elements before this tensor, for one that is a part of another
    bool part = false;
};

struct Step {
    const Kernel* kernel;
    Shape shape;
    PackedPtr weights;        // null for kernels of Form::none
    std::vector<float> bias;  // empty: none
    Activation activation{};
    std::vector<int> inputs, outputs;  // tensors
    int workers = 1;
};

class Program {
  public:
    // Throws std::invalid_argument for tensors outside their place and steps that contradict their tensors.
    Program(std::vector<Tensor> tensors, std::vector<std::vector<float>> constants, std::vector<Step> steps);

    // One pointer per input and output, each to as many floats as its tensor has. seconds: nullptr, or one element a
    // step, to which the step's time is added.
    void run(std::span<const float* const> inputs, std::span<float* const> outputs, double* seconds) const;

    const std::vector<int64_t>& input_elements() const noexcept { return input_elements_; }
    const std::vector<int64_t>& output_elements() const noexcept { return output_elements_; }
    size_t steps() const noexcept { return steps_.size(); }
    int64_t arena_bytes() const noexcept { return arena_bytes_; }

  private:
    void place_tensors();
    void check(const Step& step) const;
    const Tensor& tensor(int id) const;

    std::vector<Tensor> tensors_;
    std::vector<std::vector<float>> constants_;
    std::vector<Step> steps_;
    std::vector<int64_t> input_elements_, output_elements_;
    int64_t workspace_at_ = 0, arena_bytes_ = 0;
    int threads_ = 1;
    mutable std::unique_ptr<ArenaPool> arenas_;
};

// The kernel of this full name; throws std::invalid_argument when this build has none or this processor cannot run it.
const Kernel& find_kernel(const std::string& name);

}  // namespace lissome
