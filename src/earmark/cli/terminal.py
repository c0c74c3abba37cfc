"""What commands say on standard error beside progress bars."""

from __future__ import annotations

import sys

from tqdm import tqdm


def say(message: str) -> None:
    """Tell the user something beside the results."""
    tqdm.write(f"earmark: {message}", file=sys.stderr)
