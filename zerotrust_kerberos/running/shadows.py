"""What in ``~/.aws`` goes before an endpoint: AWS programs look for keys in the profile ``default`` first.

So a program beside an endpoint gets another configuration file, the user's own without such lines of that profile, and no file of
keys where that one has a ``default``. Everything else of the configuration is as it was. No key is ever copied.
"""

from __future__ import annotations

import os

from zerotrust_kerberos.profiles.text import lines_of, sections, without

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_CONFIG, _KEYS = "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"
_CONFIG_NAME = "config"
_NOTHING = "/dev/null"
_PROFILE = "default"
_DEFAULT = frozenset({_PROFILE, f"profile {_PROFILE}"})
# Each of them makes a profile one that has credentials (AWS SDKs and Tools Reference Guide, settings of shared files).
_SECRET = frozenset({"aws_secret_access_key", "aws_session_token", "aws_security_token"})
_LEADING = _SECRET | {
    "aws_access_key_id",
    "credential_process",
    "credential_source",
    "login_session",
    "role_arn",
    "source_profile",
    "sso_account_id",
    "sso_role_name",
    "sso_session",
    "sso_start_url",
    "web_identity_token_file",
}


class Hidden:
    """What has to be put in place of the user's files: ``files`` by name, and the variables that lead to them."""

    def __init__(self, *, config: str | None, has_keys: bool) -> None:
        self.files = {} if config is None else {_CONFIG_NAME: config}
        self._has_keys = has_keys

    def environment(self, folder: str) -> dict[str, str]:
        """Variables, once the files lie in ``folder``."""
        found = {_CONFIG: f"{folder}/{_CONFIG_NAME}"} if self.files else {}
        return found | ({_KEYS: _NOTHING} if self._has_keys else {})


def hidden(environ: Mapping[str, str]) -> Hidden:
    """What stands in the way of an endpoint in the files that ``environ`` leads to."""
    home = environ.get("HOME", "")
    config = _read(environ.get(_CONFIG) or f"{home}/.aws/config")
    keys = _read(environ.get(_KEYS) or f"{home}/.aws/credentials")
    return Hidden(config=without_credentials(config), has_keys=without_credentials(keys) is not None)


def without_credentials(text: str) -> str | None:
    """A file without what gives its default profile credentials, and without any key; None where that profile has none."""
    lines, gone, has_shadow = _dropped(text)
    return "".join(without(lines, gone)) if has_shadow else None


def _dropped(text: str) -> tuple[list[str], list[tuple[int, int]], bool]:
    """The lines, the spans of those that go, and whether one of them gave the default profile credentials."""
    lines = lines_of(text)
    gone, has_shadow = [], False
    for section in sections(lines):
        is_default = " ".join(section.header.split()) in _DEFAULT or section.profile == _PROFILE
        for key, span in section.spans.items():
            is_shadow = is_default and key in _LEADING
            has_shadow |= is_shadow
            gone += [span] if is_shadow or key in _SECRET else []
    return lines, gone, has_shadow


def _read(path: str) -> str:
    try:
        # The SDKs take a tilde in the variables too.
        with open(os.path.expanduser(path), encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH111, PTH123
            return file.read()
    except OSError:
        # What cannot be read leads nobody anywhere.
        return ""
