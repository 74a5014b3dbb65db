#!/usr/bin/env bash
# The tests marked `native` against an extension built with AddressSanitizer and UndefinedBehaviorSanitizer:
#   bash tools/test_sanitize.sh [arguments for pytest]
# or the kernels, shared among threads and run at the same time, under ThreadSanitizer (native/tests/isa_agree.cpp):
#   bash tools/test_sanitize.sh thread
# PYTHON names the interpreter of an environment with the build tools and pytest (default: .venv of this checkout).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PYTHON=${PYTHON:-$PWD/.venv/bin/python}
PATH="$(dirname "$PYTHON"):$PATH"
export CXX=g++ # the runtime preloaded below is GCC's

if [[ "${1:-}" == thread ]]; then
    cmake -S . -B build/thread -G Ninja -DLISSOME_NATIVE_TEST=ON -DLISSOME_SANITIZE_THREAD=ON >/dev/null
    cmake --build build/thread
    # setarch: ThreadSanitizer's shadow memory does not fit beside an address space that is laid out at random.
    TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1 setarch -R build/thread/isa_agree
    exit
fi

build=build/sanitize
cmake -S . -B "$build" -G Ninja -DPython_EXECUTABLE="$PYTHON" -DLISSOME_SANITIZE=ON >/dev/null
cmake --build "$build"

# A package of its own, so that the sanitized extension never replaces the one in use.
rm -rf "$build/site"
mkdir -p "$build/site"
cp -r src/lissome "$build/site/"
rm -f "$build"/site/lissome/_native*.so
cp "$build"/_native*.so "$build/site/lissome/"

# Only the files that hold such tests are collected: others import torch, which need not live with a sanitizer.
mapfile -t files < <(grep -rl --include='test_*.py' 'pytest\.mark\.native' tests | sort)

# libstdc++ must be there when the sanitizer starts, else it cannot intercept the throwing of exceptions.
LD_PRELOAD="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libstdc++.so)" \
    ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 UBSAN_OPTIONS=print_stacktrace=1 \
    PYTHONPATH="$build/site" PYTHONDONTWRITEBYTECODE=1 \
    "$PYTHON" -m pytest -m native -p no:cacheprovider --timeout=1200 "${files[@]}" "$@"
