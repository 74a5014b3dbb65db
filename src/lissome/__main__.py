"""``python -m lissome`` is the command ``lissome``."""

from lissome.cli.main import main

main()
