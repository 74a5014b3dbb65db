"""Packing: the .liss container and the entropy coders it chooses from."""
