// What the native coders throw; the bindings turn each into its namesake of lissome.errors.
#pragma once

#include <stdexcept>

namespace lissome {

// The bytes are damaged, hostile or truncated.
struct FormatError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// Decoding would need more entries than the caller allows.
struct LimitError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// What should be encoded contradicts itself.
struct WeightError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

}  // namespace lissome
