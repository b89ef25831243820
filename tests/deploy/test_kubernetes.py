"""deploy/kubernetes/ says what it should, as far as this can be seen without a cluster."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped] # pyright: ignore[reportMissingTypeStubs]
import pytest
import yaml

from deploy import credentials
from flow.cli.loading import load, locate
from flow.runtime.addresses import Addresses
from flow.runtime.service import WorkerSettings
from tests.deploy import commands

DEPLOY = Path(credentials.__file__).parent
ROOT = DEPLOY.parent
VERSION = "1.31"
DOCUMENTS: list[dict[str, Any]] = [
    document
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
]


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    """Return the specifications of the documents of a kind, by their names."""
    return {
        document["metadata"]["name"]: document["spec"]
        for document in DOCUMENTS
        if document["kind"] == kind
    }


DEPLOYMENTS = of_kind("Deployment")
PODS = {name: spec["template"]["spec"] for name, spec in DEPLOYMENTS.items()}
CONTAINERS = {name: spec["containers"][0] for name, spec in PODS.items()}


def keda_resources() -> list[str]:
    """Return what is of KEDA, whose schemas are not at hand."""
    return [each["kind"] for each in DOCUMENTS if each["apiVersion"].startswith("keda.sh/")]


@pytest.mark.parametrize(
    "document",
    [each for each in DOCUMENTS if not each["apiVersion"].startswith("keda.sh/")],
    ids=lambda document: f"{document['kind']}/{document['metadata']['name']}",
)
def test_it_keeps_the_schema(document: dict[str, Any]) -> None:
    """Each object is valid, without a field that Kubernetes does not know."""
    assert kubernetes_validate.validate(document, VERSION, strict=True).startswith(VERSION)


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_selectors_select(name: str) -> None:
    """Deployment, disruption budget and spread select the pods that the template makes."""
    labels: Mapping[str, str] = DEPLOYMENTS[name]["template"]["metadata"]["labels"]
    budget = of_kind("PodDisruptionBudget")[name]
    selectors = [DEPLOYMENTS[name]["selector"], budget["selector"]]
    spread = PODS[name].get("topologySpreadConstraints", [])
    selectors += [constraint["labelSelector"] for constraint in spread]
    for selector in selectors:
        assert selector["matchLabels"].items() <= labels.items()
        assert selector["matchLabels"]


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_probes_ask_the_health_port(name: str) -> None:
    """Start and liveness ask /live, readiness asks /ready, on the port that the command opens."""
    container = CONTAINERS[name]
    probes = [container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")]
    assert [probe["path"] for probe in probes] == ["/live", "/live", "/ready"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    arguments = container["args"]
    listens = int(arguments[arguments.index("--health-port") + 1])
    assert {ports[probe["port"]] for probe in probes} == {listens}
    assert arguments[arguments.index("--health-host") + 1] == "0.0.0.0"


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_commands_exist(name: str) -> None:
    """Each command is one that `flow` understands, about a program of this repository."""
    arguments = CONTAINERS[name]["args"]
    commands.check(arguments)
    assert load(locate(arguments[1], ROOT)).name == "delivery"
    assert "command" not in CONTAINERS[name]


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_there_is_time_to_end(name: str) -> None:
    """A pod is not killed before its worker has drained."""
    assert PODS[name]["terminationGracePeriodSeconds"] > WorkerSettings().drain_s + 15


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_pods_are_locked_down(name: str) -> None:
    """A pod is not root, writes nothing but into /tmp, gains nothing and has no token."""
    pod, container = PODS[name], CONTAINERS[name]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] == 10_001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not pod["automountServiceAccountToken"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/tmp"]
    assert container["resources"]["limits"]["memory"]
    assert re.fullmatch(r"[a-z0-9./-]+:[0-9]+(\.[0-9]+)+", container["image"])


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_secrets_are_those_that_are_made(name: str) -> None:
    """URLs come from secrets whose making the file shows, of the role that the pod plays."""
    role = DEPLOYMENTS[name]["template"]["metadata"]["labels"]["flow.role"]
    text = (DEPLOY / "kubernetes" / f"{role}.yaml").read_text()
    references = {
        variable["name"]: variable["valueFrom"]["secretKeyRef"]
        for variable in CONTAINERS[name]["env"]
    }
    expected = {"FLOW_BROKER", "FLOW_STORE"} if role == "orchestrator" else {"FLOW_BROKER"}
    assert set(references) == expected
    assert f"--from-file=broker_url=deploy/secrets/{role}_broker_url" in text
    for reference in references.values():
        assert reference["name"] == f"flow-{role}"
        assert f"secret generic {reference['name']}" in text
        assert f"--from-file={reference['key']}=deploy/secrets/" in text
    users = json.loads((DEPLOY / "rabbitmq" / "definitions.json").read_text())["users"]
    assert role in {user["name"] for user in users}


def test_the_scaler_counts_the_right_queue() -> None:
    """KEDA scales the worker by the length of the queue that this worker serves."""
    scaler = of_kind("ScaledObject")["delivery-kitchen"]
    assert scaler["scaleTargetRef"]["name"] in DEPLOYMENTS
    assert "replicas" not in DEPLOYMENTS[scaler["scaleTargetRef"]["name"]]
    assert 1 <= scaler["minReplicaCount"] < scaler["maxReplicaCount"]
    (trigger,) = scaler["triggers"]
    assert trigger["type"] == "rabbitmq"
    assert trigger["metadata"] == {
        "protocol": "amqp",
        "queueName": Addresses("delivery").service_queue("kitchen"),
        "mode": "QueueLength",
        "value": "20",
    }
    authentication = of_kind("TriggerAuthentication")[trigger["authenticationRef"]["name"]]
    (secret,) = authentication["secretTargetRef"]
    assert secret == {"parameter": "host", "name": "flow-worker", "key": "broker_url"}
    assert keda_resources() == ["TriggerAuthentication", "ScaledObject"]


def test_only_orchestrators_reach_the_store() -> None:
    """The network lets everybody reach the broker, orchestrators the store, and nobody in."""
    policies = of_kind("NetworkPolicy")
    everybody, orchestrators = policies["delivery"], policies["delivery-orchestrator"]
    assert everybody["ingress"] == []
    assert "Ingress" in everybody["policyTypes"]
    assert orchestrators["podSelector"]["matchLabels"]["flow.role"] == "orchestrator"
    ports = [port["port"] for rule in everybody["egress"] for port in rule["ports"]]
    assert ports == [53, 53, 5672, 5671]
    assert [rule["ports"][0]["port"] for rule in orchestrators["egress"]] == [5432]
    for name, deployment in DEPLOYMENTS.items():
        labels = deployment["template"]["metadata"]["labels"]
        assert everybody["podSelector"]["matchLabels"].items() <= labels.items(), name
