"""Role ARNs are taken apart once, and only those of IAM roles."""

from __future__ import annotations

import pytest

from broker.core.roles import EXTERNAL_ID, ROLE_NAME, MalformedArn, RoleArn


@pytest.mark.parametrize(
    ("text", "session"),
    [
        (
            "arn:aws:iam::111122223333:role/Developer",
            "arn:aws:sts::111122223333:assumed-role/Developer/alice@R",
        ),
        (
            "arn:aws-cn:iam::012345670123:role/a/b/c/Name",
            "arn:aws-cn:sts::012345670123:assumed-role/Name/alice@R",
        ),
        (
            "arn:aws-us-gov:iam::111122223333:role/x+=,.@-y",
            "arn:aws-us-gov:sts::111122223333:assumed-role/x+=,.@-y/alice@R",
        ),
    ],
)
def test_the_session_of_a_role_has_its_partition_account_and_name_but_not_its_path(text: str, session: str) -> None:
    arn = RoleArn.parse(text)
    assert arn.text == text
    assert arn.session_arn("alice@R") == session


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Developer",
        "arn:aws:iam::111122223333:user/Developer",
        "arn:aws:sts::111122223333:assumed-role/Developer/alice",
        "arn:aws:iam::11112222333:role/Developer",
        "arn:aws:iam::1111222233334:role/Developer",
        "arn:aws:iam::١١١١٢٢٢٢٣٣٣٣:role/Developer",
        "arn:aws-other:iam::111122223333:role/Developer",
        "arn:aws:iam:eu-central-1:111122223333:role/Developer",
        "arn:aws:iam::111122223333:role/",
        "arn:aws:iam::111122223333:role/a//b",
        "arn:aws:iam::111122223333:role/Devel oper",
        "arn:aws:iam::111122223333:role/Developer\n",
        "arn:aws:iam::111122223333:role/*",
        "arn:aws:iam::111122223333:role/" + "a" * 65,
        "arn:aws:iam::111122223333:role/" + "a/" * 1100 + "b",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(MalformedArn):
        RoleArn.parse(text)


@pytest.mark.parametrize("name", ["", "-a", ".a", "a b", "a/b", "a\n", "ä", "a" * 65])
def test_a_role_s_name_is_plain(name: str) -> None:
    assert not ROLE_NAME.fullmatch(name)
    assert ROLE_NAME.fullmatch("a" * 64)


@pytest.mark.parametrize("external_id", ["", "a", "a b", "a\n", "ä" * 3, "a" * 1225])
def test_an_external_id_is_one_that_sts_takes(external_id: str) -> None:
    assert not EXTERNAL_ID.fullmatch(external_id)
    assert EXTERNAL_ID.fullmatch("_+=,.@:/-" + "a" * 1215)
