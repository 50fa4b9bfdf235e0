"""The file format of packed rows.

| bytes    | what                                                                    |
|----------|-------------------------------------------------------------------------|
| 3        | "zoo"                                                                   |
| 1        | version of the format                                                   |
| 4        | CRC-32 of all that follows                                              |
| 4        | digest of the model                                                     |
| 4        | CRC-32 of the codes: whether what comes out is what went in             |
| 1        | dtype of x                                                              |
| varints  | rows; numbers that the last row lacks; rows a block; bytes of the note  |
| the note | whatever the packer wants back                                          |
| the rest | the coder's words, 32 bits each, little-endian                          |
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np
import torch

MAGIC, VERSION = b"zoo", 1
DTYPES = (
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
)


@dataclass(frozen=True)
class Header:
    """What is known of packed rows before they are decoded."""

    rows: int
    absent: int
    """How many numbers the last row lacks at its end."""
    block: int
    """How many rows are coded side by side."""
    dtype: torch.dtype
    model: bytes
    codes: int
    note: bytes


def pack(header: Header, words: np.ndarray) -> bytes:
    """A header and the coder's words as bytes."""
    numbers = (header.rows, header.absent, header.block, len(header.note))
    body = b"".join(
        [
            header.model,
            struct.pack("<IB", header.codes, DTYPES.index(header.dtype)),
            *map(_varint, numbers),
            header.note,
            words.astype("<u4").tobytes(),
        ]
    )
    return MAGIC + bytes([VERSION]) + struct.pack("<I", zlib.crc32(body)) + body


def unpack(data: bytes) -> tuple[Header, np.ndarray]:
    """The header and the coder's words, refused where they are not what was packed."""
    if not data.startswith(MAGIC):
        raise ValueError("these are no packed rows: they don't begin as what compress gives does")
    if data[3:4] != bytes([VERSION]):
        version = f"version {data[3]}" if len(data) > 3 else "no version"
        raise ValueError(f"packed rows of {version} can't be read here, only of version {VERSION}")
    body = data[8:]
    if len(data) < 8 or struct.unpack("<I", data[4:8])[0] != zlib.crc32(body):
        raise ValueError(f"the packed rows are damaged or cut short ({len(data):,} bytes): their checksum is wrong")
    try:
        codes, dtype = struct.unpack("<IB", body[4:9])
        numbers, place = [], 9
        for _ in range(4):
            number, place = _number(body, place)
            numbers.append(number)
        rows, absent, block, length = numbers
        words = np.frombuffer(body[place + length :], dtype="<u4").astype(np.uint32)
        return Header(rows, absent, block, DTYPES[dtype], body[:4], codes, body[place : place + length]), words
    except (struct.error, IndexError, ValueError):
        raise ValueError("the packed rows hold no header that could have been written here") from None


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the eighth says that more follow."""
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def _number(data: bytes, place: int) -> tuple[int, int]:
    """The number that is written at this place, and the place behind it."""
    number = shift = 0
    while data[place] > 127:
        number |= (data[place] & 127) << shift
        place, shift = place + 1, shift + 7
    return number | data[place] << shift, place + 1
