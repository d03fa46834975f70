"""What images, compose and Kubernetes are made from agrees with the service, the original and the documentation."""

from __future__ import annotations

import http.server
import itertools
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from embedding_calculator.models.catalog import Catalog
from embedding_calculator.plugins.registry import PluginName, Registry
from embedding_calculator.settings import Settings

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
CHART = ROOT / "deploy/helm/embedding-calculator"
COMPOSE = sorted((ROOT / "deploy/compose").glob("*.yaml"))
VARIABLES = {name.upper() for name in Settings.model_fields}
NEEDS_EXTRA = "needs the packages of the extra `images`: make lint-images"

PLUGINS = ("FACE_DETECTION_PLUGIN", "CALCULATION_PLUGIN", "EXTRA_PLUGINS")
ORIGINAL_BUILD_ARGUMENTS = {
    *(*PLUGINS, "GPU_IDX", "INTEL_OPTIMIZATION"),
    *("SKIP_TESTS", "BE_VERSION", "APP_VERSION_STRING", "BASE_IMAGE"),
}
ORIGINAL_TAGS = {"", "-facenet", "-mobilenet", "-mobilenet-gpu", "-arcface-r100", "-arcface-r100-gpu"}


def load_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


# The Dockerfile


def test_the_build_arguments_are_the_originals_and_those_documented() -> None:
    arguments = set(re.findall(r"^ARG (\w+)", DOCKERFILE, re.MULTILINE))
    assert arguments >= ORIGINAL_BUILD_ARGUMENTS
    documented = re.findall(r"^\| `([A-Z_]+)` \|", section("Build arguments"), re.MULTILINE)
    assert sorted(documented) == sorted(arguments)


def test_build_arguments_that_the_service_reads_reach_it() -> None:
    service = DOCKERFILE[DOCKERFILE.index(" AS service") :]
    arguments = set(re.findall(r"^ARG (\w+)", service, re.MULTILINE))
    assert arguments == set(re.findall(r'(\w+)="\$\{\1\}"', service)), "each becomes a variable of the same name"
    assert arguments >= ORIGINAL_BUILD_ARGUMENTS - {"SKIP_TESTS", "BASE_IMAGE"}


def test_the_image_is_not_run_by_root_and_tells_its_health() -> None:
    last_stage = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", last_stage, re.MULTILINE)
    assert 'CMD ["healthcheck"]' in last_stage
    assert "EXPOSE 3000" in last_stage
    assert "RUN" not in last_stage


