"""`python -m earmark`."""

from earmark.cli.main import main

main()
