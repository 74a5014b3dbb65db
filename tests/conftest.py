"""What holds for every test."""

from hypothesis import settings

# hypothesis's limit of 200 ms a case measures how busy the machine is, not whether a rule holds.
settings.register_profile("lissome", deadline=None)
settings.load_profile("lissome")
