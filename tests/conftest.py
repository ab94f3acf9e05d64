"""How the tests run. Properties have no deadline: a busy machine is no reason to fail."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("banyan", deadline=None)
settings.load_profile("banyan")
