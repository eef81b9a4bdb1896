"""Which world of AWS a region or an endpoint belongs to."""

from __future__ import annotations

import boto3
import pytest

from broker.core.partition import EXAMPLES, partition_of, partition_of_host

_BOTO = boto3.Session()
_OURS = set(EXAMPLES)


def test_every_region_that_botocore_knows_is_in_the_partition_that_it_says() -> None:
    for partition in _BOTO.get_available_partitions():
        for region in _BOTO.get_available_regions("sts", partition_name=partition, allow_non_regional=False):
            assert partition_of(region) == (partition if partition in _OURS else None), region


def test_the_example_of_a_partition_is_one() -> None:
    assert all(partition_of(region) == partition for partition, region in EXAMPLES.items())


@pytest.mark.parametrize(
    ("host", "partition"),
    [
        ("sts.eu-central-1.amazonaws.com", "aws"),
        ("STS.EU-Central-1.amazonaws.com", "aws"),
        ("sts.amazonaws.com", "aws"),
        ("sts-fips.us-east-1.amazonaws.com", "aws"),
        ("vpce-0123-abcd.sts.us-gov-west-1.vpce.amazonaws.com", "aws-us-gov"),
        ("sts.us-gov-west-1.amazonaws.com", "aws-us-gov"),
        ("sts.cn-north-1.amazonaws.com.cn", "aws-cn"),
        ("sts.eu-west-1.api.aws", "aws"),
        ("sts.cn-north-1.api.amazonwebservices.com.cn", "aws-cn"),
        ("127.0.0.1", None),
        ("sts.example.com", None),
        ("amazonaws.com.example.com", None),
        ("notamazonaws.com", None),
    ],
)
def test_an_endpoint_of_aws_says_its_partition_and_others_say_none(host: str, partition: str | None) -> None:
    assert partition_of_host(host) == partition
