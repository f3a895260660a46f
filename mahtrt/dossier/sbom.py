"""The software bill of materials: CycloneDX 1.6 as JSON (ECMA-424), by its own library.

Components are what the bundle consists of, what that was made from, and the installed packages that
run it. Serial number and time come from the bundle and from the components: two runs over the same
bundle and packages give equal bytes.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from mahtrt.bundle.bundle import Bundle
from mahtrt.digest import sha256_of_bytes
from mahtrt.dossier.contents import Part, parts_of
from mahtrt.dossier.distributions import OWN, Package
from mahtrt.errors import require

if TYPE_CHECKING:
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component
    from cyclonedx.model.license import DisjunctiveLicense, LicenseExpression

FILE_NAME = "sbom.cdx.json"
BUNDLE_REF = "bundle"


def sbom_text(bundle: Bundle, packages: Mapping[str, Package]) -> str:
    """The SBOM of a bundle.

    Args:
        packages: Canonical name to package, see :func:`runtime_packages`.

    Raises:
        MissingComponentError: The library that writes SBOMs is not installed.
    """
    require("cyclonedx", extra="report", needed_for="an SBOM")
    from cyclonedx.output import make_outputter
    from cyclonedx.schema import OutputFormat, SchemaVersion

    bom = _bom(bundle, parts_of(bundle), packages)
    written = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6)
    return str(written.output_as_string(indent=2)) + "\n"


def _bom(bundle: Bundle, parts: Iterable[Part], packages: Mapping[str, Package]) -> Bom:
    """The document, with its graph of dependencies."""
    from cyclonedx.model.bom import Bom, BomMetaData

    main = _bundle(bundle)
    ours = {part.ref: _part(part) for part in parts}
    theirs = {key: _package(package) for key, package in packages.items()}
    metadata = BomMetaData(component=main)
    metadata.timestamp = _created(bundle)
    bom = Bom(
        components=[*ours.values(), *theirs.values()],
        serial_number=_serial(bundle, packages),
        metadata=metadata,
    )
    for part in parts:
        runners = [theirs[key] for key in _runners(part, packages)]
        bom.register_dependency(ours[part.ref], [*(ours[r] for r in part.made_from), *runners])
    for key, package in packages.items():
        bom.register_dependency(theirs[key], [theirs[r] for r in package.requires if r in theirs])
    direct = [component for ref, component in ours.items() if ref.startswith(("engine:", "file:"))]
    bom.register_dependency(main, [*direct, *([theirs[OWN]] if OWN in theirs else [])])
    return bom


def _runners(part: Part, packages: Mapping[str, Package]) -> list[str]:
    """Packages that run a part: mahtrt, and the distribution of its target's module."""
    if not part.module:
        return []
    name = canonicalize_name(part.module)
    # TensorRT and the GPU's ONNX Runtime come as distributions with longer names.
    same = [name] if name in packages else [key for key in packages if key.startswith(f"{name}-")]
    return [*([OWN] if OWN in packages else []), *same]


def _serial(bundle: Bundle, packages: Mapping[str, Package]) -> uuid.UUID:
    """A number that is the same where bundle and packages are (RFC 9562, version 5)."""
    installed = "\n".join(repr(package) for package in packages.values())
    named = f"mahtrt:{bundle.manifest_sha256}:{sha256_of_bytes(installed.encode())}"
    return uuid.uuid5(uuid.NAMESPACE_OID, named)


def _created(bundle: Bundle) -> Any:
    """When the bundle was made; None where it does not say."""
    try:
        return datetime.datetime.fromisoformat(bundle.manifest.created)
    except ValueError:
        return None


def _bundle(bundle: Bundle) -> Component:
    from cyclonedx.model.component import Component, ComponentType

    manifest = bundle.manifest
    return Component(
        name=bundle.path.resolve().name,
        version=bundle.manifest_sha256[:12],
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=BUNDLE_REF,
        description=f"mahtrt bundle of {manifest.spec.family}; its digest is of manifest.json",
        hashes=_hashes(bundle.manifest_sha256),
        properties=_properties(
            {"precision": manifest.precision, "default_engine": manifest.default_engine}
        ),
    )


def _part(part: Part) -> Component:
    from cyclonedx.model.component import Component, ComponentType

    kinds = {
        "model": ComponentType.MACHINE_LEARNING_MODEL,
        "data": ComponentType.DATA,
        "file": ComponentType.FILE,
    }
    return Component(
        name=part.name,
        type=kinds[part.kind],
        bom_ref=part.ref,
        description=part.described,
        hashes=_hashes(part.sha256),
        properties=_properties(part.facts),
    )


def _package(package: Package) -> Component:
    from cyclonedx.model import ExternalReference, ExternalReferenceType, XsUri
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.contact import OrganizationalEntity
    from packageurl import PackageURL

    website = ExternalReferenceType.WEBSITE
    return Component(
        name=package.name,
        version=package.version,
        type=ComponentType.PLATFORM if package.key == "python" else ComponentType.LIBRARY,
        bom_ref=f"package:{package.key}",
        supplier=OrganizationalEntity(name=package.supplier) if package.supplier else None,
        description=package.purpose or None,
        licenses=_licences(package.licence),
        purl=PackageURL(
            "generic" if package.key == "python" else "pypi",
            name=package.key,
            version=package.version,
        ),
        external_references=(
            [ExternalReference(type=website, url=XsUri(package.url))] if package.url else []
        ),
    )


def _licences(text: str) -> list[LicenseExpression | DisjunctiveLicense]:
    """A licence by its SPDX identifier or expression, where it is one; else by its name."""
    from cyclonedx.model.license import DisjunctiveLicense, LicenseExpression
    from cyclonedx.spdx import fixup_id, is_expression

    if not text:
        return []
    if identifier := fixup_id(text):
        return [DisjunctiveLicense(id=identifier)]
    if is_expression(text):
        return [LicenseExpression(text)]
    return [DisjunctiveLicense(name=text)]


def _hashes(sha256: str) -> list[Any]:
    from cyclonedx.model import HashAlgorithm, HashType

    return [HashType(alg=HashAlgorithm.SHA_256, content=sha256)] if sha256 else []


def _properties(facts: Mapping[str, str]) -> list[Any]:
    from cyclonedx.model import Property

    return [Property(name=f"mahtrt:{name}", value=value) for name, value in facts.items()]
