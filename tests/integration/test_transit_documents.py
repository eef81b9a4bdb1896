"""Sealed documents: a real OpenBao, a strict cluster, and the manifests and policies of the documentation between them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from broker.admin.assembled import Assembled, SealedIn
from broker.admin.cli import main
from broker.assembly.transit import Documents
from broker.core.errors import SecretNotFound, SecretsRejected, SecretsUnavailable, VersionConflict
from broker.remote import https, tries
from tests.fakes.bao import BaoError, BaoServer
from tests.fakes.certificates import server_certificate
from tests.fakes.documents import DATA_KEY, DOCUMENT, KEY, NAMESPACE, PLACE, SECRET, Site, site
from tests.fakes.kubernetes import FakeKubernetes

IN_SECRET = f"--kubernetes={NAMESPACE}/{SECRET}"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeKubernetes]:
    certificate = server_certificate(tmp_path_factory.mktemp("kubernetes"), "ecdsa-sha256")
    with FakeKubernetes(certificate) as fake:
        yield fake


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What happens in the middle of a request here may take a busy machine longer than any server would."""
    monkeypatch.setattr(https, "LONGEST_TRY", 60.0)
    monkeypatch.setattr(tries, "PATIENCE", 60.0)


@pytest.fixture
def place(bao: BaoServer, cluster: FakeKubernetes, tmp_path: Path) -> Iterator[Site]:
    cluster.rules.clear()
    with site(bao, cluster, tmp_path) as made:
        made.fresh()
        yield made
        bao.renew()


@pytest.fixture
def sealed(place: Site) -> Site:
    place.documents("sealer").seal(DOCUMENT, PLACE, replace=False, validate=True)
    return place


def run(*words: str, document: bytes | None = None) -> Result:
    unused: Any = None
    members = dict.fromkeys(Assembled.__dataclass_fields__, unused)
    given = Assembled(**{**members, "documents": Documents})
    return CliRunner().invoke(main, ["secrets", *words], obj=given, input=document)


def test_a_document_is_sealed_validated_and_just_what_is_needed_is_read(place: Site) -> None:
    done = run("seal", "-", IN_SECRET, *place.options("sealer"), document=DOCUMENT)
    assert done.stderr == ""
    assert (done.exit_code, done.stdout) == (0, f"sealed under version 1 of {KEY}, read back and compared\n")
    assert place.stored().startswith("vault:v1:")
    whole = run("unseal", IN_SECRET, *place.options("documents-app"))
    assert whole.stdout.encode() == DOCUMENT
    some = run("unseal", IN_SECRET, "--only", "database.password", *place.options("documents-app"))
    assert json.loads(some.stdout) == {"database.password": "canary-pässword"}
    none = run("unseal", IN_SECRET, "--only", "database.port", *place.options("documents-app"))
    assert (none.exit_code, none.stdout, none.stderr) == (1, "", "the document has no database.port\n")


def test_the_cluster_never_sees_anything_but_ciphertext(sealed: Site) -> None:
    sealed.documents("documents-rewrap").rewrap([PLACE], retire=False)
    sealed.documents("documents-app").unseal(PLACE, ())
    assert any(one.method == "PUT" for one in sealed.cluster.requests)
    assert not [one for one in sealed.cluster.requests if b"canary" in one.body or b"Y2FuYXJ5" in one.body]


def test_a_login_is_made_on_demand_lives_ten_seconds_and_is_given_back(place: Site, tmp_path: Path) -> None:
    before = place.logins()
    document = tmp_path / "plain.json"
    document.write_bytes(DOCUMENT)
    document.chmod(0o600)
    assert run("seal", str(document), IN_SECRET, *place.options("sealer")).exit_code == 0
    assert run("unseal", IN_SECRET, *place.options("documents-app")).exit_code == 0
    assert run("rewrap", IN_SECRET, *place.options("documents-rewrap")).exit_code == 0
    asked = [json.loads(one.body) for one in place.cluster.requests if one.path.partition("?")[0].endswith("/token")]
    assert len(asked) == 3
    assert {(one["spec"]["audiences"][0], one["spec"]["expirationSeconds"]) for one in asked} == {("vault", 600)}
    assert place.logins() == before


def test_a_role_whose_logins_live_long_is_refused_and_its_token_given_back(sealed: Site) -> None:
    role = sealed.bao.api("GET", "auth/kubernetes/role/documents-app")["data"]
    before = sealed.logins()
    try:
        sealed.bao.api("POST", "auth/kubernetes/role/documents-app", role | {"token_ttl": "1h"})
        with pytest.raises(SecretsRejected, match="token_ttl"):
            sealed.documents("documents-app").unseal(PLACE, ())
        assert sealed.logins() == before
    finally:
        sealed.bao.api("POST", "auth/kubernetes/role/documents-app", role)


