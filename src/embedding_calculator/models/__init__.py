"""What a model is (catalog), where it comes from (sources), where it lies (store), how it runs (runtime)."""
