"""``zerotrust-admin secrets seal``, ``unseal``, ``rewrap``: JSON documents, encrypted by a vault's transit key, in open places.

``rewrap`` that names no document is for the integrated vault, over its store and with the broker's configuration.

The others need no broker and no configuration: in a pod the cluster's address, authorities and token are where every client
finds them, and the vault's are options or Vault's own variables. Nothing of a document is written to a disk or into an
environment here.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from broker.admin.assembled import Assembled, Documents, SealedIn, TransitAccess
from broker.admin.backup import rewrap_vault
from broker.admin.offline import config_option, fail
from broker.core.errors import BrokerError
from broker.core.private_file import PermissionProblem, read_private
from zerotrust_kerberos.failures import Failure
from zerotrust_kerberos.running.delivery import deliver

_Command = TypeVar("_Command", bound=Callable[..., Any])

# Where the kubelet mounts what a pod's service account needs (Kubernetes, "Accessing the API from within a Pod").
_MOUNTED = Path("/var/run/secrets/kubernetes.io/serviceaccount")
# Bytes; the workflow itself takes less.
_DOCUMENT_MAX = 1024 * 1024
_STDIN = "-"
_DATA_KEY = "document"
_OBJECT = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_WORD = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_MOUNT = re.compile(r"[A-Za-z0-9_.-]{1,64}(/[A-Za-z0-9_.-]{1,64}){0,7}")


class _Matching(click.ParamType):  # type: ignore[type-arg]  # older clicks' is not generic
    """Text of one form."""

    def __init__(self, name: str, pattern: re.Pattern[str], fix: str) -> None:
        self.name = name
        self._pattern = pattern
        self._fix = fix

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """As it is, or a usage error."""
        if not isinstance(value, str) or not self._pattern.fullmatch(value):
            self.fail(f"is not of its form — fix: {self._fix}", param, ctx)
        return value


class _Named(click.ParamType):  # type: ignore[type-arg]  # older clicks' is not generic
    """``NAMESPACE/NAME``."""

    name = "namespace/name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """As it is, or a usage error."""
        parts = str(value).split("/")
        if len(parts) != 2 or not all(_OBJECT.fullmatch(part) for part in parts):  # noqa: PLR2004  # a namespace, a name
            self.fail("is not NAMESPACE/NAME — fix: write two lower-case names of Kubernetes", param, ctx)
        return str(value)


_KEY = _Matching("key", _WORD, "write a name of letters, digits, _ . and -")
_PATH = _Matching("path", _MOUNT, "write the path of a mount: letters, digits, _ . - and / between")


def _access_options(command: _Command, *, required: bool = True) -> _Command:
    path = click.Path(path_type=Path)
    for option in (
        click.option("--kubernetes-token-file", type=path, default=_MOUNTED / "token", help="Default: the pod's own."),
        click.option("--kubernetes-ca-file", type=path, help="Default: the pod's own."),
        click.option("--kubernetes-url", metavar="URL", help="The API server. Default: the pod's own."),
        click.option(
            "--audience", type=_KEY, default="vault", show_default=True, help="What the vault's role expects."
        ),
        click.option("--service-account", type=_Named(), help="Who logs in to the vault."),
        click.option("--auth-mount", type=_PATH, default="kubernetes", show_default=True, help="Where the login is."),
        click.option("--vault-role", type=_KEY, help="The role to log in to."),
        click.option("--vault-token-file", type=path, help="In place of a login: a token in a private file."),
        click.option("--vault-namespace", envvar="VAULT_NAMESPACE", help="Also VAULT_NAMESPACE."),
        click.option("--vault-ca-file", type=path, envvar="VAULT_CACERT", help="Also VAULT_CACERT."),
        click.option("--vault-url", metavar="URL", envvar="VAULT_ADDR", required=required, help="Also VAULT_ADDR."),
        click.option("--transit-mount", type=_PATH, default="transit", show_default=True),
        click.option("--transit-key", type=_KEY, required=required, help="The key of the vault's transit engine."),
    ):
        command = option(command)
    return command


def _place_options(*, multiple: bool) -> Callable[[_Command], _Command]:
    def add(command: _Command) -> _Command:
        key = _Matching("key", re.compile(r"(?!\.\.?$|\.\.)[-._a-zA-Z0-9]{1,253}"), "write letters, digits, - _ and .")
        file = click.Path(path_type=Path, dir_okay=False)
        command = click.option("--file", "files", type=file, multiple=multiple, help="Sealed in a file, for git.")(
            command
        )
        command = click.option(
            "--data-key", type=key, default=_DATA_KEY, show_default=True, help="The key of the Secret's data."
        )(command)
        return click.option("--kubernetes", "secrets", type=_Named(), multiple=multiple, help="Sealed in a Secret.")(
            command
        )

    return add


@click.command()
@click.argument("document", metavar="FILE.json", type=click.Path(allow_dash=True))
@_place_options(multiple=False)
@click.option("--replace", is_flag=True, help="Something may lie there already; it is replaced.")
@click.option("--validate/--no-validate", default=True, help="Read it back, decrypt and compare.  [default: validate]")
@_access_options
@click.pass_obj
def seal(assembled: Assembled, /, *, document: str, replace: bool, validate: bool, **given: Any) -> None:
    """Encrypt the JSON object in FILE.json (- for standard input) and store the ciphertext."""
    place, work = _one(given), _documents(assembled, given)
    with _told():
        text = sys.stdin.buffer.read(_DOCUMENT_MAX) if document == _STDIN else _private(Path(document))
        version = work.seal(text, place, replace=replace, validate=validate)
    click.echo(
        f"sealed under version {version} of {given['transit_key']}{', read back and compared' if validate else ''}"
    )


@click.command()
@_place_options(multiple=False)
@click.option("--only", multiple=True, metavar="NAME", help="Just this member; outer.inner for a member of a member.")
@click.option("--to", type=click.Path(path_type=Path), help="A file that lies in memory, instead of standard output.")
@_access_options
@click.pass_obj
def unseal(assembled: Assembled, /, *, only: tuple[str, ...], to: Path | None, **given: Any) -> None:
    """Print the document, or of it only what is named, as JSON."""
    place, work = _one(given), _documents(assembled, given)
    with _told():
        text = work.unseal(place, only)
        if to is None:
            click.echo(text, nl=sys.stdout.isatty() or bool(only))
        else:
            deliver(str(to.parent), {to.name: text.encode()}, on_disk=False)


@click.command()
@_place_options(multiple=True)
@click.option(
    "--retire", is_flag=True, help="Then let older versions open nothing. Name EVERY document that the key has sealed."
)
@partial(_access_options, required=False)
@config_option
@click.pass_obj
def rewrap(assembled: Assembled, /, *, retire: bool, config: Path, **given: Any) -> None:
    """Seal the integrated vault anew with the newest key; or, where documents are named, rotate their transit key.

    Documents are wrapped anew inside the vault of that key. What an interrupted run began, the next one finishes.
    """
    places = _places(given)
    if not places:
        if retire or given["transit_key"] is not None:
            raise click.UsageError("name the documents with --kubernetes NAMESPACE/NAME or --file FILE")
        rewrap_vault(assembled, config)
        return
    for option in ("transit_key", "vault_url"):
        if given[option] is None:
            raise click.UsageError(f"documents need --{option.replace('_', '-')}")
    work = _documents(assembled, given)
    with _told():
        click.echo(json.dumps(work.rewrap(places, retire=retire)))


def _one(given: Mapping[str, Any]) -> SealedIn:
    if (given["secrets"] is None) == (given["files"] is None):
        raise click.UsageError("say where it lies: either --kubernetes NAMESPACE/NAME or --file FILE")
    every = {key: () if given[key] is None else (given[key],) for key in ("secrets", "files")}
    return _places({**given, **every})[0]


def _places(given: Mapping[str, Any]) -> Sequence[SealedIn]:
    named = [one.split("/") for one in given["secrets"]]
    return [
        *(SealedIn(namespace=namespace, name=name, data_key=given["data_key"]) for namespace, name in named),
        *(SealedIn(file=file) for file in given["files"]),
    ]


def _documents(assembled: Assembled, given: Mapping[str, Any]) -> Documents:
    url, ca_file = _cluster(given)
    by_login = given["vault_token_file"] is None
    if by_login and not (given["vault_role"] and given["service_account"]):
        raise click.UsageError("say who logs in: --vault-role with --service-account, or --vault-token-file")
    if url is None and (by_login or given["secrets"]):
        raise click.UsageError("there is no cluster here — fix: run it in a pod, or name --kubernetes-url")
    return assembled.documents(
        TransitAccess(
            vault_url=_https(given["vault_url"], "--vault-url"),
            vault_ca_file=given["vault_ca_file"],
            vault_namespace=given["vault_namespace"],
            vault_token_file=given["vault_token_file"],
            mount=given["transit_mount"],
            key=given["transit_key"],
            auth_mount=given["auth_mount"],
            role=given["vault_role"] or "",
            service_account=given["service_account"] or "",
            audience=given["audience"],
            kubernetes_url=url,
            kubernetes_ca_file=ca_file,
            kubernetes_token_file=given["kubernetes_token_file"],
        )
    )


def _cluster(given: Mapping[str, Any]) -> tuple[str | None, Path | None]:
    """The API server and its authorities: what is said, or what a pod finds in its environment."""
    if given["kubernetes_url"] is not None:
        return _https(given["kubernetes_url"], "--kubernetes-url"), given["kubernetes_ca_file"]
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        return None, None
    bracketed = f"[{host}]" if ":" in host else host
    return f"https://{bracketed}:{port}", given["kubernetes_ca_file"] or _MOUNTED / "ca.crt"


def _https(url: str, option: str) -> str:
    if not re.fullmatch(r"https://[^/@\s?#]+(/[^@\s?#]*)?", url):
        raise click.UsageError(
            f"{option}: is not https — fix: write https://HOST:PORT; all that passes there is secret"
        )
    return url.rstrip("/")


def _private(path: Path) -> bytes:
    return read_private(path, limit=_DOCUMENT_MAX)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except Failure as failure:
        fail(f"{failure.detail} — fix: {failure.fix}" if failure.fix else failure.detail)
    except (BrokerError, PermissionProblem, LookupError, ValueError) as error:
        fail(error.args[0] if isinstance(error, LookupError) else str(error))
