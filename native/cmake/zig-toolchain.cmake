# Compiles for glibc 2.28 on a newer Linux, by the clang and the C libraries of the Python package
# ziglang (pip install ziglang):
#
#     cmake -S native -B build -DCMAKE_TOOLCHAIN_FILE=native/cmake/zig-toolchain.cmake
#
# The C++ runtime is LLVM's, linked statically.
set(MAHTRT_GLIBC 2.28 CACHE STRING "The oldest glibc that the library shall run with")
set(MAHTRT_PYTHON python3 CACHE STRING "A Python that has the package ziglang")
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES MAHTRT_GLIBC MAHTRT_PYTHON)

execute_process(
  COMMAND ${MAHTRT_PYTHON} -I -c
    "import pathlib, ziglang; print(pathlib.Path(ziglang.__file__).parent / 'zig', end='')"
  OUTPUT_VARIABLE zig RESULT_VARIABLE failed)
if(failed)
  message(FATAL_ERROR "${MAHTRT_PYTHON} has no package ziglang. Install it: pip install ziglang")
endif()
set(target x86_64-linux-gnu.${MAHTRT_GLIBC})
set(CMAKE_C_COMPILER ${zig} cc -target ${target})
set(CMAKE_CXX_COMPILER ${zig} c++ -target ${target})
