"""The command `lissome`: one verb a file, listed in app.py. Uses nothing that a Python user could not."""
