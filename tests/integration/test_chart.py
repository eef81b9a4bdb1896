"""The Helm chart, rendered by Helm itself: what it refuses, and whether what it makes is as strict as the broker demands."""

from __future__ import annotations

import copy
import json
from pathlib import PurePosixPath
from typing import Any

import kubernetes_validate
import pytest

from broker.config.load import load
from broker.watch.dependencies import PATIENCE
from tests.fakes import helm
from tests.fakes.helm import CHART, Refused

VALUES: dict[str, Any] = {
    "image": {"repository": "registry.example.com/zerotrust-broker"},
    "keytab": {"existingSecret": "broker-keytab"},
    "tls": {"existingSecret": "broker-tls"},
    "encryptionKey": {"existingSecret": "broker-key"},
    "config": {
        "server": {"hostnames": ["broker.example.com"]},
        "kerberos": {"realms": {"EXAMPLE.COM": {}}},
        # Text that looks like a number, with a zero in front: what YAML is tempted by.
        "aws": {"region": "eu-central-1", "allowed_accounts": ["012345670123"]},
        "redis": {"url": "rediss://redis.example.com:6379/0"},
        "roles": {"developer": {"chain": [{"arn": "arn:aws:iam::012345670123:role/Developer", "external_id": "0123"}]}},
        "rules": [{"name": "engineers", "principals": ["alice@EXAMPLE.COM"], "roles": ["developer"]}],
        "admin": {"principals": ["root/admin@EXAMPLE.COM"]},
    },
}
# Everything that can be said at once.
ALL: dict[str, Any] = {
    **VALUES,
    "image": {"repository": "registry.example.com/zerotrust-broker", "digest": "sha256:" + "0" * 64},
    "imagePullSecrets": [{"name": "registry"}],
    "files": {"existingSecret": "broker-files"},
    "environment": {"existingSecret": "broker-environment"},
    "krb5": "[libdefaults]\n    default_realm = EXAMPLE.COM\n",
    "service": {"type": "LoadBalancer", "annotations": {"a": "b"}, "loadBalancerSourceRanges": ["10.0.0.0/8"]},
    "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::999900001111:role/BrokerHub"}},
    "audit": {"storageClass": "fast", "size": "100Gi"},
    "networkPolicy": {
        "from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
        "egress": [{"ports": [{"port": 6379, "protocol": "TCP"}]}],
        "instanceMetadata": True,
    },
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "tolerations": [{"key": "identity", "operator": "Exists"}],
    "priorityClassName": "system-cluster-critical",
    "podAnnotations": {"a": "b"},
}
# The oldest that Chart.yaml allows, and what is there today.
VERSIONS = ("1.27", "1.37")

Objects = dict[tuple[str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def objects() -> Objects:
    return helm.template(VALUES)


@pytest.fixture(scope="module")
def pod(objects: Objects) -> dict[str, Any]:
    found: dict[str, Any] = objects["StatefulSet", "kdc"]["spec"]["template"]["spec"]
    return found


@pytest.fixture(scope="module")
def container(pod: dict[str, Any]) -> dict[str, Any]:
    (found,) = pod["containers"]
    return dict(found)


def changed(*path: str, to: Any) -> dict[str, Any]:
    """The values with one of them another; None takes it away."""
    made = copy.deepcopy(VALUES)
    place = made
    for key in path[:-1]:
        place = place.setdefault(key, {})
    if to is None:
        del place[path[-1]]
    else:
        place[path[-1]] = to
    return made


@pytest.mark.parametrize("values", [VALUES, ALL], ids=["least", "all"])
def test_helm_and_kubernetes_find_no_fault(values: dict[str, Any]) -> None:
    assert "0 chart(s) failed" in helm.lint(values)
    for one in helm.template(values).values():
        for version in VERSIONS:
            kubernetes_validate.validate(one, version, strict=True)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("replica",), 3),
        (("replicas",), 0),
        (("image", "repository"), ""),
        (("image", "digest"), "sha256:abc"),
        (("keytab", "existingSecret"), ""),
        (("keytab", "existingSecret"), None),
        (("tls", "existingSecret"), "Not_A_Name"),
        (("audit", "size"), "10 GB"),
        (("service", "type"), "ExternalName"),
        (("config",), {}),
        (("config", "rule"), []),
        (("config", "server", "listen"), ["https://0.0.0.0:443"]),
        (("config", "tls"), {"private_key": "/etc/key"}),
        (("config", "audit"), {"directory": "/tmp"}),  # noqa: S108  # what is refused
        (("config", "aws", "regionn"), "eu-central-1"),
        (("networkPolicy", "enabled"), "yes"),
    ],
)
def test_a_value_that_is_misspelt_impossible_or_the_charts_own_is_refused_by_name(
    path: tuple[str, ...], value: Any
) -> None:
    with pytest.raises(Refused) as refused:
        helm.template(changed(*path, to=value))
    assert path[-1] in str(refused.value)


