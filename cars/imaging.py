"""Films in and out: decoding, cheap checks, the square that networks see, and the way back to the original film.

Inside CARS every film is MONOCHROME2 (air is dark, bone is bright), uint8, (H, W). A film that cannot be decoded so is
refused with a FilmError whose `reason` is a short phrase for the quarantine table; nothing is repaired silently.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from .errors import FilmError, MissingDependency
from .workspace import atomic_write

#: More pixels than any radiograph has (a 43 cm detector at 0.1 mm: 18 million); checked before pixels are decoded.
MAX_PIXELS = 80_000_000
#: More bytes than any single-frame radiograph needs.
MAX_BYTES = 512 * 2**20
#: Mean difference between the colour channels, in grey levels, up to which a colour file counts as a grey film.
GREY_TOLERANCE = 4.0
#: Standard deviation in grey levels below which a film is blank.
BLANK_DEVIATION = 2.0
TAIL = 4096
SUFFIXES = (".jpg", ".jpeg", ".png", ".dcm")
#: Uncompressed DICOM transfer syntaxes: the pixel data's length follows from rows, columns and bits.
UNCOMPRESSED = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")


@dataclass(frozen=True)
class FilmInfo:
    """What a file's header says. `bits`: stored bits a sample. `problem`: why it cannot be used, or None."""

    rows: int | None
    columns: int | None
    bits: int | None
    mode: str
    problem: str | None


def _fail(name: str, reason: str, hint: str = "Replace the file by a good copy, or leave the film out.") -> FilmError:
    return FilmError(f"The film {name} cannot be used: {reason}.", hint, reason)


def _is_dicom(head: bytes) -> bool:
    return head[128:132] == b"DICM"


def _tail_problem(head: bytes, tail: bytes) -> str | None:
    """ "truncated" when a JPEG lacks its end-of-image marker or a PNG its IEND chunk, which entropy-coded data cannot
    contain by chance; some writers pad the file after it, so the last 4 KiB are searched."""
    if head[:2] == b"\xff\xd8":
        return None if b"\xff\xd9" in tail else "truncated"
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return None if b"IEND" in tail else "truncated"
    return None


def _open(stream: IO[bytes], name: str) -> Image.Image:
    """The header of a JPEG or PNG, no pixel decoded. Raises: FilmError (not an image, too large)."""
    try:
        image = Image.open(stream, formats=("JPEG", "PNG"))
    except Image.DecompressionBombError:
        raise _fail(name, "too large") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        raise _fail(name, "not an image", f"Films are {', '.join(SUFFIXES)} files.") from None
    if image.width * image.height > MAX_PIXELS:
        raise _fail(name, "too large", f"It claims {image.width} × {image.height}; the limit is {MAX_PIXELS:,} pixels.")
    return image


def _bytes_of(source: Path | str | bytes) -> tuple[bytes, str]:
    """(the file's bytes, a name for messages). Raises: FilmError (missing, zero-byte, too large)."""
    if isinstance(source, bytes):
        data, name = source, "in memory"
    else:
        path = Path(source)
        name = path.name
        try:
            if path.stat().st_size > MAX_BYTES:
                raise _fail(name, "too large", f"The file has more than {MAX_BYTES // 2**20} MiB.")
            data = path.read_bytes()
        except FileNotFoundError:
            raise _fail(name, "missing") from None
        except OSError as error:
            raise _fail(name, f"unreadable ({error.strerror})") from None
    if not data:
        raise _fail(name, "zero-byte")
    return data, name


