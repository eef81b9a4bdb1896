"""Profiles of aws-vault, saml2aws and granted, as these tools write them, become ours where the broker gives the same role."""

from __future__ import annotations

import configparser
import io

import pytest
from botocore import configloader

from zerotrust_kerberos.profiles.adopt import Adopted, adopt
from zerotrust_kerberos.profiles.names import Role
from zerotrust_kerberos.profiles.plan import rewritten
from zerotrust_kerberos.profiles.tools import TOOLS

PATH = "/home/alice/.aws/config"
ORDERS = Role("orders-dev", "123456789012", "orders", "arn:aws:iam::123456789012:role/developers")
AUDIT = Role("audit", "210987654321", "sec", "arn:aws:iam::210987654321:role/team/Audit")
PORTAL = Role(
    "portal",
    "111111111111",
    "portal",
    "arn:aws:iam::111111111111:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_ReadOnly_0123456789abcdef",
)
ROLES = [ORDERS, AUDIT, PORTAL]

AWS_VAULT = """\
; The "common" profile here operates as a "config fragment"
[profile common]
region=eu-west-1
mfa_serial=arn:aws:iam::123456789012:mfa/jsmith
source_profile = root

[profile root]
include_profile = common

[profile order-dev]
include_profile = common
role_arn=arn:aws:iam::123456789012:role/developers
cli_pager =
s3 =
  max_concurrent_requests = 20

# not one of theirs
[profile order-staging-admin]
include_profile = common
role_arn=arn:aws:iam::123456789012:role/administrators

[profile through]
credential_process = /usr/local/bin/aws-vault exec --json --prompt=pass order-dev
output = text
"""


def adopted(tool: str, text: str, own: str = "", roles: list[Role] | None = None) -> Adopted:
    return adopt(text, path=PATH, tool=tool, how=TOOLS[tool], own=own, roles=ROLES if roles is None else roles)


def profiles(found: Adopted, *roles: Role) -> dict[str, dict[str, str]]:
    text = rewritten(
        found.text,
        path=PATH,
        roles=roles or ROLES,
        wanted={},
        command=lambda role: f"zerotrust credential-process --role {role}",
        adopted=found.profiles,
    )
    parser = configparser.RawConfigParser()
    parser.read_file(io.StringIO(text))
    plain = {name: dict(parser.items(name)) for name in parser.sections()}
    return dict(configloader.build_profile_map(plain)["profiles"])


def test_aws_vault_s_profiles_keep_name_region_and_all_that_is_not_about_credentials() -> None:
    found = adopted("aws-vault", AWS_VAULT)
    made = profiles(found)
    assert made["order-dev"] == {
        "credential_process": "zerotrust credential-process --role orders-dev",
        "region": "eu-west-1",
        "cli_pager": "",
        "s3": "\nmax_concurrent_requests = 20",
    }
    assert made["through"] == {
        "credential_process": "zerotrust credential-process --role orders-dev",
        "region": "eu-west-1",
        "output": "text",
    }
    assert made["order-staging-admin"]["role_arn"] == "arn:aws:iam::123456789012:role/administrators"
    assert found.said == [
        "order-dev: role orders-dev",
        "order-staging-admin: left, no role of yours is arn:aws:iam::123456789012:role/administrators",
        "through: role orders-dev",
    ]


def test_what_is_not_taken_over_stays_byte_for_byte() -> None:
    text = adopted("aws-vault", AWS_VAULT).text
    first, rest = AWS_VAULT.split("[profile order-dev]\n", 1)
    rest = "# not one of theirs\n" + rest.split("# not one of theirs\n", 1)[1].split("[profile through]", 1)[0]
    assert text == first + rest


def test_a_fragment_that_others_include_is_left() -> None:
    text = "[profile a]\nrole_arn = arn:aws:iam::123456789012:role/developers\n[profile b]\ninclude_profile = a\n"
    found = adopted("aws-vault", text)
    assert found.said == ["a: left, another profile includes it", "b: role orders-dev"]
    assert found.text == "[profile a]\nrole_arn = arn:aws:iam::123456789012:role/developers\n"


