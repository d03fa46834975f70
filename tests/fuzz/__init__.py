"""Readers of what strangers send, under coverage-guided fuzzing: ``make fuzz``."""