@pytest.mark.parametrize(
    ("role", "changed"),
    [
        ("documents-app", {"audience": "other"}),
        ("documents-rewrap", {"account": "app"}),
        ("sealer", {"account": "app"}),
    ],
    ids=["another audience", "another account", "another account than the sealer's"],
)
def test_a_login_for_another_audience_or_account_is_refused(sealed: Site, role: str, changed: dict[str, str]) -> None:
    with pytest.raises(SecretsRejected, match="login by kubernetes fails"):
        sealed.documents(role, **changed).unseal(PLACE, ())


def test_rewrapping_rotates_the_key_and_no_plaintext_leaves_the_vault(sealed: Site) -> None:
    done = json.loads(run("rewrap", IN_SECRET, *sealed.options("documents-rewrap")).stdout)
    assert done == {"versions": {f"kubernetes apps/{SECRET}#{DATA_KEY}": 2}, "retired_before": None}
    assert sealed.stored().startswith("vault:v2:")
    assert sealed.opened() == DOCUMENT
    assert sealed.key()["min_decryption_version"] == 1
    # Its policy could not even have decrypted.
    with pytest.raises(SecretsRejected):
        sealed.documents("documents-rewrap").unseal(PLACE, ())


def test_old_versions_are_retired_only_when_asked_and_only_behind_the_stored_one(sealed: Site) -> None:
    old = sealed.stored()
    done = json.loads(run("rewrap", IN_SECRET, "--retire", *sealed.options("documents-rewrap")).stdout)
    assert done["retired_before"] == 2
    assert sealed.opened() == DOCUMENT
    with pytest.raises(BaoError, match="disallowed"):
        sealed.opened(old)


def test_a_version_that_an_interrupted_run_left_is_not_relied_on(sealed: Site) -> None:
    # OpenBao 2.7.2 may forget it: it was seen, and nobody was told that it is kept.
    sealed.bao.api("POST", f"transit/keys/{KEY}/rotate")
    done = sealed.documents("documents-rewrap").rewrap([PLACE], retire=True)
    assert sealed.stored().startswith("vault:v3:")
    assert done["retired_before"] == sealed.key()["latest_version"] == 3


def test_a_document_is_brought_under_the_version_that_the_run_made_and_under_no_later_one(sealed: Site) -> None:
    def meanwhile(method: str, path: str) -> None:
        if method == "GET" and sealed.key()["latest_version"] == 2:
            sealed.cluster.before = lambda _method, _path: None
            sealed.bao.api("POST", f"transit/keys/{KEY}/rotate")

    sealed.cluster.before = meanwhile
    sealed.documents("documents-rewrap").rewrap([PLACE], retire=False)
    assert (sealed.stored().split(":")[1], sealed.key()["latest_version"]) == ("v2", 3)


def test_two_documents_of_one_key_are_both_forward_before_anything_is_retired(sealed: Site, tmp_path: Path) -> None:
    in_git = SealedIn(file=tmp_path / "app.sealed")
    sealed.documents("sealer").seal(DOCUMENT, in_git, replace=False, validate=True)
    sealed.documents("documents-rewrap").rewrap([PLACE, in_git], retire=True)
    for where in (PLACE, in_git):
        assert sealed.documents("documents-app").unseal(where, ()).encode() == DOCUMENT
    # The second cannot be brought forward: nothing is retired, so the first one's old copies still open.
    (tmp_path / "app.sealed").write_text("vault:v1:AAAA\n")
    with pytest.raises(SecretsRejected):
        sealed.documents("documents-rewrap").rewrap([PLACE, in_git], retire=True)
    assert sealed.key()["min_decryption_version"] == 2


def test_somebody_who_stores_meanwhile_wins_and_their_document_is_brought_forward(sealed: Site) -> None:
    theirs = b'{"new": "document"}'

    def meanwhile(method: str, path: str) -> None:
        if method == "PUT":
            sealed.cluster.before = lambda _method, _path: None
            sealed.documents("sealer").seal(theirs, PLACE, replace=True, validate=False)
            # As if it had been sealed before the rotation.
            sealed.bao.api("POST", f"transit/keys/{KEY}/rotate")

    sealed.cluster.before = meanwhile
    sealed.documents("documents-rewrap").rewrap([PLACE], retire=True)
    assert sealed.opened() == theirs


def test_a_document_sealed_slowly_is_not_stored_over_one_that_was_rewrapped_meanwhile(sealed: Site) -> None:
    def meanwhile(method: str, path: str) -> None:
        if method == "PUT":
            sealed.cluster.before = lambda _method, _path: None
            sealed.documents("documents-rewrap").rewrap([PLACE], retire=True)

    sealed.cluster.before = meanwhile
    with pytest.raises(VersionConflict):
        sealed.documents("sealer").seal(b'{"late": 1}', PLACE, replace=True, validate=False)
    assert sealed.opened() == DOCUMENT


