"""What stands between a profile of ours and the AWS tools: variables and files that go before it."""

from __future__ import annotations

import os
import shlex

from zerotrust_kerberos.doctor import private
from zerotrust_kerberos.doctor.finding import BAD, WARN, Finding, failed, ok, unseen
from zerotrust_kerberos.failures import Failure
from zerotrust_kerberos.profiles import block, place
from zerotrust_kerberos.profiles.plan import refuse_shadows
from zerotrust_kerberos.profiles.text import check, editing, lines_of, sections
from zerotrust_kerberos.running.variables import beside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from zerotrust_kerberos.doctor.patient import Patient
    from zerotrust_kerberos.profiles.text import Section

# These name a profile, which may be one of ours, and no credentials.
_PROFILE = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE")
# botocore looks for these in a profile before it runs its credential_process (``create_credential_resolver``).
_BEFORE = ("role_arn", "web_identity_token_file", "sso_session", "sso_account_id")


def variables(patient: Patient) -> Finding:
    """Variables that name other credentials than a profile's."""
    found = [name for name in beside(patient.environ) if name not in _PROFILE]
    if found:
        what = f"{', '.join(found)} go before credential_process in some AWS tool or all"
        return Finding(WARN, what, fix=f"unset {' '.join(found)}")
    named = patient.environ.get(_PROFILE[0]) or patient.environ.get(_PROFILE[1])
    if named:
        try:
            known = {one.profile for one in _sections(place.config_path(patient.environ))}
        except Failure:
            known = {named}
        if named not in known:
            what = f"AWS_PROFILE is {named}, and there is no such profile"
            return Finding(WARN, what, fix="zerotrust configure --write; aws configure list-profiles")
        return ok(f"AWS_PROFILE is {named}")
    return ok("none in the way")


def files(patient: Patient) -> Finding:
    """Our profiles in ``~/.aws/config``: whether they can be read, are run, and by what."""
    try:
        config = place.config_path(patient.environ)
        check(place.read(config), str(config))
        ours = [one for one in _sections(config) if one.profile and block.role_of(one.values.get(block.COMMAND, ""))]
        credentials = place.credentials_path(patient.environ)
        refuse_shadows(place.read(credentials), path=str(credentials), names=[one.profile or "" for one in ours])
    except Failure as failure:
        return failed(failure, patient.call.place)
    if not ours:
        return unseen(f"{config}: no profile runs zerotrust; `zerotrust configure` writes them")
    return (
        _hidden(config, ours)
        or _program(ours)
        or _open_to_others(credentials)
        or ok(f"{config}: {', '.join(str(one.profile) for one in ours)}")
    )


def _hidden(config: Path, ours: list[Section]) -> Finding | None:
    for one in ours:
        if keys := [key for key in _BEFORE if key in one.values]:
            line = one.spans[keys[0]][0] + 1
            what = f"{config}:{line}: {keys[0]} goes before the credential_process of {one.profile}"
            return Finding(BAD, what, fix=editing(str(config), line), code="configuration")
    return None


def _program(ours: list[Section]) -> Finding | None:
    """A virtual environment that moved leaves profiles that run nothing."""
    for one in ours:
        program = shlex.split(one.values[block.COMMAND])[0]
        if program.startswith("/") and not os.access(program, os.X_OK):
            what = f"the profile {one.profile} runs {program}, which is not there"
            return Finding(BAD, what, fix="zerotrust configure --write", code="configuration")
    return None


def _open_to_others(credentials: Path) -> Finding | None:
    path = str(credentials)
    if private.is_open(path):
        what = f"{path} can be read by others"
        return Finding(WARN, what, fix=f"chmod 600 '{path}'", repair=lambda: private.close(path))
    return None


def _sections(config: Path) -> list[Section]:
    return sections(lines_of(place.read(config)))
