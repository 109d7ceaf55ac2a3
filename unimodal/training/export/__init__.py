"""`unimodal export`: a Hugging Face folder of a run, checked before it is there."""
