"""CRC-32C, which `backup_manifest` has of each file, of pieces that were not read in order."""

from __future__ import annotations

from functools import lru_cache

# Castagnoli's polynomial, bits reversed: x^31 is the lowest bit.
_POLYNOMIAL = 0x82F63B78
_ONE, _X8 = 1 << 31, 1 << 23


def joined(before: int, after: int, after_bytes: int) -> int:
    """The CRC of two pieces of which the second has `after_bytes`, by the CRC of each.

    The method is zlib's crc32_combine: the first CRC times x^(8 n) modulo the polynomial.
    """
    return _times(_shift(after_bytes), before) ^ after


@lru_cache(maxsize=64)
def _shift(size_bytes: int) -> int:
    """x^(8 n) modulo the polynomial; most pieces have the same size."""
    result, square = _ONE, _X8
    while size_bytes:
        if size_bytes & 1:
            result = _times(square, result)
        square = _times(square, square)
        size_bytes >>= 1
    return result


def _times(left: int, right: int) -> int:
    """The product of two polynomials modulo ours."""
    product, bit = 0, _ONE
    while bit:
        if left & bit:
            product ^= right
        right = right >> 1 ^ (_POLYNOMIAL if right & 1 else 0)
        bit >>= 1
    return product
