"""What all rooms of tests share."""

from hypothesis import settings

# The machine is shared: how long an example takes says nothing about the code.
settings.register_profile("jupiter", deadline=None, max_examples=100)
settings.load_profile("jupiter")
