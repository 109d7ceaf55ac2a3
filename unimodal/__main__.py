"""`python -m unimodal VERB ...` is the same as `unimodal VERB ...`."""

from unimodal.cli import main

main()
