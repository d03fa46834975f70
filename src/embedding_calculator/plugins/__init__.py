"""What can be said about a face, and by whom. ``base`` is the contract, ``registry`` finds who fulfils it."""
