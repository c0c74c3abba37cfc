"""Files that differ from sound ones a little."""

from __future__ import annotations

import random

SPLICES = (b"\0", b"\xff" * 4, b"\x7f\xff\xff\xff", b"\n", b"[" * 3000, b"9" * 5000, b"../", b"nan", b"\xef\xbb\xbf")


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Flip bits, cut, repeat a part, or put something nasty in."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(changed) + 1)
        way = rng.randrange(4)
        if way == 0 and place < len(changed):
            changed[place] ^= 1 << rng.randrange(8)
        elif way == 1:
            del changed[place : place + rng.randint(1, 16)]
        elif way == 2:
            changed[place:place] = changed[place // 2 : place]
        else:
            changed[place:place] = rng.choice(SPLICES)
    return bytes(changed)
