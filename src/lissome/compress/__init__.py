"""Compression: methods as torch parametrizations on the user's own module, recipes, schedules, and freezing."""
