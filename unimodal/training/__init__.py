"""Training and evaluation: names no tokenizer and no task; only the config does."""
