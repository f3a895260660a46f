"""The table of third-party software that a deployment of a bundle rests on.

IEC 62304 calls such software SOUP, software of unknown provenance, and asks for its title, maker
and version; what is known of it comes from the packages' own metadata.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from mahtrt.dossier.distributions import OWN, Package

COLUMNS = ("name", "version", "licence", "purpose", "supplier", "url", "required_by")


def third_party_rows(packages: Mapping[str, Package]) -> list[dict[str, str]]:
    """One row for each package but mahtrt; a field is "" where the metadata do not say."""
    users = {
        key: [user.name for user in packages.values() if key in user.requires] for key in packages
    }
    return [
        {
            "name": package.name,
            "version": package.version,
            "licence": package.licence,
            "purpose": package.purpose,
            "supplier": package.supplier,
            "url": package.url,
            "required_by": ", ".join(users[key]),
        }
        for key, package in packages.items()
        if key != OWN
    ]


def csv_of_rows(rows: list[dict[str, Any]]) -> str:
    """The rows as CSV (RFC 4180, with line feeds)."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
