"""The one transformer: plain PyTorch, no Lightning, no Hydra."""
