"""Bodies that mean no good, made of a recording that is sound."""

from __future__ import annotations

import random

LIES = (0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
HEADER_BYTES = 64


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Change a file in one of several ways: flipped bits, lies in its header, cut, doubled, shuffled, noise."""
    changed = bytearray(content)
    way = rng.randrange(7)
    if way == 0:
        for _ in range(rng.randint(1, 50)):
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    elif way == 1:  # a length, a rate, a number of channels
        place = rng.randrange(HEADER_BYTES - 4)
        size = rng.choice((1, 2, 4))
        lie = rng.choice(LIES) & (256**size - 1)
        changed[place : place + size] = lie.to_bytes(size, rng.choice(("little", "big")))
    elif way == 2:
        del changed[rng.randrange(len(changed)) :]
    elif way == 3:
        place = rng.randrange(len(changed))
        changed[place:place] = changed[: rng.randrange(1, len(changed))]
    elif way == 4:
        first, second = sorted(rng.sample(range(len(changed)), 2))
        del changed[first:second]
    elif way == 5:
        first = rng.randrange(len(changed))
        changed[first : first + 2000] = rng.randbytes(min(2000, len(changed) - first))
    else:
        changed[HEADER_BYTES:] = rng.randbytes(len(changed) - HEADER_BYTES)
    return bytes(changed)
