"""Translation between HTTP and the engine; nothing is computed here."""
