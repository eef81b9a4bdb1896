"""The session that all of the broker's clients of AWS come from: botocore's, with the part of its data that we use."""

from __future__ import annotations

import pytest
from botocore.session import Session

from broker.remote import signed

REGIONS = ("eu-central-1", "us-east-1", "cn-north-1", "us-gov-west-1", "eu-isoe-west-1")


@pytest.mark.parametrize("service", sorted(signed._SERVICES))
def test_a_service_is_where_botocore_would_find_it_with_all_of_its_data(service: str) -> None:
    whole, ours = Session(), signed.shared_session()
    keys = {"aws_access_key_id": "AKIA" + 16 * "X", "aws_secret_access_key": "none"}
    for region in REGIONS:
        expected = whole.create_client(service, region_name=region, **keys).meta
        found = ours.create_client(service, region_name=region).meta
        assert (found.endpoint_url, found.partition) == (expected.endpoint_url, expected.partition)
        assert ours.get_partition_for_region(region) == whole.get_partition_for_region(region)


def test_of_the_endpoints_of_services_that_nobody_asks_nothing_is_kept() -> None:
    partitions = signed.shared_session().get_data("endpoints")["partitions"]
    kept = {service for partition in partitions for service in partition["services"]}
    assert kept == signed._SERVICES