def test_a_ring_of_includes_ends() -> None:
    assert adopted("aws-vault", "[profile a]\ninclude_profile = b\n[profile b]\ninclude_profile = a\n").said == []


def test_saml2aws_s_accounts_become_profiles_of_the_name_they_wrote_keys_to() -> None:
    own = """\
[default]
url                  = https://id.example.com
provider             = KeyCloak
aws_urn              = urn:amazon:webservices
aws_session_duration = 3600
aws_profile          = orders
role_arn             = arn:aws:iam::123456789012:role/developers
region               = eu-west-1

[audit]
url      = https://id.example.com
role_arn = arn:aws:iam::210987654321:role/team/Audit

[asks]
url      = https://id.example.com
role_arn =
"""
    config = """\
[profile mybucket]
region = us-west-1
credential_process = saml2aws login --credential-process --role arn:aws:iam::210987654321:role/team/Audit --profile mybucket
"""
    found = adopted("saml2aws", config, own)
    assert found.said == ["orders: role orders-dev", "saml: role audit", "mybucket: role audit"]
    made = profiles(found)
    assert made["orders"]["region"] == "eu-west-1"
    assert made["mybucket"] == {
        "credential_process": "zerotrust credential-process --role audit",
        "region": "us-west-1",
    }


def test_granted_s_profiles_are_found_by_account_and_role() -> None:
    config = """\
[profile portal/ReadOnly]
granted_sso_start_url      = https://d-976708da7d.awsapps.com/start
granted_sso_region         = ap-southeast-2
granted_sso_account_id     = 111111111111
granted_sso_role_name      = ReadOnly
common_fate_generated_from = aws-sso
credential_process         = granted credential-process --profile portal/ReadOnly
region                     = eu-west-1

[profile sso]
sso_session = company
sso_account_id = 123456789012
sso_role_name = developers

[profile chained]
role_arn = arn:aws:iam::210987654321:role/team/Audit
source_profile = sso

[profile elsewhere]
granted_sso_account_id = 111111111111
granted_sso_role_name = Read
"""
    found = adopted("granted", config)
    assert found.said == [
        "portal/ReadOnly: role portal",
        "sso: role orders-dev",
        "chained: role audit",
        "elsewhere: left, no role of yours is Read in 111111111111",
    ]
    assert profiles(found)["portal/ReadOnly"] == {
        "credential_process": "zerotrust credential-process --role portal",
        "region": "eu-west-1",
    }


def test_one_arn_of_two_roles_is_nobody_s_guess() -> None:
    twin = Role("twin", ORDERS.account, "orders", ORDERS.arn)
    found = adopted("aws-vault", AWS_VAULT, roles=[ORDERS, twin])
    assert found.text == AWS_VAULT
    assert "order-dev: left, arn:aws:iam::123456789012:role/developers is orders-dev and twin" in found.said


def test_a_name_that_no_shell_would_take_is_left() -> None:
    text = '[profile "a b"]\nrole_arn = arn:aws:iam::123456789012:role/developers\n'
    assert adopted("aws-vault", text).said == ["a b: left, its name is none for a profile of ours"]


@pytest.mark.parametrize("tool", TOOLS)
def test_an_adopted_profile_outlives_a_new_template_until_it_is_pruned(tool: str) -> None:
    def write(text: str, *roles: Role, prune: bool = False) -> str:
        return rewritten(text, path=PATH, roles=roles, wanted={"template": "{account}"}, command=str.upper, prune=prune)

    text = "[profile old]\nrole_arn = arn:aws:iam::123456789012:role/developers\n"
    found = adopted(tool, "" if tool == "saml2aws" else text, text.replace("profile ", "") + "aws_profile = old\n")
    first = rewritten(
        found.text,
        path=PATH,
        roles=ROLES,
        wanted={},
        command=lambda role: f"zerotrust credential-process --role {role}",
        adopted=found.profiles,
    )
    assert f"[profile old]\n# from {tool}\n" in write(first, ORDERS)
    assert "[profile old]" in write(first, AUDIT)
    assert "[profile old]" not in write(first, AUDIT, prune=True)