def test_a_document_sealed_while_another_is_rewrapped_and_retired_still_opens(sealed: Site) -> None:
    def meanwhile(method: str, path: str) -> None:
        if method == "GET":
            sealed.cluster.before = lambda _method, _path: None
            sealed.documents("documents-rewrap").rewrap([PLACE], retire=True)

    sealed.cluster.before = meanwhile
    sealed.documents("sealer").seal(b'{"late": 1}', PLACE, replace=True, validate=False)
    assert sealed.opened() == b'{"late": 1}'


def test_reading_while_the_old_version_is_retired_reads_the_new_one(sealed: Site) -> None:
    seen: list[str] = []

    def meanwhile(method: str, path: str) -> None:
        if path.partition("?")[0].endswith("/token") and not seen:
            seen.append(path)
            # The Secret was read; the login is under way.
            sealed.documents("documents-rewrap").rewrap([PLACE], retire=True)

    sealed.cluster.before = meanwhile
    assert sealed.documents("documents-app").unseal(PLACE, ()).encode() == DOCUMENT
    assert seen


@pytest.mark.parametrize("when", ["GET", "PUT"])
def test_a_vault_sealed_in_the_middle_ends_the_run_and_the_next_one_finishes_it(sealed: Site, when: str) -> None:
    def meanwhile(method: str, path: str) -> None:
        if method == when and path.partition("?")[0].endswith(SECRET):
            sealed.cluster.before = lambda _method, _path: None
            sealed.bao.seal()

    sealed.cluster.before = meanwhile
    with pytest.raises(SecretsUnavailable, match="sealed"):
        sealed.documents("documents-rewrap").rewrap([PLACE], retire=True)
    sealed.bao.unseal()
    assert sealed.opened() == DOCUMENT
    done = sealed.documents("documents-rewrap").rewrap([PLACE], retire=True)
    assert sealed.opened() == DOCUMENT
    assert sealed.key()["min_decryption_version"] == done["retired_before"] == sealed.key()["latest_version"]


def test_what_lies_there_is_not_replaced_unless_that_is_said(sealed: Site) -> None:
    with pytest.raises(VersionConflict, match="something lies there"):
        sealed.documents("sealer").seal(b"{}", PLACE, replace=False, validate=True)
    sealed.documents("sealer").seal(b'{"a": 1}', PLACE, replace=True, validate=True)
    assert sealed.opened() == b'{"a": 1}'


def test_other_keys_of_the_secret_stay(sealed: Site) -> None:
    other = SealedIn(namespace=NAMESPACE, name=SECRET, data_key="other")
    sealed.documents("sealer").seal(b'{"a": 1}', other, replace=False, validate=True)
    assert sealed.opened() == DOCUMENT
    with pytest.raises(SecretNotFound):
        sealed.documents("documents-app").unseal(SealedIn(namespace=NAMESPACE, name=SECRET, data_key="none"), ())


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (b"[1]", "not a JSON object"),
        (b'{"a": "canary"', "not a JSON object"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b'{"a": "\xff"}', "not a JSON object"),
        (b'{"a": "' + b"x" * 600_000 + b'"}', "more than 512 KiB"),
    ],
    ids=["a list", "cut", "a member twice", "not UTF-8", "too large"],
)
def test_a_document_that_is_none_is_refused_before_anybody_is_asked(place: Site, document: bytes, said: str) -> None:
    done = run("seal", "-", IN_SECRET, *place.options("sealer"), document=document)
    assert (done.exit_code, said in done.stderr, "canary" in done.output) == (1, True, False)
    assert place.cluster.requests == []


def test_a_plaintext_file_that_others_may_read_is_refused(place: Site, tmp_path: Path) -> None:
    document = tmp_path / "plain.json"
    document.write_bytes(DOCUMENT)
    document.chmod(0o644)
    done = run("seal", str(document), IN_SECRET, *place.options("sealer"))
    assert (done.exit_code, "open to others — fix: chmod" in done.stderr) == (1, True)
    assert place.cluster.objects == {}


@pytest.mark.parametrize(
    "words",
    [
        ("unseal", IN_SECRET, "--vault-url=http://vault:8200"),
        ("unseal", IN_SECRET, "--kubernetes-url=http://localhost"),
        ("unseal", "--kubernetes=apps"),
        ("unseal", "--kubernetes=apps/../x"),
        ("unseal",),
        ("unseal", IN_SECRET, "--file=x"),
        ("rewrap",),
        ("unseal", IN_SECRET, "--vault-role="),
        ("unseal", IN_SECRET, "--transit-key=../sys"),
    ],
    ids=" ".join,
)
def test_a_command_that_says_too_little_or_goes_unencrypted_is_a_usage_error(
    place: Site, words: tuple[str, ...]
) -> None:
    command, *rest = words
    done = run(command, *place.options("documents-app"), *rest)
    assert done.exit_code == 2
    assert place.cluster.requests == []
