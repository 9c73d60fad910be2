"""Kubernetes: the schemas, and what the manifests refer to."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from crawlo_scrapy.exchange import CLOSE_TIMEOUT
from crawlo_scrapy.store.client import Address
from tests.cli.conftest import Command
from tests.deployment.names import check_command, unknown_variables
from tests.reference.document import blocks

kubernetes_validate = pytest.importorskip(
    "kubernetes_validate", reason="pip install 'crawlo_scrapy[test]'"
)

#: The oldest and the newest version that the package has schemas for.
VERSIONS = [
    kubernetes_validate.utils.major_minor(kubernetes_validate.utils.all_versions()[n])
    for n in (0, -1)
]
#: What stands in a manifest for the worker and is no option of ours.
OWN_VARIABLES = {"SPIDER"}
#: How long the last write of stats and what else ends with a worker may take, in seconds.
MARGIN = 10


def read(text: str) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(text) if document]


@pytest.fixture
def manifests(deployed: Path) -> list[dict[str, Any]]:
    paths = sorted((deployed / "k8s").glob("*.yaml"))
    return [document for path in paths for document in read(path.read_text())]


def pods(manifests: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each workload, and its pod."""
    for document in manifests:
        if template := document.get("spec", {}).get("template"):
            yield document, template


def worker(manifests: list[dict[str, Any]], kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The pod of the workers' Deployment or Job, and its container."""
    [pod] = [t["spec"] for d, t in pods(manifests) if d["kind"] == kind]
    [container] = pod["containers"]
    return pod, container


@pytest.mark.parametrize("version", VERSIONS)
def test_generated_manifests_are_valid(manifests: list[dict[str, Any]], version: str) -> None:
    assert len(manifests) >= 7
    for document in manifests:
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_documents_manifest(version: str) -> None:
    [text] = blocks("yaml")
    [manifest] = read(text)
    kubernetes_validate.validate(manifest, version, strict=True)
    [(document, template)] = pods([manifest])
    assert document["spec"]["selector"]["matchLabels"] == template["metadata"]["labels"]
    [container] = template["spec"]["containers"]
    assert unknown_variables(variable["name"] for variable in container["env"]) == []


def test_a_mistake_would_be_found(manifests: list[dict[str, Any]]) -> None:
    document = next(d for d in manifests if d["kind"] == "Deployment")
    document["spec"]["template"]["spec"]["containers"][0]["livenessprobe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, VERSIONS[-1], strict=True)


def test_names_fit_kubernetes(manifests: list[dict[str, Any]]) -> None:
    for document in manifests:
        assert re.fullmatch("[a-z][a-z0-9-]*", document["metadata"]["name"])


def test_what_pods_refer_to_is_there(manifests: list[dict[str, Any]]) -> None:
    data = {
        (d["kind"], d["metadata"]["name"]): {**d.get("data", {}), **d.get("stringData", {})}
        for d in manifests
    }
    for document, template in pods(manifests):
        spec = document["spec"]
        if "selector" in spec:  # a Job makes its own
            assert spec["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
        volumes = {v["name"] for v in template["spec"].get("volumes", [])}
        volumes |= {c["metadata"]["name"] for c in spec.get("volumeClaimTemplates", [])}
        for container in template["spec"]["containers"]:
            for source in container.get("envFrom", []):
                assert ("ConfigMap", source["configMapRef"]["name"]) in data
            for variable in container.get("env", []):
                if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                    assert reference["key"] in data["Secret", reference["name"]]
            assert {m["name"] for m in container.get("volumeMounts", [])} == volumes


def test_services_lead_to_pods(manifests: list[dict[str, Any]]) -> None:
    found = list(pods(manifests))
    services = {d["metadata"]["name"]: d["spec"] for d in manifests if d["kind"] == "Service"}
    for service in services.values():
        behind = [
            template
            for _, template in found
            if service["selector"].items() <= template["metadata"]["labels"].items()
        ]
        [template] = behind
        ports = template["spec"]["containers"][0]["ports"]
        assert [p["port"] for p in service["ports"]] == [p["containerPort"] for p in ports]
    for document, _ in found:
        if document["kind"] == "StatefulSet":
            assert document["spec"]["serviceName"] in services
    [config] = [d["data"] for d in manifests if d["kind"] == "ConfigMap"]
    assert config["REDIS_HOST"] in services
    assert services[config["REDIS_HOST"]]["ports"][0]["port"] == Address().port


def test_autoscaler_has_its_target(manifests: list[dict[str, Any]]) -> None:
    names = {(d["kind"], d["metadata"]["name"]) for d in manifests}
    [target] = [
        d["spec"]["scaleTargetRef"] for d in manifests if d["kind"] == "HorizontalPodAutoscaler"
    ]
    assert (target["kind"], target["name"]) in names


def test_autoscaler_asks_for_a_metric_that_is_served(manifests: list[dict[str, Any]]) -> None:
    table = pytest.importorskip("crawlo_scrapy.metrics.table")
    [spec] = [d["spec"] for d in manifests if d["kind"] == "HorizontalPodAutoscaler"]
    [metric] = spec["metrics"]
    served = {metric.shown_name for metric in table.CRAWL_METRICS}
    assert metric["external"]["metric"]["name"] in served


def test_variables_are_options(manifests: list[dict[str, Any]]) -> None:
    [config] = [d["data"] for d in manifests if d["kind"] == "ConfigMap"]
    assert unknown_variables(set(config) - OWN_VARIABLES) == []
    for kind in ("Deployment", "Job"):
        _, container = worker(manifests, kind)
        assert unknown_variables(v["name"] for v in container["env"]) == []


@pytest.mark.parametrize("kind", ["Deployment", "Job"])
def test_probes_call_a_command(deployed: Path, manifests: list[dict[str, Any]], kind: str) -> None:
    _, container = worker(manifests, kind)
    for probe in ("startupProbe", "livenessProbe"):
        words = container[probe]["exec"]["command"]
        assert words[:2] == ["crawlo-scrapy", "health"]
        assert (deployed / str(check_command(words)["config"])).is_file()


def test_redis_is_probed_with_its_password(manifests: list[dict[str, Any]]) -> None:
    [pod] = [t["spec"] for d, t in pods(manifests) if d["kind"] == "StatefulSet"]
    [container] = pod["containers"]
    for probe in ("readinessProbe", "livenessProbe"):
        assert container[probe]["exec"]["command"] == ["redis-cli", "ping"]
    # redis-cli reads it from there.
    assert [v["name"] for v in container["env"]] == ["REDISCLI_AUTH"]
    assert '--requirepass "$REDISCLI_AUTH"' in container["args"][0]
    assert "--appendonly yes" in container["args"][0]
    assert container["volumeMounts"][0]["mountPath"] == "/data"


@pytest.mark.parametrize("kind", ["Deployment", "Job"])
def test_workers_have_time_to_leave(
    deployed: Path, manifests: list[dict[str, Any]], kind: str
) -> None:
    pod, container = worker(manifests, kind)
    download = int(
        re.search(r"download_timeout=(\d+)", (deployed / "worker_settings.py").read_text())[1]
    )
    assert pod["terminationGracePeriodSeconds"] >= download + CLOSE_TIMEOUT + MARGIN
    assert container["resources"]["limits"]["memory"]


def test_a_job_does_not_take_a_stopped_worker_for_a_finished_one(
    manifests: list[dict[str, Any]],
) -> None:
    pod, container = worker(manifests, "Job")
    assert check_command(container["command"])["stopped_status"] != 0
    assert pod["restartPolicy"] == "OnFailure"


@pytest.mark.parametrize("kind", ["Deployment", "Job"])
def test_a_pods_command_runs_what_its_variables_say(
    crawlo: Command, deployed: Path, manifests: list[dict[str, Any]], kind: str
) -> None:
    _, container = worker(manifests, kind)
    [config] = [d["data"] for d in manifests if d["kind"] == "ConfigMap"]
    assert crawlo("genspider", config["SPIDER"], "a.test", cwd=deployed).returncode == 0
    # As Kubernetes fills it in.
    words = [re.sub(r"\$\((\w+)\)", lambda m: config[m[1]], w) for w in container["command"]]
    # Beside a Service Kubernetes sets variables of its own.
    links = {"REDIS_PORT": "tcp://10.0.0.11:6379"}
    done = crawlo(
        *words[1:], "--dry-run", "--json", cwd=deployed, REDIS_PASSWORD="x", **config, **links
    )
    facts = json.loads(done.stdout)
    assert facts["redis"] == f"{config['REDIS_HOST']}:6379/0"
    assert facts["concurrency"] == int(config["CONCURRENCY"])
    assert facts["crawl"] == f"My_shop:{config['SPIDER']}:{config['CRAWLO_CRAWL_ID']}"
    assert facts["mode"] == "distributed"
