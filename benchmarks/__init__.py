"""How fast the service is, beside the floor under it and a peer, measured in the same run: ``make bench``."""
