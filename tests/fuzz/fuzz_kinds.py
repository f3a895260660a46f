"""The kinds of input that are mutated, and how their cases are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edits import byte_edits, json_edits
from fuzz_works import (
    ArrayCase,
    FileCase,
    GraphCase,
    NamesCase,
    SealedCase,
    StateCase,
    TreeCase,
)
from hypothesis import strategies as st


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of input.

    Attributes:
        name: Function of tests/support/fuzz_works.py that tries a case.
        examples: Cases in ``make test``.
    """

    name: str
    examples: int
    cases: st.SearchStrategy[Any]


_NUMBER = st.integers(0, 10_000)
_DTYPES = ["float32", "float16", "float64", "int8", "uint8", "int32", "int64", "bool", "complex64"]

# -- bundles and graphs ------------------------------------------------------------------------

_REPLACEMENTS = st.sampled_from(("delete", "link", "fifo", "folder", "other", "add"))
_unsealed = st.builds(TreeCase, _NUMBER, st.just("bytes"), byte_edits()) | st.builds(
    TreeCase, _NUMBER, _REPLACEMENTS
)
_sealed = st.builds(SealedCase, json_edits()) | st.builds(
    SealedCase, st.just(()), _NUMBER, byte_edits()
)

_FIELD_VALUES = st.one_of(
    st.none(),
    st.sampled_from((0, 1, -1, 7, 999, 10**9, 2**31 - 1, 2**40)),
    st.sampled_from(("", "Conv", "Loop", "If", "image", "\x1b[31m", "ä", "x" * 5000)),
)
_changes = st.lists(st.tuples(_NUMBER, _FIELD_VALUES), max_size=3).map(tuple)
_graphs = st.one_of(
    st.builds(GraphCase, _NUMBER, _changes),
    st.builds(GraphCase, _NUMBER, st.just(()), byte_edits()),
    st.builds(GraphCase, _NUMBER, st.just(()), st.just(()), json_edits()),
)

# -- checkpoints that torch.save wrote ---------------------------------------------------------

_KEYS = "0.weight 0.bias 1.weight 1.bias 1.running_mean 1.running_var 1.num_batches_tracked"
_keys = st.sampled_from((*_KEYS.split(), "2.weight", "2.bias", "extra", "", 0, 1, "\x1b[31m"))
_shapes = st.sampled_from(
    ((), (4,), (2,), (4, 3, 3, 3), (2, 4), (0,), (2**40,), (2**20, 2**20), (1,) * 30)
)
_kinds = st.sampled_from(["dense", "dense", "nan", "sparse", "meta", "view", "object", "quantized"])
_items = st.tuples(_keys, st.sampled_from((*_DTYPES, "bfloat16")), _shapes, _kinds)
_states = st.builds(
    StateCase,
    st.lists(_items, max_size=9).map(tuple),
    st.sampled_from(("", "", "state_dict", "model", "other")),
)

# -- what programs give ------------------------------------------------------------------------

_HUGE_SHAPES = st.sampled_from(
    ((2**16, 2**16), (2**31, 2), (2**20, 2**20, 3), (10**6, 3), (3, 10**6))
)
_SMALL_SHAPES = st.sampled_from(
    ((32, 48, 3), (64, 64), (1, 1), (2, 1), (5, 5, 4), (9, 9, 1), (3, 40, 40))
)
_SPACINGS = st.sampled_from(
    [
        *(0.1, -1.0, 0, True, float("nan"), float("inf"), "0.1", {"a": 1}, [], 10**400),
        *((0.1, 0.2), (0.1,), (0.1, -1), (0.1, "x"), (1e308, 1e308), (1e-320, 1.0)),
    ]
)
_arrays = st.builds(
    ArrayCase,
    st.sampled_from((*_DTYPES, "uint16", "object", "U3")),
    st.lists(st.integers(0, 70), max_size=5).map(tuple) | _SMALL_SHAPES | _HUGE_SHAPES,
    st.sampled_from((0.0, 1.0, 255.0, 65535.0, -1.0, float("nan"), float("inf"))),
    st.none() | _SPACINGS,
    st.sampled_from(("plain", "plain", "turned", "backwards")),
)

_ODD_NAMES = st.sampled_from(
    [
        *(b"-x", b"--json", b" ", b"a\nb", b"\x1b[31mred", b"\xff\xfe", b"[bold]x[/bold]"),
        *(b"a" * 200, b"{x}", b"%s", b"~", b"*", b"=1+1", "ä\u202e".encode(), b"@x", b"a,b", b'"'),
    ]
)
_texts = st.text(min_size=1, max_size=30).map(lambda text: text.encode("utf-8", "replace"))
_names = (_ODD_NAMES | st.binary(min_size=1, max_size=40) | _texts).filter(
    lambda name: not set(name) & set(b"/\0") and name not in (b".", b"..")
)

# -- the command line --------------------------------------------------------------------------

_NUMBERS = "-1 0 1 2 3.5 nan inf -inf 1e400 x \u0663 1,2 0,0,0 a=b"
_PLACES = "BUNDLE GRAPH IMAGES IMAGE CHECKPOINT OUT OUT/a/b / . GRAPH/x BUNDLE/x.png"
_WORDS = "- openvino tensorrt int8 nano maht-net [bold] phantom:2 phantom:0 phantom:-1 phantom:x@y"
_ODD_WORDS = ("", " ", "\x1b[2J", "\udcff", "a\nb")
_words = st.sampled_from(
    (*_NUMBERS.split(), *_PLACES.split(), *_PLACES.split(), *_WORDS.split(), *_ODD_WORDS)
)
_OPTIONS = """
    --json --csv --out --data --engine --target --spec --model --int8 --fp32 --bf16 --fp16 --overlay
    --spacing-mm --threads --top --graphs --points --plan --calib --skip-bad --debug --help --seed
    --budget-mean-px --budget-max-px --variant --batch --limit --folds --fold --nonsense
"""
_options = st.sampled_from(_OPTIONS.split())
_VERBS = """
    predict predict predict inspect inspect verify pack models doctor export build calibrate bench
    compile train evaluate nothing --version
"""
_pieces = st.one_of(st.tuples(_words), st.tuples(_options), st.tuples(_options, _words))
_arguments = st.builds(
    lambda verb, pieces: (verb, *(word for piece in pieces for word in piece)),
    st.sampled_from(_VERBS.split()),
    st.lists(_pieces, max_size=6),
)

_SUFFIXES = st.sampled_from(("", "", "", ".png", ".jpg", ".tif", ".webp", ".dcm", ".bmp"))

KINDS = (
    Kind("unsealed_bundle", 60, _unsealed),
    Kind("sealed_bundle", 60, _sealed),
    Kind("graph", 60, _graphs),
    Kind("spec", 200, json_edits()),
    Kind("plan", 100, json_edits()),
    Kind("checkpoint", 100, st.builds(FileCase, _NUMBER, byte_edits())),
    Kind("state", 100, _states),
    Kind("image", 200, st.builds(FileCase, _NUMBER, byte_edits() | st.just(()), _SUFFIXES)),
    Kind("case_list", 100, byte_edits()),
    Kind("dicom", 150, st.builds(FileCase, _NUMBER, byte_edits())),
    Kind("packed_dicom", 60, st.builds(FileCase, _NUMBER, byte_edits())),
    Kind("names", 40, st.builds(NamesCase, _names, _names, st.booleans())),
    Kind("arguments", 60, _arguments),
    Kind("array", 60, _arrays),
)
