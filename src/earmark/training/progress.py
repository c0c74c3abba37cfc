"""What a training says of itself as it goes on: a bar with the time left, the curve as a table and in TensorBoard."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from tensorboardX import SummaryWriter
from tqdm import tqdm

from earmark.atomic import write_text_atomically

TABLE = "metrics.csv"
COLUMNS = ("epoch", "step", "train_loss", "validation_lwlrap", "lr", "clips_per_s")


class Curve:
    """A fold's curve: a row an epoch in `metrics.csv`, and the same under `tensorboard/`.

    Parameters
    ----------
    folder
        The fold's.
    first_step
        Where this process goes on; what was written of later steps is forgotten.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        self.path = folder / TABLE
        self.rows = [row for row in self._written() if int(row["step"]) <= first_step]
        self.tensorboard = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step, write_to_disk=True)

    def _written(self) -> list[dict[str, str]]:
        if not self.path.is_file():
            return []
        with self.path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def add(self, **figures: float) -> None:
        """Write an epoch's row; a figure that it does not have stays empty."""
        self.rows.append({name: f"{value:.6g}" for name, value in figures.items()})
        lines = [",".join(COLUMNS), *(",".join(row.get(name, "") for name in COLUMNS) for row in self.rows)]
        write_text_atomically(self.path, "\n".join(lines) + "\n")
        for name, value in figures.items():
            if name not in {"epoch", "step"}:
                self.tensorboard.add_scalar(name, value, global_step=int(figures["step"]))
        self.tensorboard.flush()

    def close(self) -> None:
        """End TensorBoard's log."""
        self.tensorboard.close()


def clip_bar(name: str | None, n_clips: int, n_done: int) -> tqdm:
    """A bar over all clips of all epochs, so that it shows clips a second and the time left; `None` for no bar."""
    # a log file is not to be filled with one bar a second
    interval_s = 0.1 if sys.stderr.isatty() else 10.0
    return tqdm(
        total=n_clips,
        initial=n_done,
        desc=name,
        unit="clip",
        mininterval=interval_s,
        disable=name is None,
        smoothing=0.05,
    )