def test_several_brokers_that_share_nothing_are_refused_and_one_alone_is_not() -> None:
    alone = changed("config", "redis", to=None)
    with pytest.raises(Refused, match=r"more than one broker needs config\.redis"):
        helm.template(alone)
    assert helm.template({**alone, "replicas": 1})["StatefulSet", "kdc"]["spec"]["replicas"] == 1


def test_the_broker_takes_the_configuration_that_the_chart_writes(
    objects: Objects, pod: dict[str, Any], container: dict[str, Any], tmp_path: Any
) -> None:
    """Every file that it names is one that is mounted, named so that no symbolic link is in the file's place."""
    text = objects["Secret", "kdc-config"]["stringData"]["config.yaml"]
    config = json.loads(text)
    named = [
        *config["kerberos"]["keytabs"],
        config["tls"]["certificate"],
        config["tls"]["private_key"],
        config["encryption"]["key_file"],
    ]
    (files,) = (one for one in pod["volumes"] if one["name"] == "files")
    (mounted,) = (one["mountPath"] for one in container["volumeMounts"] if one["name"] == "files")
    items = (item for source in files["projected"]["sources"] for item in source["secret"].get("items", ()))
    assert sorted(named) == sorted(f"{mounted}/..data/{item['path']}" for item in items)
    # The same words, with files that are here.
    for path in named:
        here = tmp_path / PurePosixPath(path).name
        here.touch(mode=0o600)
        here.write_text("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=" if here.name == "encryption_key" else "")
        text = text.replace(path, str(here))
    (tmp_path / "config.yaml").touch(mode=0o600)
    (tmp_path / "config.yaml").write_text(text)
    keys = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "ZEROTRUST_AWS_SECRET_KEY": "x" * 40}
    settings = load(tmp_path / "config.yaml", environ=keys)
    assert settings.aws.allowed_accounts == ("012345670123",)
    assert [str(one) for one in settings.listeners] == ["https://0.0.0.0:8443", "unix:/run/zerotrust/admin.sock"]


def test_what_the_broker_writes_to_is_what_is_mounted_writable_and_nothing_else_is(
    objects: Objects, container: dict[str, Any]
) -> None:
    writable = {one["mountPath"] for one in container["volumeMounts"] if not one.get("readOnly")}
    assert writable == {"/var/log/zerotrust", "/var/lib/zerotrust", "/run/zerotrust", "/tmp"}  # noqa: S108
    claims = objects["StatefulSet", "kdc"]["spec"]["volumeClaimTemplates"]
    assert {claim["metadata"]["name"] for claim in claims} == {"audit", "state"}
    kept = objects["StatefulSet", "kdc"]["spec"]["persistentVolumeClaimRetentionPolicy"]
    assert kept == {"whenDeleted": "Retain", "whenScaled": "Retain"}


