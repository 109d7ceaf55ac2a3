"""Hydra's configuration: every yaml says what it is for. Hydra needs this file to find the package."""
