"""The key and version of derived external IDs, from the file to the hops of a role."""

from __future__ import annotations

import base64

import pytest

HOPS = """\
roles:
  developer:
    chain:
      - {arn: "arn:aws:iam::999900001111:role/Hub", external_id: derived}
      - {arn: "arn:aws:iam::111122223333:role/Developer", derive_external_id: true}
"""
TEXT = """\
server: {listen: ["http://127.0.0.1:0"]}
kerberos: {keytabs: "${KEYTAB}", realms: {EXAMPLE.COM: {}}}
aws: {region: eu-central-1, external_ids: {key_file: "${EXTERNAL_ID_KEY}"}}
encryption: {key_file: "${KEY_FILE}"}
audit: {directory: /var/log/zerotrust/audit}
"""


OTHER_KEY = base64.b64encode(bytes(32)).decode()


def chain(host, **environ: str):
    external_id_key = host.file("external_id_key", base64.b64encode(bytes(range(1, 33))).decode())
    [role] = host.load(TEXT + HOPS, EXTERNAL_ID_KEY=str(external_id_key), **environ).roles.values()
    return role.chain


def test_the_word_derived_is_an_external_id_like_any_other(host):
    hub, developer = chain(host)
    assert (hub.external_id, hub.next_external_id) == ("derived", None)
    assert developer.external_id.startswith("zerotrust-v1-")
    assert developer.next_external_id.startswith("zerotrust-v2-")


def test_raising_the_version_sends_what_was_the_next_id(host):
    before, after = chain(host)[1], chain(host, ZEROTRUST_AWS_EXTERNAL_IDS_VERSION="v2")[1]
    assert after.external_id == before.next_external_id


def test_a_new_encryption_key_leaves_every_external_id_as_it_is(host):
    before = chain(host)
    assert chain(host, ZEROTRUST_ENCRYPTION_KEY=OTHER_KEY) == before


def test_another_key_of_external_ids_changes_them(host):
    before = chain(host)
    host.environ["ZEROTRUST_AWS_EXTERNAL_IDS_KEY"] = OTHER_KEY
    assert chain(host)[1] != before[1]


@pytest.mark.parametrize("text", ["0", "1", "v0", "v-1", "v1000000", "one", "v1.0", "V1", "v1 "])
def test_a_version_that_is_no_number_is_refused(host, text):
    [problem] = host.problems(
        TEXT + HOPS, EXTERNAL_ID_KEY=host.environ["KEY_FILE"], ZEROTRUST_AWS_EXTERNAL_IDS_VERSION=text
    )
    assert "is not a version" in problem


def test_a_hop_shows_no_external_id(host):
    for hop in chain(host):
        assert hop.external_id not in repr(hop)


def test_the_chain_that_denies_leads_into_the_account_that_is_asked_for(host):
    revocation = (
        "revocation: {chain: [{arn: 'arn:aws:iam::999900001111:role/Hub', external_id: hub-1}, "
        "{arn: 'arn:aws:iam::{account}:role/Deny', derive_external_id: true}]}"
    )
    key = host.file("external_id_key", base64.b64encode(bytes(32)).decode())
    settings = host.load(TEXT.replace("aws: {", f"aws: {{{revocation}, ") + HOPS, EXTERNAL_ID_KEY=str(key))
    hub, one = settings.denying("111122223333")
    _, other = settings.denying("444455556666")
    assert (hub.arn.text, hub.external_id) == ("arn:aws:iam::999900001111:role/Hub", "hub-1")
    assert one.arn.text == "arn:aws:iam::111122223333:role/Deny"
    assert other.arn.text == "arn:aws:iam::444455556666:role/Deny"
    assert one.external_id == settings.roles["developer"].chain[1].external_id, "one account's roles share theirs"
    assert one.external_id != other.external_id
    assert host.load(TEXT + HOPS, EXTERNAL_ID_KEY=str(key)).denying is None
