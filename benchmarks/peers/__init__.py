"""Other people's face recognition, each in a process of its own; ``make bench`` installs it."""
