"""Films: what decodes to what, what is refused and why, and the way to the square and back."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from cars.errors import FilmError
from cars.imaging import MAX_PIXELS, Placement, decode, looks_inverted, probe, save_jpeg, save_png, square


def gradient(height: int = 40, width: int = 60) -> np.ndarray:
    """uint8 (H, W) from 0 at the left to 255 at the right."""
    return np.tile(np.linspace(0, 255, width).astype(np.uint8), (height, 1))


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds one empty chunk of pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def write_dicom(path, pixels, photometric="MONOCHROME2", bits=12, **elements):
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = pydicom.uid.DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    film = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    film.SOPClassUID, film.SOPInstanceUID = meta.MediaStorageSOPClassUID, "1.2.3"
    film.Rows, film.Columns = pixels.shape
    film.SamplesPerPixel, film.PhotometricInterpretation = 1, photometric
    film.BitsAllocated = 16 if bits > 8 else 8
    film.BitsStored, film.HighBit, film.PixelRepresentation = bits, bits - 1, 0
    for name, value in elements.items():
        setattr(film, name, value)
    film.PixelData = pixels.astype(np.uint16 if bits > 8 else np.uint8).tobytes()
    film.save_as(path, enforce_file_format=True)
    return path


# Decoding ------------------------------------------------------------------------------------------------------------


def test_png_comes_back_as_saved(tmp_path):
    save_png(tmp_path / "a.png", gradient(), {"origin": "synthetic"})
    assert np.array_equal(decode(tmp_path / "a.png"), gradient())
    assert Image.open(tmp_path / "a.png").text == {"origin": "synthetic"}


def test_jpeg_decodes_from_path_and_bytes(tmp_path):
    save_jpeg(tmp_path / "a.jpg", gradient())
    image = decode(tmp_path / "a.jpg")
    assert image.dtype == np.uint8
    assert np.abs(image.astype(int) - gradient()).max() <= 6
    assert np.array_equal(image, decode((tmp_path / "a.jpg").read_bytes()))


@pytest.mark.parametrize("at_least", [30, 100, 199, 200])
def test_scaled_decoding_keeps_the_shorter_side(tmp_path, at_least):
    save_jpeg(tmp_path / "a.jpg", gradient(200, 400))
    height, width = decode(tmp_path / "a.jpg", at_least=at_least).shape
    assert at_least <= height <= 200
    assert width == 2 * height
    assert height < 2 * at_least or height == 200


def test_sixteen_bit_png_is_scaled_linearly(tmp_path):
    values = np.linspace(1000, 5000, 50).astype(np.uint16).reshape(5, 10)
    Image.fromarray(values).save(tmp_path / "a.png")
    expected = np.round((values - 1000.0) * 255 / 4000)
    assert np.abs(decode(tmp_path / "a.png") - expected).max() <= 1


def test_grey_saved_as_colour_is_a_film(tmp_path):
    Image.fromarray(np.stack([gradient()] * 3, axis=2)).save(tmp_path / "a.png")
    assert np.array_equal(decode(tmp_path / "a.png"), gradient())


def test_dicom_scales_twelve_bits_and_inverts_monochrome1(tmp_path):
    stored = np.tile(np.linspace(100, 3900, 60).astype(np.uint16), (40, 1))
    plain = decode(write_dicom(tmp_path / "2.dcm", stored))
    assert plain.min() == 0
    assert plain.max() == 255
    assert np.all(np.diff(plain[0].astype(int)) >= 0)
    inverted = decode(write_dicom(tmp_path / "1.dcm", stored, "MONOCHROME1"))
    assert np.array_equal(inverted, 255 - plain)


def test_dicom_window_clips_both_ends(tmp_path):
    stored = np.tile(np.arange(0, 4000, 40, dtype=np.uint16), (40, 1))
    image = decode(write_dicom(tmp_path / "a.dcm", stored, WindowCenter=2000, WindowWidth=1000))[0]
    assert np.all(image[stored[0] < 1490] == 0)
    assert np.all(image[stored[0] > 2510] == 255)
    middle = int(image[50])
    assert 120 <= middle <= 135


def test_dicom_padding_is_black_and_does_not_stretch_the_scale(tmp_path):
    stored = np.tile(np.linspace(1000, 3000, 60).astype(np.uint16), (40, 1))
    stored[:, :10] = 0
    image = decode(write_dicom(tmp_path / "a.dcm", stored, PixelPaddingValue=0))
    assert np.all(image[:, :10] == 0)
    assert image[0, 11] < 60  # were the padding counted, 1,300 of 3,000 would be grey level 110


# Refusals ------------------------------------------------------------------------------------------------------------


def bad_films(folder):
    """reason → a file that has it."""
    save_jpeg(folder / "whole.jpg", np.random.default_rng(0).integers(0, 255, (80, 80), dtype=np.uint8))
    whole = (folder / "whole.jpg").read_bytes()
    save_png(folder / "whole.png", gradient())
    colour = np.zeros((30, 30, 3), np.uint8)
    colour[:, :15, 0] = 200
    picture = io.BytesIO()
    Image.fromarray(colour).save(picture, "PNG")
    blank = io.BytesIO()
    Image.fromarray(np.full((30, 30), 77, np.uint8)).save(blank, "PNG")
    return {
        "zero-byte": b"",
        "truncated": whole[: len(whole) // 2],
        "not an image": b"<html>404 not found</html>" * 10,
        "too large": png_header(20_000, MAX_PIXELS // 20_000 + 1),
        "colour picture": picture.getvalue(),
        "blank": blank.getvalue(),
    }


@pytest.mark.parametrize("reason", ["zero-byte", "truncated", "not an image", "too large", "colour picture", "blank"])
def test_a_bad_film_is_refused_with_its_reason(tmp_path, reason):
    path = tmp_path / "bad.jpg"
    path.write_bytes(bad_films(tmp_path)[reason])
    with pytest.raises(FilmError) as caught:
        decode(path)
    assert caught.value.reason == reason
    assert "bad.jpg" in caught.value.message
    seen_in_header = reason not in ("colour picture", "blank")
    assert probe(path).problem == (reason if seen_in_header else None)


def test_missing_files_and_truncated_png(tmp_path):
    with pytest.raises(FilmError) as caught:
        decode(tmp_path / "none.jpg")
    assert caught.value.reason == "missing"
    assert probe(tmp_path / "none.jpg").problem == "missing"
    save_png(tmp_path / "a.png", gradient())
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:-13])
    assert probe(tmp_path / "cut.png").problem == "truncated"


def test_a_decompression_bomb_is_refused_before_its_pixels(tmp_path):
    (tmp_path / "bomb.png").write_bytes(png_header(60_000, 60_000))
    assert probe(tmp_path / "bomb.png").problem == "too large"
    with pytest.raises(FilmError, match="too large"):
        decode(tmp_path / "bomb.png")


def test_dicom_shorter_than_its_pixels_is_truncated(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", np.tile(np.arange(200, dtype=np.uint16), (100, 1)))
    assert probe(path).problem is None
    path.write_bytes(path.read_bytes()[:9000])
    assert probe(path).problem == "truncated"
    with pytest.raises(FilmError):
        decode(path)


def test_probe_reads_the_size(tmp_path):
    save_jpeg(tmp_path / "a.jpg", gradient(40, 60))
    info = probe(tmp_path / "a.jpg")
    assert (info.rows, info.columns, info.bits, info.mode, info.problem) == (40, 60, 8, "L", None)
    info = probe(write_dicom(tmp_path / "a.dcm", gradient(50, 70), bits=12))
    assert (info.rows, info.columns, info.bits, info.problem) == (50, 70, 12, None)


@settings(max_examples=60, deadline=None)
@given(
    data=st.binary(max_size=400),
    prefix=st.sampled_from([b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"\0" * 128 + b"DICM"]),
)
def test_no_bytes_make_decode_raise_anything_else(data, prefix):
    with pytest.raises(FilmError):
        decode(prefix + data)


def test_real_films_decode_and_inversion_is_seen(open_cxr):
    films = [decode(path, at_least=128) for path in sorted(open_cxr.glob("files/*/*/*/*.jpg"))[:120]]
    assert sum(looks_inverted(film) for film in films) <= 1
    assert sum(looks_inverted(255 - film) for film in films) >= 0.8 * len(films)


# Geometry ------------------------------------------------------------------------------------------------------------


sizes = st.tuples(st.integers(1, 90), st.integers(1, 90), st.integers(1, 64))


@settings(max_examples=80, deadline=None)
@given(sizes)
@example((1, 2, 9))  # enlarged: interpolation reaches half a film pixel into the padding
def test_the_square_is_black_outside_the_film_and_keeps_a_flat_one(shape):
    height, width, size = shape
    placement = Placement(height, width, size)
    flat = placement.to_square(np.full((height, width), 200, np.uint8))
    assert flat.shape == (size, size) == placement.inside.shape
    scale = size / max(height, width)
    # the resampling's reach beyond the film's edge: a pixel of the square, or half a film pixel where it is enlarged
    reach = max(1.0, scale / 2)
    rows, columns = np.nonzero(~placement.inside)
    far = (
        (rows + 1 < placement.top * scale - reach)
        | (rows > (placement.top + height) * scale + reach)
        | (columns + 1 < placement.left * scale - reach)
        | (columns > (placement.left + width) * scale + reach)
    )
    assert np.all(flat[rows[far], columns[far]] == 0)
    if height == width:
        assert np.all(flat == 200)
        assert placement.inside.all()


@settings(max_examples=60, deadline=None)
@given(sizes)
def test_to_original_is_resize_then_crop(shape):
    height, width, size = shape
    placement = Placement(height, width, size)
    array = np.random.default_rng(height * 91 + width).normal(size=(size, size)).astype(np.float32)
    side = placement.side
    whole = np.array(Image.fromarray(array).resize((side, side), Image.Resampling.BILINEAR))
    crop = whole[placement.top : placement.top + height, placement.left : placement.left + width]
    np.testing.assert_allclose(placement.to_original(array), crop, atol=1e-4)


def test_a_mask_goes_to_the_square_and_back():
    mask = np.zeros((120, 80), bool)
    mask[30:70, 20:60] = True
    placement = Placement(120, 80, 60)
    small = placement.to_square(mask)
    assert small.dtype == bool
    assert small[15:35, 20:40].all()  # 20 columns of padding left of the film, everything halved
    assert small.sum() == 20 * 20
    back = placement.to_original(small)
    assert back.shape == mask.shape
    assert (back ^ mask).sum() <= 0.1 * mask.sum()


def test_a_zero_difference_stays_zero_everywhere():
    difference = Placement(100, 70, 32).to_original(np.zeros((32, 32), np.float32))
    assert difference.dtype == np.float32
    assert not difference.any()


def test_square_averages_areas():
    image = np.array([[0, 100], [100, 200]], np.uint8).repeat(4, 0).repeat(4, 1)
    assert square(image, 1)[0, 0] == 100
    assert np.array_equal(square(image, 2), [[0, 100], [100, 200]])


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(10, 20\)"):
        Placement(10, 20, 8).to_square(np.zeros((20, 10), np.uint8))
    with pytest.raises(ValueError, match=r"\(8, 8\)"):
        Placement(10, 20, 8).to_original(np.zeros((9, 8), np.float32))


def test_saving_is_atomic_and_takes_masks(tmp_path):
    save_png(tmp_path / "m.png", gradient() > 128)
    assert set(np.unique(np.array(Image.open(tmp_path / "m.png")))) == {0, 255}
    with pytest.raises(ValueError, match="float64"):
        save_png(tmp_path / "m.png", gradient() / 255.0)
    assert [p.name for p in tmp_path.iterdir()] == ["m.png"]
