"""Protocol Buffers' wire format, which ONNX files are written in, read without a library.

A message is fields one after the other, each a key (its number and kind) and a value
(https://protobuf.dev/programming-guides/encoding). Nothing is copied: parts are views of the content.
"""

from __future__ import annotations

from collections.abc import Iterator

VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5
"""Kinds of fields."""

LARGEST_SHIFT = 63
"""Bits before the last group of seven in a number of 64 bits."""


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field of a message: a whole number, or the bytes of anything else.

    Raises
    ------
    ValueError
        When the message ends within a field, or has one of a kind that there is not.
    """
    place, end = 0, len(message)
    while place < end:
        key, place = varint(message, place)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, place = varint(message, place)
            yield number, value
            continue
        length = {EIGHT_BYTES: 8, FOUR_BYTES: 4}.get(kind)
        if kind == LENGTH:
            length, place = varint(message, place)
        if length is None:
            raise ValueError(f"no ONNX model: a field of kind {kind}")
        if place + length > end:
            raise ValueError("no ONNX model: it ends within a field")
        yield number, message[place : place + length]
        place += length


def varint(message: memoryview, place: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, and where the next begins.

    Raises
    ------
    ValueError
        When the message ends within it, or it has more than 64 bits.
    """
    value = shift = 0
    while place < len(message) and shift <= LARGEST_SHIFT:
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
    raise ValueError("no ONNX model: it ends within a number")
