"""Files of an archive as images for the engine, read and decoded ahead of it by threads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from mahtrt.data.images import ReadImage
from mahtrt.distributed.archive_file import ArchiveFile, Image, open_file
from mahtrt.distributed.digest_set import DigestSet
from mahtrt.distributed.listing import ListedFile
from mahtrt.distributed.rows import ImageFacts
from mahtrt.distributed.spacings import Spacings
from mahtrt.errors import ImageError, MahtrtError, MissingComponentError
from mahtrt.runtime.stream import in_order


@dataclass(frozen=True, slots=True)
class Decoded:
    """An image for the engine."""

    facts: ImageFacts
    image: Image
    read: ReadImage


@dataclass(frozen=True, slots=True)
class Failed:
    """An image, or a whole file, that cannot be used."""

    facts: ImageFacts
    error: Exception


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A file without a row: one that has rows already, or no image.

    Attributes:
        kind: Of a DICOM object without an image; "" of another file that is none.
    """

    is_done: bool = False
    kind: str = ""


@dataclass(frozen=True, slots=True)
class LoadedFile:
    """A file with its images; those of a file of several are decoded as they are asked for."""

    called: str
    images: Iterable[Decoded | Failed]


@dataclass(frozen=True, slots=True)
class Loader:
    """Opens files.

    Attributes:
        done: The files of which there are rows.
    """

    done: DigestSet
    spacings: Spacings

    def load_all(
        self, files: Iterable[ListedFile], ahead: int
    ) -> Iterator[LoadedFile | PassedOver]:
        """Every file in order, of which ``ahead`` are in memory at a time."""
        if ahead > 1:
            return in_order(lambda listed: [self.load(listed)], files, ahead)
        return map(self.load, files)

    def load(self, listed: ListedFile) -> LoadedFile | PassedOver:
        """Read a file, and decode its image where it has a single one.

        Raises:
            MissingComponentError: The package of its store is not installed.
        """
        try:
            file = open_file(listed)
        except MissingComponentError:  # a store's package: of every file of the store
            raise
        except Exception as error:
            return self._unopened(listed, error)
        if not isinstance(file, ArchiveFile):
            return PassedOver(kind=file or "")
        if file.called in self.done:
            return PassedOver(is_done=True)
        facts = ImageFacts(file.called, file.called)
        try:
            content = file.read()
            facts = replace(facts, sha256=hashlib.sha256(content).hexdigest())
            images = file.images()
        except Exception as error:
            return LoadedFile(file.called, [Failed(facts, error)])
        decoded = (self._decoded(file, content, image, facts) for image in images)
        return LoadedFile(file.called, decoded if len(images) > 1 else list(decoded))

    def _unopened(self, listed: ListedFile, error: Exception) -> LoadedFile | PassedOver:
        """What becomes of a file of which nobody can say what it is, as a URL of no store."""
        called = listed.called
        if called in self.done:
            return PassedOver(is_done=True)
        if isinstance(error, MahtrtError) and not isinstance(error, ImageError):
            cause = error if not listed.top else error.__cause__ or error  # which may quote a name
            got = error.got if cause is error else type(cause).__name__
            error = ImageError(called, got=got, expected=error.expected)
        return LoadedFile(called, [Failed(ImageFacts(called, called), error)])

    def _decoded(
        self, file: ArchiveFile, content: bytes, image: Image, facts: ImageFacts
    ) -> Decoded | Failed:
        facts = replace(facts, image=image.called)
        try:
            read = file.decode(content, image)
            rows, columns = read.pixels.shape[:2]
            spacing = self.spacings.of(file.listed, image.within, read)
        except Exception as error:
            return Failed(facts, error)
        return Decoded(replace(facts, size=(rows, columns), spacing=spacing), image, read)
