"""What a model's file asks of whoever loads it, read from its bytes before any library acts on them.

An ONNX file is a message of protocol buffers (https://protobuf.dev/programming-guides/encoding). It can name other
files that hold its weights, and tensors larger than what it brings of them. A bundle does neither.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from pathlib import Path

from earmark.errors import BundleError
from earmark.wire import fields, varint

PARTS = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse tensor", 23: "sparse tensor"},
}
"""Of each message of onnx.proto, which of its fields lead to tensors."""

ONCE = {("model", 7), ("attribute", 5), ("attribute", 6)}
"""Fields that stand once; a reader merges what stands twice, to something that neither was."""

DIMS, EXTERNAL_DATA, DATA_LOCATION = 1, 13, 14
VALUES = {4, 5, 6, 7, 9, 10, 11}
"""Fields of a tensor."""

VALUES_A_BYTE = 8


def check_model_file(path: Path, content: bytes | None = None) -> None:
    """Refuse a model whose weights are not all in its file.

    Parameters
    ----------
    path
        The file, or its name for messages.
    content
        Its bytes, where they are at hand.

    Raises
    ------
    BundleError
        When a tensor lies in another file, is sparse, or is larger than what is there of it; or the file is damaged.
    """
    try:
        _check(path, _whole(path) if content is None else memoryview(content))
    except ValueError as error:
        raise _damaged(path) from error


def _whole(path: Path) -> memoryview:
    with path.open("rb") as file:
        if not file.seek(0, 2):
            raise _damaged(path)
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return memoryview(mapped)  # closed with the last part that refers to it


def _check(path: Path, whole: memoryview) -> None:
    ahead = [("model", whole)]
    while ahead:
        message, part = ahead.pop()
        if message == "tensor":
            _check_tensor(path, part)
            continue
        if message == "sparse tensor":
            raise BundleError(f"{path}: holds a sparse tensor, which no bundle does; take the original")
        seen = set()
        for number, value in fields(part):
            if number in PARTS[message] and isinstance(value, memoryview):
                if number in seen and (message, number) in ONCE:
                    raise _damaged(path)
                seen.add(number)
                ahead.append((PARTS[message][number], value))


def _check_tensor(path: Path, tensor: memoryview) -> None:
    dims: list[int] = []
    n_bytes = 0
    for number, value in fields(tensor):
        if number == EXTERNAL_DATA or (number == DATA_LOCATION and value != 0):
            raise BundleError(
                f"{path}: keeps weights in another file, and a bundle is one file that holds all; take the original, "
                "or write it again with earmark"
            )
        if number == DIMS:
            dims += [value] if isinstance(value, int) else _packed(value)
        elif number in VALUES:
            n_bytes += len(value) if isinstance(value, memoryview) else 1
    if math.prod(dims) > VALUES_A_BYTE * n_bytes and dims:
        raise BundleError(
            f"{path}: states a tensor of {' x '.join(map(str, dims))} values, of which {n_bytes} bytes are there; "
            "copy the file again"
        )


def _packed(values: memoryview) -> Iterator[int]:
    place = 0
    while place < len(values):
        value, place = varint(values, place)
        yield value


def _damaged(path: Path) -> BundleError:
    return BundleError(
        f"{path}: cannot be loaded as an ONNX model (its parts do not add up); is it whole, and a bundle? copy it again"
    )
