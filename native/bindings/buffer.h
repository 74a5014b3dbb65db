// Memory of an array from Python, borrowed through the buffer protocol: a fraction of the time that a general array
// conversion takes, which is what a run of a small network would spend most of its time on.
#pragma once

#include <nanobind/nanobind.h>

#include <cstddef>
#include <stdexcept>

namespace lissome {

template <class T>
constexpr char kFormat = 0;
template <>
inline constexpr char kFormat<float> = 'f';
template <>
inline constexpr char kFormat<double> = 'd';

// Elements of an array as long as this lives. Throws std::invalid_argument unless they are T, in order, without gaps,
// and writable where T is not const.
template <class T>
class Borrowed {
  public:
    explicit Borrowed(PyObject* array) {
        const int wanted = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (std::is_const_v<T> ? 0 : PyBUF_WRITABLE);
        if (PyObject_GetBuffer(array, &view_, wanted) != 0) {
            PyErr_Clear();
            throw std::invalid_argument("an array is contiguous, and writable where it is an output");
        }
        const char* format = view_.format;
        if (format == nullptr || format[0] != kFormat<std::remove_const_t<T>> || format[1] != '\0') {
            PyBuffer_Release(&view_);
            throw std::invalid_argument("an array has another data type than its tensor");
        }
    }
    ~Borrowed() { PyBuffer_Release(&view_); }
    Borrowed(const Borrowed&) = delete;
    Borrowed& operator=(const Borrowed&) = delete;

    T* data() const noexcept { return static_cast<T*>(view_.buf); }
    size_t size() const noexcept { return static_cast<size_t>(view_.len) / sizeof(T); }

  private:
    Py_buffer view_{};
};

}  // namespace lissome
