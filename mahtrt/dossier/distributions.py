"""The installed packages that running a bundle needs, from their own metadata.

The core metadata of Python packages (packaging.python.org, "Core metadata specifications") names
what a package requires. From mahtrt's own requirements, and those of the targets of a bundle's
engines, everything is found that is installed because of them.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import metadata

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

OWN = "mahtrt"
# Names of links, in the order in which they are taken for the project's address.
_LINKS = ("homepage", "home", "source", "repository", "documentation")
_LICENCE_CLASS = "License ::"
# What packages write for licences whose SPDX identifier is beyond doubt.
_SPDX = {
    "3-clause bsd license": "BSD-3-Clause",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "bsd 3-clause": "BSD-3-Clause",
    "isc license": "ISC",
    "mit license": "MIT",
}
_MOST_LICENCE = 100  # characters of a name; some packages give the whole text of their licence


@dataclass(frozen=True, slots=True)
class Package:
    """One installed distribution.

    Attributes:
        name: As its metadata writes it.
        licence: SPDX expression or name; "" where the metadata do not say.
        supplier: Author or maintainer; "" where the metadata do not say.
        purpose: Its own summary.
        url: Its home page, or another page of the project.
        requires: Canonical names of the installed distributions that it needs.
    """

    name: str
    version: str
    licence: str
    supplier: str
    purpose: str
    url: str
    requires: tuple[str, ...]

    @property
    def key(self) -> str:
        """Canonical name."""
        return canonicalize_name(self.name)


def runtime_packages(extras: Iterable[str] = ()) -> dict[str, Package]:
    """mahtrt and every installed distribution that running a bundle needs.

    Args:
        extras: Extras of mahtrt that the bundle's targets need.

    Returns:
        Canonical name to package: mahtrt first, the others by name, the interpreter last.
    """
    found: dict[str, Package] = {}
    waiting: list[tuple[str, frozenset[str]]] = [(OWN, frozenset(extras))]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        name, wanted = waiting.pop()
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        package = _package(name, wanted)
        if package is None:
            continue
        known = found.get(name)
        needed = {*package.requires, *(known.requires if known else ())}
        found[name] = replace(package, requires=tuple(sorted(needed)))
        waiting += [(each, more) for each, more in _needed(name, wanted)]
    own, python = found.pop(OWN, None), _python()
    first = {OWN: replace(own, requires=(*own.requires, python.key))} if own else {}
    return first | {name: found[name] for name in sorted(found)} | {python.key: python}


def _python() -> Package:
    """The interpreter, which is no package but runs all of them."""
    return Package(
        name="Python",
        version=platform.python_version(),
        licence="PSF-2.0",
        supplier="Python Software Foundation",
        purpose=f"Interpreter ({platform.python_implementation()})",
        url="https://www.python.org",
        requires=(),
    )


def _package(name: str, extras: frozenset[str]) -> Package | None:
    """A distribution, None where it is not installed."""
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None
    fields = found.metadata
    first = {key.lower(): str(fields[key]) for key in fields}  # of a field given twice, the first
    return Package(
        name=first.get("name", name),
        version=found.version,
        licence=_licence(first, fields.get_all("Classifier") or []),
        supplier=_supplier(first),
        purpose=" ".join(first.get("summary", "").split()),
        url=_url(first, fields.get_all("Project-URL") or []),
        requires=tuple(
            each for each, _ in _needed(name, extras) if _is_installed(each) and each != name
        ),
    )


def _needed(name: str, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    """Canonical names of what a distribution requires here, each with the extras it asks for."""
    try:
        requires = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return
    for text in requires:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:  # of a package that is none of ours
            continue
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": each}) for each in ("", *extras)):
            yield canonicalize_name(requirement.name), frozenset(requirement.extras)


def _is_installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _licence(fields: Mapping[str, str], classifiers: Iterable[str]) -> str:
    """The licence: the SPDX expression, else the short name, else the classifier."""
    for key in ("license-expression", "license"):
        text = fields.get(key, "").strip().removeprefix("OSI Approved :: ")
        if text and text.upper() != "UNKNOWN" and "\n" not in text and len(text) <= _MOST_LICENCE:
            return _SPDX.get(text.lower(), text)
    named = [text.rpartition("::")[2].strip() for text in classifiers if _LICENCE_CLASS in text]
    return " / ".join(_SPDX.get(each.lower(), each) for each in named)


def _supplier(fields: Mapping[str, str]) -> str:
    """Who made it: a name where there is one, else the part of an e-mail field that is a name."""
    for key in ("author", "maintainer"):
        if text := fields.get(key, "").strip():
            return text
    for key in ("author-email", "maintainer-email"):
        if text := fields.get(key, "").strip():
            return ", ".join(part.partition("<")[0].strip(' "') or part for part in text.split(","))
    return ""


def _url(fields: Mapping[str, str], links: Iterable[str]) -> str:
    """The project's address."""
    if home := fields.get("home-page", "").strip():
        return home
    named = {}
    for link in links:
        label, _, address = link.partition(",")
        named[label.strip().lower()] = address.strip()
    return next((named[each] for each in _LINKS if each in named), next(iter(named.values()), ""))
