"""The tiny base, for parents that serve one."""

from tests.nodes.conftest import base

__all__ = ["base"]
