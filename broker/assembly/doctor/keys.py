"""Keys: the HSM, the master key, the host's keyring, and the vault behind them. Nothing is made, rotated or written."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Iterator

from broker.admin.finding import Finding, bad, ok
from broker.assembly.check import check
from broker.assembly.doctor.patient import NotSeen, Patient
from broker.assembly.hsm import hsm_problems, oidc_key_of, signing_key_of
from broker.assembly.keys import hierarchy_of
from broker.assembly.master import master_of, try_once
from broker.assembly.providers import external
from broker.audit.signer import signers_by
from broker.core.errors import ConfigurationError
from broker.core.private_file import PermissionProblem, open_private
from broker.keys.master.port import MasterRefused, MasterUnavailable
from broker.keys.pkcs11 import HsmKey, HsmRefused, HsmUnavailable
from broker.keys.ringfile import NAME as RING
from broker.remote.failure import RemoteFailure
from broker.secrets.store_sqlite import NAME

_TOKENS = "pkcs11-tool --module MODULE --list-slots"
# sqlite.org/fileformat2.html, offset 0.
_SQLITE = b"SQLite format 3\0"


def hsm(patient: Patient) -> Iterator[Finding]:
    """Each key that signs there, by a signature. A wrong PIN is tried once, and not at all before the token's last try."""
    section = patient.settings.encryption.hsm
    if section.place() is None:
        raise NotSeen("none is enabled")
    problems = hsm_problems(section)
    yield from (bad("hsm_unavailable", *_halves(problem)) for problem in problems)
    if problems:
        return
    # Both are made before one is asked: they share the token, and with it what became of the PIN.
    for what, key in [("checkpoints", signing_key_of(section)), ("tokens for AWS", oidc_key_of(section))]:
        if key is not None:
            yield asyncio.run(_signs(what, key))


async def _signs(what: str, key: HsmKey) -> Finding:
    try:
        public = await key.find()
    except HsmRefused as error:
        fix = "correct the PIN's file; one more wrong one may lock the token"
        return bad("hsm_refused", f"{what}: {error}", fix)
    except HsmUnavailable as error:
        return bad("hsm_unavailable", f"{what}: {error}", _TOKENS)
    finally:
        key.close()
    return ok(f"{what}: signs with {public.kid}")


def master(patient: Patient) -> Iterator[Finding]:
    """Where it lies elsewhere: whether it wraps something, and that is thrown away."""
    section = patient.settings.encryption.master
    if section.is_local:
        yield ok("in this host's configuration")
        return
    fix = "see docs/keys.md, Recovery"
    try:
        asyncio.run(try_once(master_of(patient.settings, clock=patient.clock).key))
    except MasterRefused as error:
        yield bad("master_refused", f"{section.provider}: {error}", fix)
    except MasterUnavailable as error:
        yield bad("master_unavailable", f"{section.provider}: {error}", fix)
    except ConfigurationError as error:
        yield from (bad("master_unavailable", *_halves(problem)) for problem in error.problems)
    else:
        yield ok(f"{section.provider}: wraps")


def keyring(patient: Patient) -> Iterator[Finding]:
    """That what the disk holds of keys can be believed and opened."""
    settings = patient.settings
    if not settings.encryption.master.is_local and not (settings.state_directory / RING).exists():
        raise NotSeen("there are no keys yet: the first start makes them")
    try:
        hierarchy = hierarchy_of(settings)
    except ConfigurationError as error:
        yield from (bad("keyring_unusable", *_halves(problem)) for problem in error.problems)
        return
    signer, *former = signers_by(hierarchy)
    yield ok(
        f"{patient.settings.state_directory}: opens; records are signed with {signer.kid}, {len(former)} before it"
    )


def vault(patient: Patient) -> Iterator[Finding]:
    """Whether the vault answers; of our own file only what it is, for to open it would write beside it."""
    settings = patient.settings
    if settings.secrets.provider != "integrated":
        yield asyncio.run(_others(patient))
        return
    if settings.secrets.store == "redis":
        raise NotSeen("its rows lie in Redis, which has a check of its own")
    path = settings.state_directory / NAME
    try:
        with open_private(path) as file:
            beginning, size = file.read(len(_SQLITE)), path.stat().st_size
    except PermissionProblem as problem:
        if not path.exists():
            raise NotSeen(f"{path} is not there yet: nobody has put a secret into it") from problem
        yield bad("vault_unsafe", f"{path} {problem.what}", problem.fix)
        return
    if beginning not in (_SQLITE, b""):
        yield bad("vault_damaged", f"{path} is no database", "zerotrust-admin secrets restore --help")
    else:
        yield ok(f"{path}: {size >> 10} KiB, mode {stat.S_IMODE(path.stat().st_mode):04o}")


async def _others(patient: Patient) -> Finding:
    section = patient.settings.secrets
    try:
        base = check(patient.settings, hierarchy=None).base
        found = external(section, keys=patient.keys, clock=patient.clock, base=base)
    except ConfigurationError as error:
        raise NotSeen("the configuration cannot be used") from error
    if found is None:
        raise NotSeen("it is the integrated one")
    source = found.source or found.provider
    try:
        ails = await source.ping()
    except RemoteFailure as failure:
        ails = str(failure)
    finally:
        await found.provider.close()
    fix = "see docs/vaults.md"
    return bad("vault_unavailable", f"{section.provider}: {ails}", fix) if ails else ok(f"{section.provider}: answers")


def _halves(problem: str) -> tuple[str, str]:
    what, _, fix = problem.rpartition(" — fix: ")
    return what or problem, fix
