"""CRC-64 of OpenIGTLink: polynomial of ECMA-182, most significant bit first, start 0, nothing inverted."""

import numpy as np
from numpy.typing import NDArray

from needleplan.compiled import compiled

#: ECMA-182, annex B, without the leading x⁶⁴.
POLYNOMIAL = 0x42F0E1EBA9EA3693
_MASK = (1 << 64) - 1
#: The kernel holds the interpreter, so a long body is given to it in pieces that take well under a millisecond.
_PIECE_BYTES = 1 << 18


def _make_tables() -> NDArray[np.uint64]:
    """(8, 256): row k is the remainder of a byte followed by k zero bytes ("slicing by 8", Kounavis and Berry)."""
    tables = [[0] * 256 for _ in range(8)]
    for byte in range(256):
        remainder = byte << 56
        for _ in range(8):
            remainder = ((remainder << 1) & _MASK) ^ (POLYNOMIAL if remainder >> 63 else 0)
        tables[0][byte] = remainder
    for row in range(1, 8):
        for byte in range(256):
            before = tables[row - 1][byte]
            tables[row][byte] = ((before << 8) & _MASK) ^ tables[0][before >> 56]
    return np.array(tables, dtype=np.uint64)


_TABLES = _make_tables()


@compiled
def _crc64(data, crc, tables):  # type: ignore[no-untyped-def]
    whole = len(data) // 8 * 8
    for i in range(0, whole, 8):
        word = np.uint64(0)
        for j in range(8):
            word = (word << np.uint64(8)) | np.uint64(data[i + j])
        word ^= crc
        crc = (
            tables[7, word >> np.uint64(56)]
            ^ tables[6, (word >> np.uint64(48)) & np.uint64(255)]
            ^ tables[5, (word >> np.uint64(40)) & np.uint64(255)]
            ^ tables[4, (word >> np.uint64(32)) & np.uint64(255)]
            ^ tables[3, (word >> np.uint64(24)) & np.uint64(255)]
            ^ tables[2, (word >> np.uint64(16)) & np.uint64(255)]
            ^ tables[1, (word >> np.uint64(8)) & np.uint64(255)]
            ^ tables[0, word & np.uint64(255)]
        )
    for i in range(whole, len(data)):
        crc = (crc << np.uint64(8)) ^ tables[0, (crc >> np.uint64(56)) ^ np.uint64(data[i])]
    return crc


def crc64(data: bytes | bytearray | memoryview, crc: int = 0) -> int:
    """Checksum of ``data``; ``crc`` carries on that of what came before."""
    # Read-only on purpose: a second kernel would be compiled for arrays that can be written to.
    array = np.frombuffer(memoryview(data).toreadonly(), dtype=np.uint8)
    value = np.uint64(crc)
    for start in range(0, len(array), _PIECE_BYTES):
        value = np.uint64(_crc64(array[start : start + _PIECE_BYTES], value, _TABLES))
    return int(value)