def decode(source: Path | str | bytes, at_least: int | None = None) -> np.ndarray:
    """A film as uint8 (H, W), MONOCHROME2.

    JPEG and PNG, 8 bit: the values as stored. A colour file is taken as grey when its channels differ by at most
    GREY_TOLERANCE grey levels on average. 16-bit PNG: the film's lowest value → 0, its highest → 255, linearly.
    DICOM: rescale slope and intercept, then the VOI LUT or window where the file has one, then, unless that is 8-bit
    already, the lowest value → 0 and the highest → 255, linearly and without percentiles (as MIMIC-CXR-JPG did, before
    its histogram equalisation, which is not imitated); MONOCHROME1 is inverted; padding pixels are black.

    Args:
        source: a path, or the bytes of a file.
        at_least: decode a JPEG at a reduced scale (1/2, 1/4, 1/8), its shorter side at least this many pixels.

    Raises: FilmError (missing, zero-byte, truncated, not an image, too large, colour, blank, …).
    """
    data, name = _bytes_of(source)
    if _is_dicom(data[:132]):
        image = _decode_dicom(data, name)
    else:
        image = _decode_plain(data, name, at_least)
    if float(image.std()) < BLANK_DEVIATION:
        raise _fail(name, "blank")
    return image


def _decode_plain(data: bytes, name: str, at_least: int | None) -> np.ndarray:
    opened = _open(io.BytesIO(data), name)
    problem = _tail_problem(data[:8], data[-TAIL:])
    if problem:
        raise _fail(name, problem)
    if at_least and opened.format == "JPEG":
        # asking for a square of the wanted side keeps the shorter side at or above it
        opened.draft(None, (at_least, at_least))
    try:
        opened.load()
    except (OSError, ValueError, SyntaxError):
        raise _fail(name, "truncated") from None
    if opened.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
        return _linear(np.asarray(opened).astype(np.float32))
    if opened.mode in ("L", "LA", "1"):
        return np.array(opened.convert("L"))
    if opened.mode in ("RGB", "RGBA", "P", "PA"):
        return _grey(np.asarray(opened.convert("RGB")), name)
    raise _fail(name, f"colour mode {opened.mode}", "A film has one grey channel.")


