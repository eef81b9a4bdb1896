"""A strict stand-in for AWS STS: it refuses what the real one refuses.

``with StrictSts(demo_world()) as sts`` for tests; ``python -m tests.fakes.sts --world demo`` for people.
"""

from __future__ import annotations

from tests.fakes.sts.demo import demo_world
from tests.fakes.sts.process import StrictSts
from tests.fakes.sts.world import Role, User, World, WorldError

__all__ = ["Role", "StrictSts", "User", "World", "WorldError", "demo_world"]
