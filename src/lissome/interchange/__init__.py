"""Foreign formats, in and out: one format a package or file."""
