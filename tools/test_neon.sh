#!/usr/bin/env bash
# The native code for AArch64, cross-compiled and run under qemu: every NEON kernel against its scalar twin.
#   bash tools/test_neon.sh
# Needs Debian's g++-aarch64-linux-gnu and qemu-user, CMake and Ninja (those of .venv when it is there); no Python.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[[ -d .venv ]] && PATH="$PWD/.venv/bin:$PATH"
for tool in aarch64-linux-gnu-g++ qemu-aarch64 cmake ninja; do
    command -v "$tool" >/dev/null || { echo "$tool is missing: apt-get install g++-aarch64-linux-gnu qemu-user" >&2; exit 2; }
done
build=build/neon
cmake -S . -B "$build" -G Ninja -DLISSOME_NATIVE_TEST=ON -DLISSOME_WARNINGS_AS_ERRORS=ON \
    -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ >/dev/null
cmake --build "$build"
qemu-aarch64 -L /usr/aarch64-linux-gnu "$build/isa_agree"