def _linear(values: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """Lowest value → 0, highest → 255. `valid`: bool, the pixels that count; the others become 0."""
    counted = values if valid is None or not valid.any() else values[valid]
    low, high = float(counted.min()), float(counted.max())
    if high <= low:
        return np.zeros(values.shape, np.uint8)
    return np.clip((values - low) * (255.0 / (high - low)) + 0.5, 0, 255).astype(np.uint8)


def _grey(rgb: np.ndarray, name: str) -> np.ndarray:
    """(H, W, 3) uint8 whose channels nearly agree → (H, W). Raises: FilmError for a real colour picture."""
    difference = float((rgb.max(axis=2) - rgb.min(axis=2)).mean())
    if difference > GREY_TOLERANCE:
        raise _fail(name, "colour picture", f"Its channels differ by {difference:.0f} grey levels on average.")
    return np.array(Image.fromarray(rgb).convert("L"))


def _dicom(data: Any, name: str, **options: Any) -> Any:
    """A pydicom data set with rows, columns and a bounded size. Raises: FilmError."""
    try:
        import pydicom
    except ImportError:
        raise MissingDependency("Reading DICOM films needs pydicom.", "Install it: pip install pydicom") from None
    try:
        film = pydicom.dcmread(data, **options)
        pixels = int(film.Rows) * int(film.Columns)
    except (pydicom.errors.InvalidDicomError, AttributeError, EOFError, OSError, ValueError, TypeError, KeyError):
        raise _fail(name, "not an image", "It is no DICOM film: rows and columns cannot be read.") from None
    if pixels > MAX_PIXELS:
        raise _fail(name, "too large", f"It claims {film.Columns} × {film.Rows}; the limit is {MAX_PIXELS:,} pixels.")
    if int(film.get("NumberOfFrames") or 1) > 1:
        raise _fail(name, "several frames", "A film has one frame.")
    return film


def _decode_dicom(data: bytes, name: str) -> np.ndarray:
    film = _dicom(io.BytesIO(data), name)
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    if "PixelData" not in film:
        raise _fail(name, "no pixel data")
    try:
        stored = film.pixel_array
        if stored.ndim == 3:
            return _grey(np.asarray(stored, np.uint8), name)
        values = apply_voi_lut(apply_modality_lut(stored, film), film)
    except (ValueError, AttributeError, RuntimeError, NotImplementedError, EOFError, KeyError, IndexError) as error:
        short = str(error).split(".")[0][:120]
        hint = "Compressed DICOM needs a decoder: pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg"
        raise _fail(name, f"pixels cannot be decoded ({short})", hint) from None
    valid = stored != film.PixelPaddingValue if "PixelPaddingValue" in film else None
    image = values if values.dtype == np.uint8 else _linear(np.asarray(values, np.float32), valid)
    if film.get("PhotometricInterpretation") == "MONOCHROME1":
        image = 255 - image
    return np.where(valid, image, 0).astype(np.uint8) if valid is not None else np.array(image)


def probe(path: Path | str) -> FilmInfo:
    """A quick check of a file's header and tail; no pixel is decoded and nothing is raised for a bad film.

    Finds: missing, zero-byte, not an image, too large, truncated (JPEG without EOI, PNG without IEND, uncompressed
    DICOM shorter than its pixels).
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size == 0:
            return FilmInfo(None, None, None, "", "zero-byte")
        if size > MAX_BYTES:
            return FilmInfo(None, None, None, "", "too large")
        with open(path, "rb") as stream:
            head = stream.read(132)
            stream.seek(max(0, size - TAIL))
            tail = stream.read(TAIL)
            stream.seek(0)
            if _is_dicom(head):
                return _probe_dicom(path, size)
            image = _open(stream, path.name)
            bits = 1 if image.mode == "1" else 16 if image.mode.startswith("I") else 8
            return FilmInfo(image.height, image.width, bits, image.mode, _tail_problem(head, tail))
    except FileNotFoundError:
        return FilmInfo(None, None, None, "", "missing")
    except FilmError as error:
        return FilmInfo(None, None, None, "", error.reason)
    except OSError as error:
        return FilmInfo(None, None, None, "", f"unreadable ({error.strerror})")


def _probe_dicom(path: Path, size: int) -> FilmInfo:
    film = _dicom(path, path.name, stop_before_pixels=True)
    rows, columns, stored = int(film.Rows), int(film.Columns), int(film.get("BitsStored") or 0)
    whole = rows * columns * (int(film.get("BitsAllocated") or 0) // 8) * int(film.get("SamplesPerPixel") or 1)
    syntax = str(film.file_meta.get("TransferSyntaxUID", ""))
    problem = "truncated" if syntax in UNCOMPRESSED and size < whole else None
    return FilmInfo(rows, columns, stored, str(film.get("PhotometricInterpretation", "")), problem)


def looks_inverted(image: np.ndarray) -> bool:
    """Whether a frontal film is probably MONOCHROME1 saved without inversion: air bright, bone dark.

    A heuristic, not a proof: in a MONOCHROME2 film the lungs (two boxes at mid height) are darker than the spine and
    mediastinum between them and the outer corners at the top, air beside the neck, are dark. Both signs must be turned
    round. image: uint8 (H, W).
    """
    small = np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BOX), np.float32)
    lungs = (float(small[9:19, 5:12].mean()) + float(small[9:19, 20:27].mean())) / 2
    middle = float(small[9:19, 14:18].mean())
    corners = min(float(small[:4, :4].mean()), float(small[:4, -4:].mean()))
    return lungs > middle and corners > float(small.mean())


# Geometry ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Placement:
    """Where a film of `height` × `width` pixels lies in its square of `size` × `size`.

    The shorter side is padded equally (an odd pixel goes to the bottom or right), then the square is resized.
    """

    height: int
    width: int
    size: int

    @property
    def side(self) -> int:
        """The side of the padded square in original pixels."""
        return max(self.height, self.width)

    @property
    def top(self) -> int:
        """Padding rows above the film, in original pixels."""
        return (self.side - self.height) // 2

    @property
    def left(self) -> int:
        """Padding columns left of the film, in original pixels."""
        return (self.side - self.width) // 2

    @cached_property
    def inside(self) -> np.ndarray:
        """bool (size, size): the square's pixels whose centre lies on the film."""
        centre = (np.arange(self.size) + 0.5) * (self.side / self.size)
        rows = (centre >= self.top) & (centre < self.top + self.height)
        columns = (centre >= self.left) & (centre < self.left + self.width)
        return rows[:, None] & columns[None, :]

    def to_square(self, image: np.ndarray) -> np.ndarray:
        """(H, W) uint8, bool or float → (size, size) of the same kind.

        Outside the film 0 or False, but for the resampling's reach at its edge: one pixel of the square where the
        film is shrunk, half a film pixel where it is enlarged.
        """
        if image.shape != (self.height, self.width):
            raise ValueError(f"This placement is for {(self.height, self.width)}, not {image.shape}.")
        padded = np.zeros((self.side, self.side), np.float32 if image.dtype == bool else image.dtype)
        padded[self.top : self.top + self.height, self.left : self.left + self.width] = image
        # BOX averages whole areas, so no detail is skipped when shrinking; enlarging needs interpolation
        how = Image.Resampling.BOX if self.size <= self.side else Image.Resampling.BILINEAR
        square = _resize(padded, (self.size, self.size), how)
        return square >= 0.5 if image.dtype == bool else square

    def to_original(self, array: np.ndarray) -> np.ndarray:
        """(size, size) float, uint8 or bool → (H, W) of the same kind, bilinear; bool by whether half is covered."""
        if array.shape != (self.size, self.size):
            raise ValueError(f"This placement is for {(self.size, self.size)}, not {array.shape}.")
        scale = self.size / self.side
        box = (self.left * scale, self.top * scale, (self.left + self.width) * scale, (self.top + self.height) * scale)
        source = array.astype(np.float32) if array.dtype == bool else array
        original = _resize(source, (self.height, self.width), Image.Resampling.BILINEAR, box)
        return original >= 0.5 if array.dtype == bool else original


def _resize(array: np.ndarray, shape: tuple[int, int], how: Image.Resampling, box: Any = None) -> np.ndarray:
    """PIL's antialiased resize of uint8 or float (kept as float32) to `shape` (rows, columns)."""
    plain = array if array.dtype == np.uint8 else array.astype(np.float32)
    return np.array(Image.fromarray(plain).resize((shape[1], shape[0]), how, box=box))


def square(image: np.ndarray, size: int) -> np.ndarray:
    """uint8 (H, W) → uint8 (size, size): the shorter side padded with black equally, then area-averaged."""
    height, width = image.shape
    return Placement(height, width, size).to_square(image)


# Writing -----------------------------------------------------------------------------------------------------------


def _as_image(image: np.ndarray) -> Image.Image:
    if image.dtype == bool:
        image = image.astype(np.uint8) * 255
    if image.dtype != np.uint8 or image.ndim not in (2, 3):
        raise ValueError(f"A film to save is uint8 or bool (H, W), not {image.dtype} {image.shape}.")
    return Image.fromarray(np.ascontiguousarray(image))


def save_png(path: Path | str, image: np.ndarray, text: dict[str, str] | None = None, level: int = 6) -> None:
    """Write uint8 (H, W) or bool (0 / 255) as PNG, atomically.

    text: words kept inside the file (iTXt). level: zlib's, 0 to 9. 3 takes 0.4 of the time of 6 for 1.15 of the bytes.
    """
    info = PngImagePlugin.PngInfo()
    for key, value in (text or {}).items():
        info.add_itxt(key, value)
    with atomic_write(Path(path)) as stream:
        _as_image(image).save(stream, "PNG", pnginfo=info, compress_level=level)


def save_jpeg(path: Path | str, image: np.ndarray, quality: int = 95) -> None:
    """Write uint8 (H, W) as a grey JPEG, atomically."""
    with atomic_write(Path(path)) as stream:
        _as_image(image).save(stream, "JPEG", quality=quality)
