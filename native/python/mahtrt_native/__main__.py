"""``python -m mahtrt_native NAME`` prints a path for scripts and Makefiles."""

from __future__ import annotations

import sys

import mahtrt_native

PLACES = {
    "library": mahtrt_native.library_path,
    "include": mahtrt_native.include_dir,
    "cmake": mahtrt_native.cmake_dir,
    "pkgconfig": mahtrt_native.pkgconfig_dir,
    "samples": mahtrt_native.samples_dir,
}


def main() -> None:
    """Print the path that is asked for; ends with a message where the name is none of them."""
    if len(sys.argv) != 2 or sys.argv[1] not in PLACES:
        sys.exit(f"usage: python -m mahtrt_native {{{','.join(PLACES)}}}")
    print(PLACES[sys.argv[1]]())


if __name__ == "__main__":
    main()
