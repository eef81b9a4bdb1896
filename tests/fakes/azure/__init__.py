"""A strict stand-in for Azure: Entra ID's token endpoint and one Key Vault, by https under their real names on loopback.

``with AzureCloud(folder) as cloud, cloud.named(): ...`` for tests in this process.
"""

from __future__ import annotations

from tests.fakes.azure.server import AzureCloud

__all__ = ["AzureCloud"]
