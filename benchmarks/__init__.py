"""What the service costs, beside the floor under it and peers (``make bench``); what it bears (``make soak``)."""