def test_hadolint_accepts_the_dockerfile() -> None:
    hadolint = shutil.which("hadolint", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if not hadolint:
        pytest.skip(NEEDS_EXTRA)
    lint = subprocess.run([hadolint, "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert lint.returncode == 0, lint.stdout


# The health check


@contextmanager
def answering(status: int) -> Iterator[int]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthcheck" else 404)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def healthcheck(port: int) -> int:
    command = [sys.executable, "deploy/healthcheck.py"]
    run = subprocess.run(command, cwd=ROOT, env={**os.environ, "ML_PORT": str(port)}, check=False, capture_output=True)
    assert run.stderr == b""
    return run.returncode


@pytest.mark.parametrize(("status", "expected"), [(200, 0), (500, 1)])
def test_the_health_check_tells_what_the_service_says(status: int, expected: int) -> None:
    with answering(status) as port:
        assert healthcheck(port) == expected


def test_the_health_check_fails_without_a_service() -> None:
    with answering(200) as port:
        pass
    assert healthcheck(port) == 1


# The images and their tags


def bake() -> dict[str, dict[str, Any]]:
    """The targets of docker-bake.hcl as they are after inheritance; expressions stay as text."""
    hcl2 = pytest.importorskip("hcl2", reason=NEEDS_EXTRA)
    with (ROOT / "docker-bake.hcl").open() as file:
        document = plain(hcl2.load(file))
    targets = {name: body for block in document["target"] for name, body in block.items()}

    def resolve(name: str) -> dict[str, Any]:
        body = targets[name]
        resolved: dict[str, Any] = {"args": {}}
        for part in [*map(resolve, body.get("inherits", [])), body]:
            resolved |= {**part, "args": resolved["args"] | part.get("args", {})}
        return resolved

    return {name: resolve(name) for name in targets if not name.startswith("_")}


def plain(value: Any) -> Any:
    """Strings without the quotes that the parser keeps."""
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.strip('"') if isinstance(value, str) else value


def suffixes(target: dict[str, Any]) -> set[str]:
    return set(re.findall(r'tag\("([^"]*)"\)', " ".join(target["tags"])))


def test_every_tag_of_the_original_is_built_once() -> None:
    targets = bake()
    tags = list(itertools.chain.from_iterable(map(suffixes, targets.values())))
    assert len(tags) == len(set(tags))
    assert set(tags) >= ORIGINAL_TAGS
    assert sorted(re.findall(r"^\| `[^`]*?(-[a-z0-9-]+)`", section("Images"), re.MULTILINE)) == sorted(set(tags) - {""})


def test_images_are_made_with_arguments_and_plugins_that_exist() -> None:
    arguments = set(re.findall(r"^ARG (\w+)", DOCKERFILE, re.MULTILINE))
    registry = Registry(Catalog.load())
    for target in bake().values():
        assert set(target["args"]) <= arguments
        for variable in PLUGINS:
            for name in filter(None, target["args"].get(variable, "").split(",")):
                registry.entry(PluginName.parse(name))


def test_who_had_the_originals_image_is_told_the_variables_that_came_with_it() -> None:
    targets = {suffix: target["args"] for target in bake().values() for suffix in suffixes(target)}
    page = (ROOT / "docs/migration.md").read_text()
    rows = re.findall(r"^\| .*?`(-[a-z0-9-]+)`.*? \| `(.+?)` \| `(.+?)` \| `?(.+?)`? \|$", page, re.MULTILINE)
    assert {suffix for suffix, *_ in rows} == {"-facenet", "-mobilenet", "-arcface-r100"}
    for number, (suffix, detector, calculator, extra) in enumerate(rows):
        told = rows[number - 1][3] if extra == "the same" else extra
        assert [targets[suffix][name] for name in PLUGINS] == [detector, calculator, told]


def test_gpu_images_stand_on_cuda_and_ask_for_the_first_gpu() -> None:
    for target in bake().values():
        gpu = any(suffix.endswith("-gpu") for suffix in suffixes(target))
        assert (target["args"].get("GPU_IDX") == "0") == gpu
        assert (target["args"].get("BASE_IMAGE") == "CUDA_IMAGE") == gpu


# Compose


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.name)
def test_compose_files_name_only_variables_that_the_service_reads(path: Path) -> None:
    for service in load_yaml(path)["services"].values():
        environment = service.get("environment", [])
        assert {entry.partition("=")[0] for entry in environment} <= VARIABLES
        arguments = service.get("build", {}).get("args", {})
        assert set(arguments) <= set(re.findall(r"^ARG (\w+)", DOCKERFILE, re.MULTILINE))


def test_our_image_stands_where_compreface_looks_for_its_core() -> None:
    (name, service), *others = load_yaml(ROOT / "deploy/compose/compose.compreface.yaml")["services"].items()
    assert (name, service["container_name"], others) == ("compreface-core", "compreface-core", [])
    environment = dict(entry.split("=", 1) for entry in service["environment"])
    assert environment["ML_PORT"] == "3000"
    assert environment["IMG_LENGTH_LIMIT"].startswith("${max_detect_size")
    assert environment["UWSGI_PROCESSES"].startswith("${uwsgi_processes")
    assert environment["UWSGI_THREADS"].startswith("${uwsgi_threads")
    assert service["healthcheck"]["test"] == ["CMD", "healthcheck"], "there is no curl in our image"


# The Helm chart


def render(**values: Any) -> list[dict[str, Any]]:
    chart = pytest.importorskip("helm_python.chart", reason=NEEDS_EXTRA)
    with chart.Chart.load(CHART) as loaded:
        texts = loaded.render(values, name="faces", namespace="default")
    return [body for name, text in texts.items() if name.endswith(".yaml") and (body := yaml.safe_load(text))]


def kinds(manifests: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {manifest["kind"]: manifest for manifest in manifests}


EVERYTHING: dict[str, Any] = {
    "replicaCount": 3,
    "autoscaling": {"enabled": True},
    "settings": {"MAX_IMAGE_BYTES": 67108864, "EXTRA_PLUGINS": " ", "COMMERCIAL_ONLY": True},
    "extraEnv": [{"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}],
    "imagePullSecrets": [{"name": "registry"}],
    "podLabels": {"team": "faces"},
    "podAnnotations": {"note": "x"},
    "nodeSelector": {"kubernetes.io/arch": "arm64"},
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {}}
    ],
    "priorityClassName": "high",
    "runtimeClassName": "nvidia",
    "resources": {"limits": {"nvidia.com/gpu": 1}},
}


@pytest.mark.parametrize("values", [{}, {"replicaCount": 2}, EVERYTHING], ids=["default", "two pods", "everything"])
def test_kubernetes_accepts_what_the_chart_makes(values: dict[str, Any]) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason=NEEDS_EXTRA)
    for manifest, version in itertools.product(render(**values), ("1.29", kubernetes_validate.latest_version())):
        kubernetes_validate.validate(manifest, version, strict=True)


def test_helm_finds_nothing_to_mend() -> None:
    chart = pytest.importorskip("helm_python.chart", reason=NEEDS_EXTRA)
    report = chart.lint(CHART, EVERYTHING, strict=True)
    assert report["errors"] == []
    assert [message for message in report["messages"] if message["severity"] > 1] == []


def test_pods_are_probed_and_may_do_nothing_but_compute() -> None:
    pod = kinds(render())["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert pod["securityContext"]["runAsNonRoot"]
    user = re.search(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)
    assert user
    assert user.groups() == (str(pod["securityContext"]["runAsUser"]), str(pod["securityContext"]["runAsGroup"]))
    assert {variable["name"] for variable in container["env"]} <= VARIABLES


def test_settings_reach_the_service_as_they_are_written() -> None:
    (container,) = kinds(render(**EVERYTHING))["Deployment"]["spec"]["template"]["spec"]["containers"]
    environment = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert environment["MAX_IMAGE_BYTES"] == "67108864"
    assert environment["EXTRA_PLUGINS"] == " "
    assert environment["COMMERCIAL_ONLY"] == "true"


def test_one_pod_may_be_moved_and_of_several_only_some_at_once() -> None:
    assert "PodDisruptionBudget" not in kinds(render())
    assert "PodDisruptionBudget" in kinds(render(replicaCount=2))
    scaled = kinds(render(**EVERYTHING))
    assert scaled["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == "faces-embedding-calculator"
    assert "replicas" not in scaled["Deployment"]["spec"], "or every upgrade would undo the autoscaler's choice"
    assert "PodDisruptionBudget" in scaled


def test_a_setting_that_does_not_exist_is_refused_before_anything_is_installed() -> None:
    errors = pytest.importorskip("helm_python.errors", reason=NEEDS_EXTRA)
    with pytest.raises(errors.HelmValuesError, match="IMG_LENGHT_LIMIT"):
        render(settings={"IMG_LENGHT_LIMIT": 640})


def test_the_chart_knows_the_settings_and_the_version() -> None:
    schema = load_yaml(CHART / "values.schema.json")
    known = schema["properties"]["settings"]["propertyNames"]["enum"]
    assert known == sorted(VARIABLES - {"ML_PORT"}), "values.schema.json lists all settings but ML_PORT, which it sets"
    project = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert project
    assert load_yaml(CHART / "Chart.yaml")["appVersion"] == project[1]


def section(title: str) -> str:
    """The text under a heading of docs/deployment.md, down to the next one."""
    text = (ROOT / "docs/deployment.md").read_text()
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"docs/deployment.md has no section {title!r}"
    return found[1]
