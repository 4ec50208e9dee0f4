"""Settings of the unit tests."""

from hypothesis import settings

# The machines that run these are shared: a slow example says nothing.
settings.register_profile("airlift", deadline=None)
settings.load_profile("airlift")
