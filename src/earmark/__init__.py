"""earmark puts names to sounds.

>>> import earmark
>>> tagger = earmark.load()
>>> tagger.tag("dog.wav", top_k=3)  # doctest: +SKIP
[Tag(label='Bark', score=0.97, start_s=0.0, end_s=4.2), ...]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["Tag", "Tagger", "__version__", "load"]

if TYPE_CHECKING:
    from earmark.tagging.tagger import Tag, Tagger, load


def __getattr__(name: str) -> object:
    # imported when asked for, so that the command line answers -h without loading onnxruntime
    if name in {"Tag", "Tagger", "load"}:
        from earmark.tagging import tagger

        return getattr(tagger, name)
    raise AttributeError(f"module 'earmark' has no attribute {name!r}")
