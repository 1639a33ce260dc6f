"""A zip written as a stream: the same entries give the same bytes, and no more than one film is in memory."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterable, Iterator

from ..errors import DataError

#: Zip's earliest time; a real one would make two equal exports differ.
EPOCH = (1980, 1, 1, 0, 0, 0)
#: Already compressed: storing is faster and no larger.
STORED = (".jpg", ".png", ".gz")


class _Pipe(io.RawIOBase):
    """A write-only stream without seek, emptied by whoever reads the zip."""

    def __init__(self) -> None:
        super().__init__()
        self.chunks: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        self.chunks.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        taken, self.chunks = b"".join(self.chunks), []
        return taken


def zip_chunks(entries: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """The bytes of a zip of (name, content), chunk by chunk.

    Raises: DataError for a name that is absolute, leads out of the folder, or comes twice.
    """
    pipe = _Pipe()
    seen: set[str] = set()
    with zipfile.ZipFile(pipe, "w", allowZip64=True) as archive:
        for name, content in entries:
            check_name(name)
            if name in seen:
                raise DataError(f"Two files of the export are called {name!r}.", "Report this; ids should differ.")
            seen.add(name)
            info = zipfile.ZipInfo(name, EPOCH)
            info.compress_type = zipfile.ZIP_STORED if name.endswith(STORED) else zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            info.create_system = 3  # Unix, on every machine
            archive.writestr(info, content)
            yield pipe.take()
    yield pipe.take()


def check_name(name: str) -> None:
    """Raise DataError unless unpacking `name` stays in the folder that it is unpacked to."""
    parts = name.split("/")
    if "\\" in name or "\0" in name or any(part in ("", ".", "..") for part in parts) or ":" in parts[0]:
        raise DataError(f"{name!r} cannot be the name of a file in the export.", "Mend the id and ingest again.")


class Sums:
    """Passes entries through and keeps their SHA-256."""

    def __init__(self) -> None:
        self.of: dict[str, str] = {}

    def add(self, name: str, content: bytes) -> tuple[str, bytes]:
        """Remember the sum of an entry and hand it on."""
        self.of[name] = hashlib.sha256(content).hexdigest()
        return name, content

    def text(self) -> bytes:
        """SHA256SUMS, as `sha256sum --check` reads it."""
        return "".join(f"{value}  {name}\n" for name, value in sorted(self.of.items())).encode()
