#!/bin/sh
# The wheel mahtrt-native for every x86-64 Linux with glibc 2.28 or newer, whatever is here.
#
#     native/portable_wheel.sh [FOLDER]      # writes the wheel there; without it, into dist
#
# Needs python3 with pip and venv, and 100 MB for ziglang, which brings compiler and C library.
set -eu
native=$(cd "$(dirname "$0")" && pwd)
folder=${1:-dist}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet ziglang
mkdir -p "$folder"
"$work/venv/bin/pip" wheel "$native" --no-deps --wheel-dir "$folder" \
    -C cmake.define.CMAKE_TOOLCHAIN_FILE="$native/cmake/zig-toolchain.cmake" \
    -C cmake.define.MAHTRT_PYTHON="$work/venv/bin/python" \
    -C wheel.tags=py3-none-manylinux_2_28_x86_64
