"""Codes of landmarks: the shipped table against DICOM's dictionaries, and tables of users."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mahtrt.data.phantom_anatomy import PHANTOM_LANDMARKS
from mahtrt.dicom.codes import PRIVATE, SCHEMA, Code, codes_for, private_code
from mahtrt.errors import IntegrityError, SpecError

HEAD = f'schema = "{SCHEMA}"\n'
CODE = 'code = { scheme = "SCT", value = "1", meaning = "One" }\n'


def table(folder: Path, text: str) -> Path:
    path = folder / "codes.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_shipped_code_is_in_the_dictionaries_of_dicom() -> None:
    pytest.importorskip("pydicom", reason="the extra dicom is not installed")
    from pydicom.sr import _concepts_dict

    concepts: Any = _concepts_dict.concepts
    entries = codes_for().entries.values()
    codes = {code for entry in entries for code in (entry.code, entry.site) if code}
    assert len(codes) >= 14
    for code in codes:
        meanings = {
            values[code.value][0]
            for values in concepts[code.scheme].values()
            if code.value in values
        }
        assert code.meaning in meanings, code


def test_landmarks_of_our_networks_have_a_code_or_a_place() -> None:
    codes = codes_for()
    assert codes.landmark("nasion") == Code("FMA", "264779", "Nasion")
    for name in PHANTOM_LANDMARKS:
        assert codes.site(name) or codes.landmark(name).scheme != PRIVATE, name
    assert codes.site("L3_inferior_posterior") == Code("SCT", "36470004", "L3 vertebra")


def test_what_has_no_code_gets_a_private_one() -> None:
    assert codes_for().landmark("left_knee") == Code(PRIVATE, "left_knee", "left_knee")
    long = private_code("a landmark with a name that is longer than what a code value may have")
    assert len(long.value) == 16
    assert len(long.meaning) == 64
    assert long != private_code(long.meaning + " in full")
    assert private_code("a\\b\n").meaning == "a?b?"
    assert private_code("ϕ").meaning == "ϕ"


def test_a_user_says_what_names_mean(tmp_path: Path) -> None:
    text = f'{HEAD}[[landmark]]\nnames = ["Nasion", "knee"]\n{CODE}[[quantity]]\nnames = ["SNA"]\n'
    codes = codes_for(table(tmp_path, text + CODE))
    assert codes.landmark("nasion") == codes.landmark("KNEE") == Code("SCT", "1", "One")
    assert codes.quantity("sna") == Code("SCT", "1", "One")
    assert codes.quantity("SNB").scheme == PRIVATE
    assert codes.site("sella")  # what mahtrt ships is still there


@pytest.mark.parametrize(
    ("text", "mentions"),
    [
        (
            HEAD + '[[landmark]]\nnames = []\nsite = { scheme = "A", value = "1", meaning = "x" }',
            "no n",
        ),
        (HEAD + '[[landmark]]\nnames = ["a"]', "no code"),
        (HEAD + f'[[landmark]]\nnames = ["a"]\n{CODE}[[landmark]]\nnames = ["A"]\n{CODE}', "twice"),
        (HEAD + f'[[landmark]]\nnames = ["a"]\n{CODE.replace("One", "x" * 65)}', "meaning"),
        (HEAD + f'[[landmark]]\nnames = ["a"]\n{CODE.replace("SCT", "S" * 17)}', "scheme"),
        (
            HEAD + f'[[landmark]]\nnames = ["a"]\n{CODE.replace("One", "a" + chr(92) * 4 + "b")}',
            "64",
        ),
        (HEAD + f'[[landmark]]\nnames = ["a"]\nunknown = 1\n{CODE}', "unknown"),
    ],
)
def test_a_table_that_is_not_clear_is_refused(tmp_path: Path, text: str, mentions: str) -> None:
    with pytest.raises(SpecError, match=mentions):
        codes_for(table(tmp_path, text))


def test_a_newer_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError):
        codes_for(table(tmp_path, HEAD.replace("/1", "/2")))
    with pytest.raises(SpecError, match="gone"):
        codes_for(tmp_path / "gone.toml")
