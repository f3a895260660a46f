"""Files whose rows have an error, to be done again: an error may be one of a moment.

Their rows are taken out of the data set before anything runs, a part at a time: each is replaced by
one without them, whole or not at all. So at every moment a file has all of its rows or none, and
what has none is done by the next run, whichever was killed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from mahtrt.distributed.data_set import DataSet
from mahtrt.distributed.digest_set import DigestSet
from mahtrt.distributed.listing import files_of
from mahtrt.distributed.rows import parquet_of_table
from mahtrt.distributed.storage import joined, storage_of
from mahtrt.errors import require
from mahtrt.names import text_of_path


def drop_errors(data_set: DataSet, archives: Sequence[str]) -> int:
    """Take the rows of files with an error out of a data set; those of other archives stay.

    Args:
        archives: What the run reads, as it will do the files again.

    Returns:
        Of how many files.

    Raises:
        IntegrityError: A part of another run, or somebody else writes into the data set by now.
    """
    pa, pc = (
        require(name, extra="ray", needed_for="reading Parquet")
        for name in ("pyarrow", "pyarrow.compute")
    )
    names, dropped = _Names(archives), 0
    for part in data_set.parts():
        known = data_set.read_part(part, ["file", "error"])
        if known is None:
            continue
        failed = set(known.filter(pc.is_valid(known.column("error"))).column("file").to_pylist())
        again = [name for name in failed if name in names]
        if again:
            table = data_set.read_part(part)
            wanted = pa.array(again, pa.string())
            kept = table.filter(pc.invert(pc.is_in(table.column("file"), value_set=wanted)))
            data_set.replace_part(part, parquet_of_table(kept) if kept.num_rows else None)
            dropped += len(again)
    return dropped


class _Names:
    """What the files of some archives may be called; no folder is listed for it."""

    def __init__(self, archives: Sequence[str]) -> None:
        folders = [each for each in archives if storage_of(each).is_folder(each)]
        others = [each for each in archives if each not in folders]
        self._begin = [text_of_path(joined(each, "x"))[:-1] for each in folders]
        named = [*folders, *(each.location for each in files_of(others))]
        self._named = DigestSet(map(text_of_path, named))

    def __contains__(self, name: str) -> bool:
        if name in self._named:
            return True
        is_relative = not os.path.isabs(name) and "://" not in name
        return any(name.startswith(each) if each else is_relative for each in self._begin)
