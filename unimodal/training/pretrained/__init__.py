"""From a checkpoint to the start of another run: what fits is taken, what does not is said."""
