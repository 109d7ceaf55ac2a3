"""From files, rows and bytes to padded batches."""
