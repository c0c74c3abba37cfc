"""Every file of the corpus, and some that are made of it, raise nothing but what users can meet.

`bench/fuzzing.py` looks for more; what it finds is kept in the corpus.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from .mutations import mutated
from .seeds import CORPUS
from .targets import TARGETS, scratch, take

N_MUTATIONS = 20
MOST_BYTES = 500_000


@pytest.fixture
def folder() -> Iterator[Path]:
    with scratch() as there:
        yield there


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus(target: str, folder: Path) -> None:
    files = sorted((CORPUS / target).iterdir())
    assert files
    for path in files:
        take(TARGETS[target], path.read_bytes(), folder)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("target", TARGETS)
def test_what_is_made_of_it(target: str, folder: Path) -> None:
    rng = random.Random(0)
    for path in sorted((CORPUS / target).iterdir()):
        for _ in range(N_MUTATIONS):
            take(TARGETS[target], mutated(path.read_bytes(), rng), folder)


def test_it_stays_small() -> None:
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < MOST_BYTES
