"""Whether a piece of a film stands somewhere in a set of films: normalised cross-correlation at every offset.

An editor that memorised its training films would put pieces of them into others. Films are first high-passed, so that
a match needs the same edges and texture: smooth anatomy is alike in all chest films, and brightness and contrast may
have been changed. The correlation over a mask of any shape is that of Padfield 2012, "Masked Object Registration in the
Fourier Domain" (IEEE Transactions on Image Processing 21), with a mask on one side.
"""

from __future__ import annotations

import numpy as np

from ..errors import DataError

#: Films whose transforms are multiplied at once.
BLOCK = 64
#: A patch flatter than this share of its film's own variation (standard deviations) matches nothing and is no match.
FLAT = 0.05


class Patches:
    """Films to search. Build once, then ask for many patches.

    films: uint8 (N, S, S), or float. groups: (N,) whose they are; a patch is never searched in films of its own group.
    sigma: width in pixels of the Gaussian whose blur is taken away; 0 keeps the films as they are.
    reach: most offset in pixels along each axis; None looks at every place where the patch fits.
    """

    def __init__(self, films: np.ndarray, groups: np.ndarray, sigma: float = 2.0, reach: int | None = None) -> None:
        if films.ndim != 3 or films.shape[1] != films.shape[2] or len(films) != len(groups) or not len(films):
            raise DataError(
                f"Films {films.shape} and {len(groups)} groups do not fit.", "Pass (N, S, S) films, each with a group."
            )
        self.size, self.sigma, self.reach = films.shape[1], sigma, reach
        self.groups = np.asarray(groups)
        passed = np.stack([self.high_passed(film) for film in films])
        self.films = passed
        # no padding: at the offsets that count, where the whole piece lies on the film, nothing wraps around
        self._films = np.fft.rfft2(passed).astype(np.complex64)
        self._squares = np.fft.rfft2(passed**2).astype(np.complex64)
        self._flat = FLAT * passed.std(axis=(1, 2))

    def high_passed(self, film: np.ndarray) -> np.ndarray:
        """float64 (S, S): the film without its blurred self."""
        from scipy import ndimage

        plain = np.asarray(film, np.float64)
        return plain - ndimage.gaussian_filter(plain, self.sigma) if self.sigma else plain

    def nearest(self, film: np.ndarray, where: np.ndarray, group: str = "") -> tuple[float, int, tuple[int, int]]:
        """The film that holds the best match of a piece.

        Args:
            film: (S, S), of which the piece is a part. where: bool (S, S), the piece, at least 9 pixels.
            group: films of this group are not looked at.

        Returns: correlation in [-1, 1], row of the film, and the offset (down, right) in pixels at which the piece lies
        there. (NaN, -1, (0, 0)) when the piece is flat or there is no film to look at.
        Raises: DataError for an array of another size or too small a piece.
        """
        if film.shape != (self.size, self.size) or where.shape != film.shape or where.sum() < 9:
            raise DataError(
                f"A piece of {int(where.sum())} pixels of a film {film.shape} cannot be searched for.",
                f"Pass a film of {self.size} pixels and a mask of at least 9.",
            )
        n = int(where.sum())
        passed = self.high_passed(film)
        piece = np.where(where, passed - passed[where].mean(), 0)
        energy = float((piece**2).sum())
        others = np.flatnonzero(self.groups != group)
        if not len(others) or energy <= n * (FLAT * passed.std()) ** 2 or energy == 0:
            return float("nan"), -1, (0, 0)
        side = (self.size, self.size)
        wanted, counted = (np.conj(np.fft.rfft2(a)).astype(np.complex64) for a in (piece, where.astype(float)))
        (down, fits_down), (right, fits_right) = (self._offsets(where.any(axis=axis)) for axis in (1, 0))
        fits = fits_down[:, None] & fits_right
        best: tuple[float, int, tuple[int, int]] = (float("nan"), -1, (0, 0))
        for start in range(0, len(others), BLOCK):
            rows = others[start : start + BLOCK]
            shared = np.fft.irfft2(self._films[rows] * wanted, side)
            total = np.fft.irfft2(self._films[rows] * counted, side)
            squares = np.fft.irfft2(self._squares[rows] * counted, side)
            there = np.maximum(squares - total**2 / n, 0)
            usable = fits[None] & (there > n * self._flat[rows, None, None] ** 2)
            score = np.where(usable, shared / np.sqrt(energy * np.maximum(there, 1e-12)), -np.inf)
            at = int(score.argmax())
            found = float(score.flat[at])
            if np.isfinite(found) and not found <= best[0]:
                row, y, x = np.unravel_index(at, score.shape)
                best = (min(1.0, found), int(rows[row]), (int(down[y]), int(right[x])))
        return best

    def _offsets(self, held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of each shift along one axis that wraps around, the offset it stands for, and whether it counts: the whole
        piece lies on the film, within reach. held: bool (S,), the rows or columns of the piece. Both (S,)."""
        first, last = np.flatnonzero(held)[[0, -1]]
        shift = np.arange(self.size)
        offset = np.where(shift <= self.size - 1 - last, shift, shift - self.size)
        fits = offset >= -first
        return offset, fits if self.reach is None else fits & (np.abs(offset) <= self.reach)
