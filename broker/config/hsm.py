"""The section `encryption.hsm`: a token behind a PKCS#11 module, AWS CloudHSM's among them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo

from broker.config.fault import fault
from broker.config.provided import Keys, fitting
from broker.config.section import Section
from broker.config.values import AbsolutePath, AsText, SecretText, Switch, is_address, matching
from broker.core.secret import Secret

_CLOUDHSM = "aws-cloudhsm"
# Where Client SDK 5 is installed (AWS CloudHSM User Guide, "Install the PKCS #11 library").
_CLOUDHSM_MODULE = Path("/opt/cloudhsm/lib/libcloudhsm_pkcs11.so")

_LABELS = frozenset({"key_label", "wrapping_key_label", "oidc_key_label"})
_KEYS: Keys = {
    "pkcs11": (frozenset({"module", "token_label", "pin"}), _LABELS),
    _CLOUDHSM: (
        frozenset({"cluster_id", "hsm_ip", "hsm_username", "hsm_password"}),
        _LABELS | {"module", "token_label"},
    ),
}

# CKA_LABEL of a token: 32 bytes, padded with blanks (PKCS #11, CK_TOKEN_INFO); of a key: any text.
Label = Annotated[str, matching(r"[!-~]([ -~]{0,62}[!-~])?", "is not a label", "write 1 to 64 printable characters")]
# A colon ends it: the PIN is USER:PASSWORD.
_User = Annotated[str, matching(r"[!-9;-~]{1,31}", "is not a user's name", "write up to 31 characters without a colon")]
_Cluster = Annotated[str, matching(r"cluster-[A-Za-z0-9]{1,32}", "is not a cluster's id", "write cluster-...")]


def _address(text: str) -> str:
    if not is_address(text):
        raise fault("is not an IP address", "write that of one HSM of the cluster", shown=text)
    return text


class HsmConfig(Section):
    """Where it is, and which of its keys do what. Each provider takes the keys that name it; the labels are for both."""

    module: AbsolutePath | None = Field(
        default=None,
        description="`pkcs11`: the module's shared library: `/usr/lib/softhsm/libsofthsm2.so`. `aws-cloudhsm`: that of Client "
        "SDK 5, where it is not in `/opt/cloudhsm`.",
    )
    token_label: Label | None = Field(
        default=None,
        description="`pkcs11`: the label of the token. `aws-cloudhsm`: only where the SDK is configured for several clusters.",
    )
    pin: SecretText | None = Field(default=None, description="Secret. `pkcs11`: the PIN of the token's user.")
    cluster_id: _Cluster | None = Field(
        default=None, description="`aws-cloudhsm`: the cluster's id: `cluster-1234567`."
    )
    hsm_ip: Annotated[str, AsText(_address)] | None = Field(
        default=None,
        description="`aws-cloudhsm`: the address of one HSM, as `configure-pkcs11 -a` got it; the two are compared.",
    )
    hsm_username: _User | None = Field(default=None, description="`aws-cloudhsm`: the name of a crypto user (CU).")
    hsm_password: SecretText | None = Field(default=None, description="Secret. `aws-cloudhsm`: that user's password.")
    key_label: Label = Field(
        default="zerotrust-audit",
        description="The label of the key pair that signs checkpoints: P-256, its private half sensitive and not extractable.",
    )
    wrapping_key_label: Label = Field(
        default="zerotrust-master",
        description="The label of the AES-256 key that is the master key, where `encryption.master` is `pkcs11`: sensitive, and "
        "not extractable.",
    )
    oidc_key_label: Label | None = Field(
        default=None,
        description="The label of a P-256 key pair that signs the web-identity tokens that AWS is shown. Without it they are "
        "signed by a key of the broker's own.",
    )


@dataclass(frozen=True, slots=True)
class TokenPlace:
    """How the token is found and opened. ``label``: None for the only one that there is."""

    module: Path
    label: str | None
    # A Secret is nobody's dictionary key; the places of one configuration differ otherwise.
    pin: Secret = field(compare=False)
    is_cloudhsm: bool


def _configured(config: HsmConfig | None, info: ValidationInfo) -> HsmConfig | None:
    if config is not None:
        return fitting(config, info, _KEYS)
    if info.data.get("enabled") and "provider" in info.data:
        needed, _ = _KEYS[info.data["provider"]]
        raise fault("is missing", f"name {', '.join(sorted(needed))}")
    return None


class Hsm(Section):
    """A hardware security module: signs the audit log's checkpoints beside the broker's own key, and can hold the master key."""

    enabled: Switch = Field(default=False, description="`false`: nothing below is used.")
    provider: Literal["pkcs11", "aws-cloudhsm"] = Field(
        default="pkcs11",
        description="How it is spoken to: `pkcs11`, or `aws-cloudhsm`, which is that with settings of its own.",
    )
    config: Annotated[HsmConfig | None, AfterValidator(_configured)] = Field(
        default=None, validate_default=True, description="Where it is, and which of its keys do what."
    )

    def place(self) -> TokenPlace | None:
        """Where the token is; None where none is enabled."""
        config = self.config
        if not self.enabled or config is None:
            return None
        if self.provider == _CLOUDHSM and config.hsm_password is not None:
            pin = Secret(f"{config.hsm_username}:{config.hsm_password.reveal()}")
            return TokenPlace(config.module or _CLOUDHSM_MODULE, config.token_label, pin, is_cloudhsm=True)
        if config.module is None or config.pin is None:
            raise AssertionError("a section that its validator let pass")  # pragma: no cover
        return TokenPlace(config.module, config.token_label, config.pin, is_cloudhsm=False)
