"""The interface of libmahtrt as text: sizes, offsets and constants as the C compiler sees them.

``python tests/support/native_abi.py`` records the interface in ``native/abi/`` anew, with abidw of
Debian's abigail-tools. Do that when functions, constants or last fields were added. What else
changes breaks programs that are compiled already: such a change needs a new number of MAHTRT_ABI.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

from native_library import NATIVE, compiler, needed, run

ABI = NATIVE / "abi"
HEADER = NATIVE / "include" / "mahtrt.h"

_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_STRUCT = re.compile(r"typedef struct (\w+) \{(.*?)\} \1;", re.DOTALL)
_FIELD = re.compile(r"(\w+)(?:\[\d+\])?\s*[,;]")
# Where sources lay and were compiled is none of abidw's business.
_ANONYMOUS = ("--no-corpus-path", "--no-comp-dir-path", "--no-show-locs")


def _text() -> str:
    return _COMMENT.sub("", HEADER.read_text(encoding="utf-8"))


def structs() -> dict[str, list[str]]:
    """Structs of the header with the names of their fields."""
    return {name: _FIELD.findall(body) for name, body in _STRUCT.findall(_text())}


def functions() -> list[str]:
    """Functions of the header, sorted."""
    return sorted(set(re.findall(r"\b(mahtrt_\w+)\(", _text())))


def _constants() -> list[str]:
    bodies = re.findall(r"enum \{(.*?)\};", _text(), re.DOTALL)
    return ["MAHTRT_ABI", *(name for body in bodies for name in re.findall(r"MAHTRT_\w+", body))]


def _program() -> str:
    lines = []
    for struct, fields in structs().items():
        lines.append(f'printf("{struct} %zu\\n", sizeof({struct}));')
        lines += [
            f'printf("{struct}.{field} %zu %zu\\n", offsetof({struct}, {field}), '
            f"sizeof((({struct} *)0)->{field}));"
            for field in fields
        ]
    lines += [f'printf("{name} %ld\\n", (long){name});' for name in _constants()]
    body = "\n    ".join(lines)
    return f"#include <mahtrt.h>\n#include <stdio.h>\nint main(void) {{\n    {body}\n}}\n"


def layout() -> str:
    """A line for each struct (bytes), field (offset, bytes) and constant (value)."""
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder, "layout.c"), Path(folder, "layout")
        source.write_text(_program())
        cc = compiler("CC", "cc", "gcc", "clang")
        run(cc, "-std=c99", f"-I{HEADER.parent}", source, "-o", program)
        return run(program)


def layout_of(struct: str) -> list[str]:
    """The lines of one struct."""
    lines = layout().splitlines()
    return [line for line in lines if line.split()[0].partition(".")[0] == struct]


def shell(folder: Path, header: Path = HEADER) -> Path:
    """A library of the header's functions without what they do, for abidw and abidiff.

    The real one defines functions and structs of the same header. Its debug information would
    bring half a megabyte of the C++ behind them.
    """
    text = _COMMENT.sub("", header.read_text(encoding="utf-8"))
    declared = re.findall(r"MAHTRT_API\s+([^#;]*?\));", text)
    body = "".join(f"{each} {{ __builtin_trap(); }}\n" for each in declared)
    source, library = folder / "shell.c", folder / "libmahtrt.so.1"
    source.write_text(f"#include <mahtrt.h>\n{body}")
    cc = compiler("CC", "cc", "gcc", "clang")
    options = (
        "-g",
        f"-ffile-prefix-map={folder}=.",
        "-shared",
        "-fPIC",
        f"-Wl,-soname,{library.name}",
        f"-I{header.parent}",
    )
    run(cc, *options, source, "-o", library)
    return library


def compare_with(recorded: Path, library: Path) -> str:
    """What abidiff says of a library beside the recorded interface; "" for no difference."""
    done = subprocess.run(
        [needed("abidiff"), recorded, library], capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr if done.returncode else ""


def main() -> None:
    """Record layout, symbols, and what abidw reads."""
    ABI.mkdir(exist_ok=True)
    (ABI / "layout.txt").write_text(layout())
    (ABI / "symbols.txt").write_text("\n".join(functions()) + "\n")
    with tempfile.TemporaryDirectory() as folder:
        library = shell(Path(folder))
        run(needed("abidw"), *_ANONYMOUS, "--out-file", ABI / "libmahtrt.abi", library)


if __name__ == "__main__":
    main()
