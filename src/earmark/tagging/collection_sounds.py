"""The clips of a collection as sounds to compare models on."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from earmark.audio.decode import Waveform, decode
from earmark.data.manifest import Manifest
from earmark.data.store import Store
from earmark.errors import CollectionError
from earmark.labels import Vocabulary
from earmark.tagging.parity import Sounds


class CollectionSounds:
    """The curated clips of a collection, or all where none are, for models that may know their labels.

    Parameters
    ----------
    manifest
        The clips.
    store
        Where their waveforms are packed; None to read the files.
    known
        The models' labels.
    name
        What the collection is called.
    held_out
        Names of clips that the models were not learned from, where that is known.

    Raises
    ------
    CollectionError
        When there is no clip.
    """

    def __init__(
        self, manifest: Manifest, store: Store | None, known: Vocabulary, name: str, held_out: Collection[str] = ()
    ) -> None:
        curated = manifest.subset("curated")
        self.manifest = curated if len(curated) else manifest
        if not len(self.manifest):
            raise CollectionError(f"{name}: has no clips to compare models on; name another collection")
        self.store = store.restricted(self.manifest) if store else None
        self.known, self.name = known, name
        self.places_held_out = [i for i, clip in enumerate(self.manifest.names) if clip in held_out]

    def held_out(self) -> Sounds:
        """The clips that the models were not learned from, or all where none is known to be such."""
        return self._sounds(self.places_held_out, ", none learned from") if self.places_held_out else self._all()

    def learned_from(self) -> Sounds:
        """The other clips, or all."""
        others = sorted(set(range(len(self.manifest))) - set(self.places_held_out))
        return self._sounds(others, "") if others else self._all()

    def _all(self) -> Sounds:
        return self._sounds(range(len(self.manifest)), "")

    def _sounds(self, places: Sequence[int], remark: str) -> Sounds:
        chosen = self.manifest.only(self.manifest.clips[i] for i in places)
        readers = [lambda place=place: self._read(place) for place in places]
        said = f"{len(chosen)} clips of {self.name}{remark}"
        unknown = [label for label in chosen.vocabulary if label not in self.known]
        if unknown:
            return Sounds(readers, f"{said}; no lwlrap, {unknown[0]} is no label of the model")
        if not all(clip.labels for clip in chosen.clips):
            return Sounds(readers, f"{said}; no lwlrap, some have no label")
        columns = [self.known.index(label) for label in chosen.vocabulary]
        return Sounds(readers, said, self.known.encode([clip.labels for clip in chosen.clips]), columns)

    def _read(self, place: int) -> Waveform:
        if self.store:
            return Waveform(self.store.waveform(place), self.store.sample_rate)
        return decode(self.manifest.clips[place].path)
