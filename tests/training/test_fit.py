from __future__ import annotations

import csv
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboardX.proto.event_pb2 import Event  # type: ignore[import-untyped]
from torch import Tensor

from earmark.data.encoding import Encoding
from earmark.data.manifest import Manifest
from earmark.data.pack import pack
from earmark.data.store import Store
from earmark.errors import RunError, TrainingError
from earmark.training import fit as fitting
from earmark.training.feed import Feed
from earmark.training.fit import precision_of
from earmark.training.models import build_network
from earmark.training.recipe import Recipe, load_recipe

from .conftest import TINY
from .dying import learned

RANDOM = ("model.dropout=0.2", "fit.epochs=6", "augment.off_for_last=0.3", "fit.head=solved")
"""Everything that could differ after a resumption: dropout draws from torch's own generator, a head is solved once."""


def fitted(folder: Path, store: Store, settings: list[str]) -> dict[str, Tensor]:
    """Weights that the tiny recipe ends in."""
    return learned(folder, store, load_recipe("fast", [*TINY, *settings])).state_dict()


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def packed(tiny_manifest: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny collection, packed, by its folder."""
    folder = tmp_path_factory.mktemp("store") / "tiny"
    pack(tiny_manifest, folder, Encoding.waveform(8000), progress=False)
    return folder


def die(packed: Path, run: Path, calls: int, settings: list[str]) -> None:
    script = Path(__file__).with_name("dying.py")
    arguments = [sys.executable, str(script), str(packed), str(run), str(calls), *settings]
    assert subprocess.run(arguments, check=False, capture_output=True).returncode == -signal.SIGKILL


@pytest.mark.parametrize("averaging", ["ema", "swa"])
def test_killed_in_the_middle_of_batches_it_ends_in_the_same_weights_to_the_bit(
    averaging: str, packed: Path, tiny_store: Store, tmp_path: Path
) -> None:
    settings = [*RANDOM, "fit.batch_size=5", f"fit.averaging={averaging}", "fit.swa_share=0.7"]
    whole = fitted(tmp_path / "whole", tiny_store, settings)
    for calls in (2, 9):  # at the second batch of the first epoch; then, gone on with, in the middle of a later one
        die(packed, tmp_path / "killed", calls, [*TINY, *settings])
    resumed = fitted(tmp_path / "killed", tiny_store, settings)
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name
    columns = ("epoch", "step", "train_loss", "validation_lwlrap", "lr")
    curves = [[[row[c] for c in columns] for row in rows(tmp_path / name)] for name in ("whole", "killed")]
    assert curves[0] == curves[1]
    assert len(curves[0]) == 6


def test_a_training_that_is_done_is_not_done_again(
    tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fitted(tmp_path / "run", tiny_store, [])
    monkeypatch.setattr(Feed, "batch", None)
    again = fitted(tmp_path / "run", tiny_store, [])
    assert all(torch.equal(value, again[name]) for name, value in first.items())


def test_a_damaged_state_is_named(tiny_store: Store, tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes(b"PK half of it")
    with pytest.raises(RunError, match=r"state.pt: a damaged state of training .*; remove it"):
        fitted(tmp_path, tiny_store, [])


def test_the_curve_is_in_a_table_and_in_tensorboard(tiny_store: Store, tmp_path: Path) -> None:
    fitted(tmp_path / "run", tiny_store, ["fit.epochs=16"])
    table = rows(tmp_path / "run")
    assert [int(row["epoch"]) for row in table] == list(range(16))
    assert [bool(row["validation_lwlrap"]) for row in table] == [False, True] * 8
    assert float(table[-1]["train_loss"]) < float(table[0]["train_loss"])
    assert all(float(row["clips_per_s"]) > 0 for row in table)
    (log,) = (tmp_path / "run" / "tensorboard").iterdir()
    assert tags_in(log.read_bytes()) == {"train_loss", "validation_lwlrap", "lr", "clips_per_s"}


def tags_in(log: bytes) -> set[str]:
    """Names in a TensorBoard log: records of a length in 8 bytes, 4 of checksum, the event, 4 of checksum."""
    found, place = set(), 0
    while place < len(log):
        length = int.from_bytes(log[place : place + 8], "little")
        event = Event.FromString(log[place + 12 : place + 12 + length])
        found |= {value.tag for value in event.summary.value}
        place += 12 + length + 4
    return found


def test_loss_that_is_not_finite_stops_with_cause_remedy_and_the_last_good_weights(
    tiny_store: Store, tmp_path: Path
) -> None:
    settings = ["fit.optimizer=sgd", "fit.lr=1e30", "fit.schedule=constant"]
    with pytest.raises(TrainingError) as caught:
        fitted(tmp_path / "run", tiny_store, settings)
    message = str(caught.value)
    assert "the loss is not finite at step" in message
    assert "the rate, 1e+30 here, is too high; try fit.lr=3.3e+29 or fit.clip_norm=1" in message
    assert "the last good weights are in" in message
    kept = torch.load(tmp_path / "run" / "last-good.pt", weights_only=True)
    assert all(torch.isfinite(value).all() for value in kept.values() if value.is_floating_point())


def test_pictures_that_are_not_finite_are_the_cause_that_is_named(
    tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(feed: Feed, clips: Tensor, draws: torch.Generator, **_: Any) -> tuple[Tensor, Tensor]:
        return torch.full((len(clips), 1, 32, 32), torch.nan), feed.targets[clips]

    monkeypatch.setattr(Feed, "batch", broken)
    with pytest.raises(TrainingError, match="the pictures of this batch are not finite; look for damaged clips"):
        fitted(tmp_path / "run", tiny_store, [])


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nMore of it."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes."),
        MemoryError("Unable to allocate 4 GiB"),
    ],
    ids=["CUDA", "processor", "Python"],
)
def test_out_of_memory_says_which_knob_to_turn(
    error: Exception, tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_much(*_: Any, **__: Any) -> Tensor:
        raise error

    monkeypatch.setattr(Feed, "batch", too_much)
    with pytest.raises(TrainingError) as caught:
        fitted(tmp_path / "run", tiny_store, [])
    message = str(caught.value)
    assert "lower one of these with --set, the first one first: fit.batch_size (now 8), " in message
    assert "fit.precision=bf16-mixed, window_s (now 0.8), model.width (now 0.125)" in message
    assert "More of it" not in message


def test_other_errors_are_left_as_they_are(tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: Any, **__: Any) -> Tensor:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(Feed, "batch", wrong)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        fitted(tmp_path / "run", tiny_store, [])


def test_a_frozen_stage_changes_the_head_and_normalisation_alone(tiny_store: Store, tmp_path: Path) -> None:
    both = ["fit.averaging=none", "fit.epochs=3"]
    frozen = fitted(tmp_path / "frozen", tiny_store, [*both, "fit.stages=[{epochs=3, freeze=true}]"])
    thawed = fitted(tmp_path / "thawed", tiny_store, [*both, "fit.stages=[{epochs=2, freeze=true}, {epochs=1}]"])
    torch.manual_seed(0)
    for name, value in build_network(load_recipe("fast", list(TINY)).model, 3).state_dict().items():
        changes = name.startswith("fc.") or "bn" in name or "downsample.1" in name
        assert torch.equal(value, frozen[name]) != changes, name
        if "conv" in name:
            assert not torch.equal(value, thawed[name])


def test_the_last_part_of_a_training_sees_clips_as_they_are(
    tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, seen = Feed.batch, []

    def noted(*arguments: Any, augmented: bool = True) -> tuple[Tensor, Tensor]:
        seen.append(augmented)
        return whole(*arguments, augmented=augmented)

    monkeypatch.setattr(Feed, "batch", noted)
    fitted(tmp_path / "run", tiny_store, ["fit.epochs=10", "augment.off_for_last=0.3"])
    assert seen == [True] * 14 + [False] * 6


def test_gradients_are_clipped(tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step, norms = torch.optim.AdamW.step, []

    def noted(self: torch.optim.AdamW, closure: Any) -> Any:
        def closing() -> Any:
            loss = closure()
            gradients = [p.grad for group in self.param_groups for p in group["params"]]
            norms.append(torch.stack([g.norm() for g in gradients]).norm().item())
            return loss

        return step(self, closing)

    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    fitted(tmp_path / "run", tiny_store, ["fit.clip_norm=0.01"])
    assert len(norms) == 6
    assert norms == pytest.approx([0.01] * 6, rel=1e-3)


def test_a_compiled_network_learns_the_same(tiny_store: Store, tmp_path: Path) -> None:
    settings = ["fit.epochs=2", "model.width=0.125"]
    plain = fitted(tmp_path / "plain", tiny_store, settings)
    compiled = fitted(tmp_path / "compiled", tiny_store, [*settings, "fit.compile=on"])
    for name, value in plain.items():
        torch.testing.assert_close(value, compiled[name], rtol=0.05, atol=0.01)


def test_precision_is_the_recipes_unless_auto(tiny_recipe: Recipe) -> None:
    assert precision_of(tiny_recipe) == "32-true"
    assert precision_of(load_recipe("fast")) in {"32-true", "bf16-mixed"}
    assert fitting.HERE.several is False
