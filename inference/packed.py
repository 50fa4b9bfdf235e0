"""The file format of packed rows: a dozen bytes and the coder's.

| bytes    | what                                                                                           |
|----------|------------------------------------------------------------------------------------------------|
| 1        | "Z"                                                                                            |
| 1        | 128 + the version of the format                                                                |
| 2        | CRC-16 of all that follows: damage is found before anything is decoded                         |
| 1        | dtype of x, and which of the optional varints there are                                        |
| 2        | mark of the model: another one is found before anything is decoded                             |
| 3        | mark of the rows and the model: whether what was decoded is what was packed, whatever happened |
| varints  | rows; optional: numbers that the last row lacks, rows a block, bytes of the note               |
| the note | whatever the packer wants back                                                                 |
| the rest | the coder's words, 32 bits each, big-endian, without zeros at the end                          |
"""

from __future__ import annotations

import binascii
import struct
from dataclasses import dataclass

import numpy as np
import torch

MAGIC, VERSION = b"Z", 1
BLOCK = 1024
"""Rows a block where the header does not say."""
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
ABSENT, OWN_BLOCK, NOTE = 16, 32, 64


@dataclass(frozen=True)
class Header:
    """What is known of packed rows before they are decoded."""

    rows: int
    dtype: torch.dtype
    model: bytes
    """Two bytes."""
    content: bytes
    """Three bytes."""
    absent: int = 0
    """How many numbers the last row lacks at its end."""
    block: int = BLOCK
    """How many rows are coded side by side."""
    note: bytes = b""


def pack(header: Header, payload: bytes) -> bytes:
    """A header and the coder's bytes as one stream."""
    optional = ((ABSENT, header.absent, 0), (OWN_BLOCK, header.block, BLOCK), (NOTE, len(header.note), 0))
    there = [(flag, number) for flag, number, usual in optional if number != usual]
    first = DTYPES.index(header.dtype) | sum(flag for flag, _ in there)
    numbers = b"".join(_varint(number) for number in (header.rows, *(number for _, number in there)))
    body = bytes([first]) + header.model + header.content + numbers + header.note + payload
    return MAGIC + struct.pack("<BH", 128 + VERSION, binascii.crc_hqx(body, 0)) + body


def unpack(data: bytes) -> tuple[Header, bytes]:
    """The header and the coder's bytes, refused where they are not what was packed."""
    if data[:1] != MAGIC or data[1:2] < b"\x80":
        raise ValueError("these are no packed rows: they don't begin as what compress gives does")
    if data[1] != 128 + VERSION:
        raise ValueError(f"packed rows of version {data[1] - 128} can't be read here, only of version {VERSION}")
    body = data[4:]
    if len(body) < 7 or struct.unpack("<H", data[2:4])[0] != binascii.crc_hqx(body, 0):
        raise ValueError(f"the packed rows are damaged or cut short ({len(data):,} bytes): their checksum is wrong")
    try:
        return _header(body)
    except IndexError:
        raise ValueError("the packed rows hold no header that could have been written here") from None


def _header(body: bytes) -> tuple[Header, bytes]:
    flags, place, found = body[0], 6, {}
    dtype = DTYPES[flags & 15]
    rows, place = _number(body, place)
    for flag, usual in ((ABSENT, 0), (OWN_BLOCK, BLOCK), (NOTE, 0)):
        found[flag], place = _number(body, place) if flags & flag else (usual, place)
    end = place + found[NOTE]
    if not rows or not found[OWN_BLOCK] or end > len(body):
        raise IndexError
    header = Header(rows, dtype, body[1:3], body[3:6], found[ABSENT], found[OWN_BLOCK], body[place:end])
    return header, body[end:]


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


# ---- the coder's words


def ended(encoder: object) -> bytes:
    """What a range encoder of `constriction` has written, ended as early as its last interval allows."""
    words = encoder.get_compressed()  # type: ignore[attr-defined]
    done, (low, width) = encoder.pos()  # type: ignore[attr-defined]
    sealed = int.from_bytes(words[done:].astype(">u4").tobytes().ljust(8, b"\0"), "big")
    # an interval of 64 bits that goes round the end: the words before it have been settled for one of its sides
    low, high = (low, min(low + width, 1 << 64)) if sealed >= low else (0, low + width - (1 << 64))
    unused = next(k for k in range(64, -8, -8) if -(-low >> k) << k < high)
    point = -(-low >> unused) << unused
    return (words[:done].astype(">u4").tobytes() + point.to_bytes(8, "big")).rstrip(b"\0")


def words_of(payload: bytes) -> np.ndarray:
    """The words of `ended`, as a range decoder takes them."""
    return np.frombuffer(payload + b"\0" * (-len(payload) % 4), dtype=">u4").astype(np.uint32)
