"""Say before the tests whether those on real recordings will run."""

from __future__ import annotations

from conftest import real_data_folder

folder = real_data_folder()
if folder.is_dir():
    print(f"real recordings: {folder}; the tests marked real_data run")
else:
    print(f"no real recordings at {folder}; the tests marked real_data are skipped (EARMARK_REAL_DATA names them)")
