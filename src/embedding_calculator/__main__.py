"""``python -m embedding_calculator`` is the same as ``embedding-calculator``."""

from embedding_calculator.cli import main

main()
