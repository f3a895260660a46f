#!/bin/sh
# Collects the small wheels that experiments/gpu_suite.py needs, for a machine with a GPU that
# reaches no package index:
#
#     sh experiments/gpu_carry.sh OUT          # here, where pip works
#     python experiments/gpu_suite.py --wheels OUT    # there
#
# The suite uses only those whose packages are missing there. They are for Python 3.12 on Linux with
# x86-64 (PYTHON_VERSION=3.13 and the like for another), taken in the order of NAMES as long as they
# fit into LIMIT_MIB together; what does not fit, or cannot be had, is told. Large packages (PyTorch,
# ONNX Runtime, CUDA) have to be there already.
#
# Exit codes: 0 all are there; 1 something is not; 2 no OUT.
set -u

PYTHON=${PYTHON:-python3}
PYTHON_VERSION=${PYTHON_VERSION:-3.12}
LIMIT_MIB=${LIMIT_MIB:-25}
# Packages and what they need; --no-deps keeps pip from fetching large ones.
NAMES="pytest iniconfig pluggy hypothesis sortedcontainers attrs packaging
typer click shellingham annotated-doc typing-extensions rich markdown-it-py mdurl pygments
nvidia-ml-py safetensors pillow onnxscript onnx-ir ml-dtypes timm opencv-python-headless"

[ $# -eq 1 ] || { echo "usage: sh experiments/gpu_carry.sh OUT" >&2; exit 2; }
out=$1
mkdir -p "$out" || exit 2
scratch=$(mktemp -d) || exit 2
trap 'rm -rf "$scratch"' EXIT

# pip matches the number of manylinux exactly, so that every usual one is named.
platforms=""
for tag in 2_39 2_35 2_34 2_31 2_28 2_27 2_24 2_17 2_12 2_5; do
    platforms="$platforms --platform manylinux_${tag}_x86_64"
done
platforms="$platforms --platform manylinux2014_x86_64 --platform manylinux1_x86_64"

kib() { du -sk "$1" | cut -f1; }

left_out=0
for name in $NAMES; do
    rm -rf "$scratch"/*
    # shellcheck disable=SC2086  # several words
    if ! "$PYTHON" -m pip download --quiet --disable-pip-version-check --no-deps \
        --only-binary=:all: --implementation cp --python-version "$PYTHON_VERSION" $platforms \
        --dest "$scratch" "$name" >"$scratch.log" 2>&1; then
        echo "$name: cannot be had: $(grep -m1 -i error "$scratch.log" || tail -n1 "$scratch.log")"
        left_out=1
    elif [ $(($(kib "$out") + $(kib "$scratch"))) -gt $((LIMIT_MIB * 1024)) ]; then
        echo "$name: $(($(kib "$scratch") / 1024)) MiB do not fit into $LIMIT_MIB MiB"
        left_out=1
    else
        mv "$scratch"/*.whl "$out"/
    fi
    rm -f "$scratch.log"
done
echo "$out: $(find "$out" -name '*.whl' | wc -l) wheels, $(($(kib "$out") / 1024)) MiB"
exit $left_out
