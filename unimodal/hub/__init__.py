"""Hugging Face interchange: folders that transformers loads, and folders that it wrote."""
