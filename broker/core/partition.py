"""AWS's partitions: worlds of their own, with other accounts, keys and endpoints; no role of one is assumed from another.

Source: AWS General Reference, "Amazon Resource Names" (partition), and "Service endpoints".
"""

from __future__ import annotations

import re

AWS, CHINA, GOV = "aws", "aws-cn", "aws-us-gov"

_REGION = re.compile(r"[a-z]{2,}(?:-[a-z]+)+-[0-9]{1,2}")
# The beginnings of regions that are not of the first partition. None: a partition with suffixes of its own, which we do not know.
_OTHERS = {"cn-": CHINA, "us-gov-": GOV, "us-iso": None, "eu-iso": None, "eusc-": None}

_OF_CHINA = (".amazonaws.com.cn", ".api.amazonwebservices.com.cn")
_OF_AWS = (".amazonaws.com", ".api.aws")

# One region each, for a fix to name.
EXAMPLES = {AWS: "eu-central-1", CHINA: "cn-north-1", GOV: "us-gov-west-1"}


def partition_of(region: str) -> str | None:
    """The partition of a region; None for one that this broker does not know."""
    for beginning, partition in _OTHERS.items():
        if region.startswith(beginning):
            return partition
    return AWS


def partition_of_host(host: str) -> str | None:
    """The partition of an endpoint of AWS, by its name; None for any other host, such as a proxy's or a test double's."""
    name = "." + host.lower()
    if name.endswith(_OF_CHINA):
        return CHINA
    if not name.endswith(_OF_AWS):
        return None
    regions = [label for label in host.lower().split(".") if _REGION.fullmatch(label)]
    # The global endpoint names no region; it is the first partition's alone.
    return partition_of(regions[-1]) if regions else AWS
