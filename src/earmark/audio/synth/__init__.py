"""Synthesised sounds of FSDKaggle2019's labels, each from a model of how that sound arises.

A family of sounds a module: `strings`, `bells`, `percussion`, `water`, `air`, `creatures`. They are made from
`sources` (noise, waves), `resonators` (modes) and `rhythm` (onsets), and heard in `rooms`.
"""

from __future__ import annotations

from earmark.audio.synth.catalog import LABELS, mix, synthesize
from earmark.audio.synth.rooms import record_badly

__all__ = ["LABELS", "mix", "record_badly", "synthesize"]