def test_the_pod_keeps_to_the_strictest_profile(pod: dict[str, Any], container: dict[str, Any]) -> None:
    """Pod Security Standards, "restricted", and beyond it: no writable root and no token of the cluster."""
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    security = pod["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] == security["runAsGroup"] == security["fsGroup"] == 10001
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    # Always would make every record writable for the group, which the broker refuses to go on with.
    assert security["fsGroupChangePolicy"] == "OnRootMismatch"
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert {kind for volume in pod["volumes"] for kind in volume if kind != "name"} == {"projected", "emptyDir"}


def test_files_are_readable_by_the_group_alone(pod: dict[str, Any]) -> None:
    (files,) = (one["projected"] for one in pod["volumes"] if "projected" in one)
    assert files["defaultMode"] == 0o440
    modes = [item.get("mode") for source in files["sources"] for item in source["secret"].get("items", ())]
    assert set(modes) == {None}


def test_the_image_and_the_chart_mean_the_same_user_port_and_folders(container: dict[str, Any]) -> None:
    dockerfile = (CHART.parents[1] / "Dockerfile").read_text()
    assert "USER 10001:10001" in dockerfile
    assert f"EXPOSE {container['ports'][0]['containerPort']}\n" in dockerfile
    assert 'VOLUME ["/var/log/zerotrust", "/var/lib/zerotrust"]' in dockerfile
    assert container["args"] == ["serve"]
    assert container["image"] == "registry.example.com/zerotrust-broker:0.1.0"


def test_probes_ask_what_they_are_for_and_the_end_leaves_time_to_drain(
    pod: dict[str, Any], container: dict[str, Any]
) -> None:
    asked = {probe: container[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert [one["path"] for one in asked.values()] == ["/healthz", "/healthz", "/readyz"]
    assert {one["scheme"] for one in asked.values()} == {"HTTPS"}
    # A dependency that hangs must not look like a broker that does.
    assert container["readinessProbe"]["timeoutSeconds"] > PATIENCE.total_seconds()
    (_, seconds) = container["lifecycle"]["preStop"]["exec"]["command"]
    drains = 10
    assert pod["terminationGracePeriodSeconds"] > int(seconds) + drains


def test_a_changed_configuration_starts_new_pods_and_a_changed_keytab_none(objects: Objects) -> None:
    def annotations(values: dict[str, Any]) -> Any:
        return helm.template(values)["StatefulSet", "kdc"]["spec"]["template"]["metadata"]["annotations"]

    before = objects["StatefulSet", "kdc"]["spec"]["template"]["metadata"]["annotations"]
    assert annotations(changed("config", "rules", to=[])) != before
    assert annotations(changed("audit", "size", to="11Gi")) == before


def test_nothing_in_the_pod_can_ask_for_the_nodes_credentials_unless_that_is_said(objects: Objects) -> None:
    def allowed(found: Objects) -> list[str]:
        rules = found["NetworkPolicy", "kdc"]["spec"]["egress"]
        return [to["ipBlock"]["cidr"] for rule in rules for to in rule.get("to", ())]

    (rule,) = (rule for rule in objects["NetworkPolicy", "kdc"]["spec"]["egress"] if rule["ports"][0]["port"] == 443)
    assert rule["to"][0]["ipBlock"] == {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}
    assert "169.254.169.254/32" not in allowed(objects)
    assert "169.254.169.254/32" in allowed(helm.template(ALL))


def test_every_selector_finds_the_pods_and_nothing_ends_tls_before_them(objects: Objects) -> None:
    labels = objects["StatefulSet", "kdc"]["spec"]["template"]["metadata"]["labels"]
    selectors = [
        objects["StatefulSet", "kdc"]["spec"]["selector"]["matchLabels"],
        objects["Service", "kdc"]["spec"]["selector"],
        objects["Service", "kdc-instances"]["spec"]["selector"],
        objects["PodDisruptionBudget", "kdc"]["spec"]["selector"]["matchLabels"],
        objects["NetworkPolicy", "kdc"]["spec"]["podSelector"]["matchLabels"],
    ]
    for selector in selectors:
        assert selector
        assert selector.items() <= labels.items()
    assert not {kind for kind, _ in objects} & {"Ingress", "HTTPRoute", "ClusterRole", "Role"}
