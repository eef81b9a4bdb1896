"""A cluster and a real OpenBao that know each other, set up with the manifests and policies that the documentation gives.

The Roles of ``docs/kubernetes`` are what RBAC allows here and its policies what the vault allows, so a test that passes has tried
them too. Beside them: the vault's own reviewer of tokens, and ``sealer``, who seals.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from broker.admin.assembled import SealedIn, TransitAccess
from broker.assembly.transit import Documents
from tests.fakes.bao import BaoError, BaoServer
from tests.fakes.kubernetes import FakeKubernetes

MANIFESTS = Path(__file__).parents[2] / "docs" / "kubernetes"
KEY = "documents"
NAMESPACE, SECRET, DATA_KEY = "apps", "app-documents", "document"
PLACE = SealedIn(namespace=NAMESPACE, name=SECRET, data_key=DATA_KEY)
# Role of the vault -> its policy's file, its service account.
ROLES = {
    "documents-rewrap": ("rewrap", "documents-rewrap"),
    "documents-app": ("app", "app"),
    "sealer": ("seal", "sealer"),
}


def manifests(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((MANIFESTS / f"{name}.yaml").read_text()))


@dataclass
class Site:
    """Both, and what clients are given."""

    bao: BaoServer
    cluster: FakeKubernetes
    folder: Path
    tokens: dict[str, Path] = field(default_factory=dict)

    def access(self, role: str, *, audience: str = "vault", account: str | None = None) -> TransitAccess:
        account = account or ROLES[role][1]
        token = self.folder / f"token-{account}"
        token.write_text(self.cluster.token(f"{NAMESPACE}/{account}"))
        return TransitAccess(
            vault_url=self.bao.url, vault_ca_file=self.bao.ca_file, vault_namespace=None, vault_token_file=None,
            mount="transit", key=KEY, auth_mount="kubernetes", role=role, service_account=f"{NAMESPACE}/{account}",
            audience=audience, kubernetes_url=self.cluster.url,
            kubernetes_ca_file=self.cluster.certificate.certificate, kubernetes_token_file=token,
        )  # fmt: skip

    def documents(self, role: str, **changed: Any) -> Documents:
        return Documents(self.access(role, **changed))

    def options(self, role: str) -> list[str]:
        """The same for the command line."""
        access = self.access(role)
        return [
            f"--vault-url={access.vault_url}", f"--vault-ca-file={access.vault_ca_file}", f"--vault-role={role}",
            f"--service-account={access.service_account}", f"--transit-key={KEY}",
            f"--kubernetes-url={access.kubernetes_url}", f"--kubernetes-ca-file={access.kubernetes_ca_file}",
            f"--kubernetes-token-file={access.kubernetes_token_file}",
        ]  # fmt: skip

    def stored(self) -> str:
        return self.cluster.text(NAMESPACE, SECRET, DATA_KEY)

    def opened(self, ciphertext: str | None = None) -> bytes:
        """What the vault's administrator gets out of what lies there, or out of this."""
        asked = ciphertext or self.stored()
        while True:
            try:
                answer = self.bao.api("POST", f"transit/decrypt/{KEY}", {"ciphertext": asked})
            except BaoError:
                # Rewrapped, and the version before retired, between the reading and the asking? Then as `unseal` does.
                before, asked = asked, ciphertext or self.stored()
                if asked == before:
                    raise
            else:
                return base64.b64decode(answer["data"]["plaintext"])

    def key(self) -> dict[str, Any]:
        data: dict[str, Any] = self.bao.api("GET", f"transit/keys/{KEY}")["data"]
        return data

    def logins(self) -> int:
        """Tokens that live in the vault now."""
        return len(self.bao.api("LIST", "auth/token/accessors")["data"]["keys"])

    def fresh(self) -> None:
        """A new key, no Secret, no log of requests."""
        self.bao.renew()
        if "transit/" in self.bao.api("GET", "sys/mounts")["data"]:
            self.bao.api("DELETE", "sys/mounts/transit")
        self.bao.mount("transit", "transit")
        self.bao.api("POST", f"transit/keys/{KEY}", {})
        self.cluster.objects.clear()
        self.cluster.requests.clear()
        self.cluster.scripted.clear()
        self.cluster.before = lambda _method, _path: None


@contextmanager
def site(bao: BaoServer, cluster: FakeKubernetes, folder: Path) -> Iterator[Site]:
    for name in ("rewrap", "app"):
        for one in manifests(name):
            if one["kind"] == "ServiceAccount":
                cluster.account(NAMESPACE, one["metadata"]["name"])
            if one["kind"] == "Role":
                account = {"documents-rewrap": "documents-rewrap", "app-documents": "app"}[one["metadata"]["name"]]
                for rule in one["rules"]:
                    for resource in rule["resources"]:
                        cluster.allow(
                            f"{NAMESPACE}/{account}",
                            *rule["verbs"],
                            resource=resource,
                            names=set(rule["resourceNames"]),
                        )
    for account in ("sealer", "reviewer"):
        cluster.account(NAMESPACE, account)
    cluster.allow("apps/sealer", "create")
    cluster.allow("apps/sealer", "get", "update", names={SECRET})
    cluster.allow("apps/sealer", "create", resource="serviceaccounts/token", names={"sealer"})
    cluster.allow("apps/reviewer", "create", resource="tokenreviews")
    bao.enable("kubernetes")
    bao.api("POST", "auth/kubernetes/config", {
        "kubernetes_host": cluster.url, "kubernetes_ca_cert": cluster.certificate.pem.decode(),
        "token_reviewer_jwt": cluster.token("apps/reviewer", seconds=86400), "disable_local_ca_jwt": True,
    })  # fmt: skip
    for role, (policy, account) in ROLES.items():
        bao.policy(role, (MANIFESTS / f"{policy}.hcl").read_text())
        bao.api("POST", f"auth/kubernetes/role/{role}", {
            "bound_service_account_names": [account], "bound_service_account_namespaces": [NAMESPACE],
            "audience": "vault", "token_policies": [role], "token_no_default_policy": True, "token_ttl": "10s",
        })  # fmt: skip
    yield Site(bao, cluster, folder)


DOCUMENT = json.dumps({"database": {"user": "app", "password": "canary-pässword"}, "api_key": "canary-key"}).encode()
