"""Give a target bytes that libFuzzer makes of a corpus: python -m fuzz.fuzz TARGET [OPTION...] [FOLDER...]"""

from __future__ import annotations

import sys
import warnings

import atheris

with atheris.instrument_imports(include=["earmark", "tomllib", "csv"]):
    from fuzz.targets import TARGETS, scratch, take


def main() -> None:
    """Fuzz until told to stop."""
    target = TARGETS[sys.argv[1]]
    warnings.simplefilter("ignore")
    with scratch() as folder:

        def one_input(data: bytes) -> None:
            take(target, data, folder)

        atheris.Setup([sys.argv[0], *sys.argv[2:]], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
