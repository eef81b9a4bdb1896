"""``zerotrust-admin secrets`` with all that is below it."""

from __future__ import annotations

from broker.admin.backup import backup, restore_backup, verify_backup
from broker.admin.secrets import secrets
from broker.admin.transit import rewrap, seal, unseal

__all__ = ["secrets"]

for each in (backup, restore_backup, verify_backup, seal, unseal, rewrap):
    secrets.add_command(each)
