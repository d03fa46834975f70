"""Every setting: its variable, its default and what it means. docs/configuration.md is generated from here."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from platformdirs import user_cache_path
from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from embedding_calculator.errors import ConfigurationError


def _split(value: Any) -> Any:
    """Lists are split on commas and blanks, as the original did; a lone blank is the empty list."""
    return tuple(re.findall(r"[^,\s]+", value)) if isinstance(value, str) else value


def _split_paths(value: Any) -> Any:
    """Folders are split on commas alone: their names may hold blanks."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _lenient_bool(value: Any) -> Any:
    """``true`` and ``1`` in any case are true, everything else is false, as the original read them."""
    return value.strip().lower() in {"true", "1"} if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Secrets = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_split)]
Folders = Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_split_paths)]
Flag = Annotated[bool, BeforeValidator(_lenient_bool)]
Level = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)]


def granted_cpus() -> int:
    """Processors this process may really use: the affinity mask, cut by the cgroup's CPU quota (version 1 or 2)."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_quota()
    return max(1, min(cpus, round(quota))) if quota else cpus


def _cgroup_quota() -> float | None:
    v2, v1 = Path("/sys/fs/cgroup/cpu.max"), Path("/sys/fs/cgroup/cpu")
    try:
        if v2.exists():
            limit, period = v2.read_text().split()
        else:
            limit, period = ((v1 / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return int(limit) / int(period) if limit.strip() not in {"max", "-1"} else None
    except (OSError, ValueError):
        return None


def granted_memory() -> int:
    """Bytes of memory this process may really use: what the machine has, cut by the cgroup's limit (version 1 or 2)."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 4 * 2**30
    for limit in (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")):
        try:
            return min(there, int(limit.read_text()))
        except (OSError, ValueError):  # No such version of cgroups, or "max".
            continue
    return there


def _spare_files() -> int:
    """Connections that leave enough file descriptors for everything else."""
    try:
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    except ImportError:
        return 1000
    return 4096 if soft == resource.RLIM_INFINITY else max(16, min(4096, soft - 128))


class Settings(BaseSettings):
    """Read from the environment; an empty variable counts as unset. Names and meanings follow the original."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    def __init__(self, **values: Any) -> None:
        """What ``values`` does not say comes from the environment.

        Raises:
            ConfigurationError: there is no such setting, or a value cannot be used; the text names it.
        """
        if unknown := sorted(values.keys() - type(self).model_fields.keys()):
            raise ConfigurationError(f"there is no setting {unknown[0]!r}")
        try:
            super().__init__(**values)
        except ValidationError as error:
            told = (
                f"{str(one['loc'][0]).upper()}: {one['msg']}, not {one['input']!r}"
                for one in error.errors()
                if one["type"] != "default_factory_not_called"  # Only a consequence of another one.
            )
            raise ConfigurationError("; ".join(told)) from None

    ml_host: str = Field("0.0.0.0", description="Address the service listens on.")
    ml_port: int = Field(3000, ge=0, le=65535, description="Port the service listens on.")
    uwsgi_processes: int = Field(
        1, ge=1, description="Worker processes. One is enough: its threads use all processors and share the models."
    )
    uwsgi_threads: int = Field(
        default_factory=granted_cpus,
        ge=1,
        description="Photos computed at once in one process; by default the processors that the system grants.",
    )

    face_detection_plugin: Names = Field(
        ("opencv_zoo.FaceDetector",),
        description="The detector, `family.Class[@model]`; of several, separated by commas, the first is the default.",
    )
    calculation_plugin: Names = Field(
        ("opencv_zoo.Calculator",), description="What computes embeddings; of several the first is the default."
    )
    extra_plugins: Names = Field(
        (
            "opencv_zoo.LandmarksDetector",
            "dlib_zoo.AgeDetector",
            "dlib_zoo.GenderDetector",
            "opencv_zoo.PoseEstimator",
        ),
        description="Everything else that can be asked for, separated by commas or blanks; a single blank means none.",
    )
    img_length_limit: int = Field(
        640,
        ge=0,
        description="Longest side, in pixels, at which faces are searched; 0 searches at full size, up to 4096.",
    )
    exif_orientation: Literal["apply", "ignore"] = Field(
        "apply", description="`ignore` leaves phone photos as stored, sideways, as the original did."
    )
    max_image_bytes: int = Field(
        64 * 2**20, ge=1, description="Largest upload, in bytes; larger ones are refused with 413."
    )
    max_image_pixels: int = Field(
        178_956_970,
        ge=1,
        le=178_956_970,
        description="Most pixels a picture may declare; larger ones are refused before decoding. No decoder here takes "
        "more than the default.",
    )

    gpu_idx: int | None = Field(
        None,
        description="Index of the GPU to compute on (CUDA by `onnxruntime-gpu`; CoreML on a Mac), or a start-up error "
        "where it cannot be used. Empty or below 0: the processor.",
    )
    gpu_memory_limit_mb: int | None = Field(
        None, ge=1, description="Most memory, in MiB, that each network may take of the GPU; empty: no limit."
    )
    intel_optimization: Flag | None = Field(
        None,
        description="`true`: every network runs on OpenVINO, or start-up fails; anything else: none does. Empty: each "
        "network runs on the engine that suits it and the processor, as measured by `tune` or on other machines.",
    )
    inference_precision: Annotated[Literal["auto", "f32", "int8"], BeforeValidator(_lower)] = Field(
        "auto",
        description="`auto` multiplies in bf16 where the processor can and a network's answers do not suffer from it; "
        "`f32` never does; `int8` runs what has an INT8 variant (`models quantize`) in INT8, and the rest as `auto`.",
    )
    queue_limit: int = Field(
        default_factory=lambda fields: 16 * fields.get("uwsgi_threads", 1),
        ge=0,
        description="Photos that may wait for a thread in one process; more are refused at once with 503. By default "
        "16 for each thread.",
    )
    request_timeout: float = Field(
        60,
        ge=0,
        allow_inf_nan=False,
        description="Seconds from the end of an upload to its answer; later it is 503, and what was not computed by "
        "then is dropped. 0 waits for ever. The Java client waits 60.",
    )
    client_timeout: float = Field(
        10,
        gt=0,
        allow_inf_nan=False,
        description="Seconds in which a client must send its headers, each further 64 KiB of its body, or take more of "
        "its answer; slower ones are disconnected.",
    )
    max_connections: int = Field(
        default_factory=_spare_files,
        ge=1,
        description="Connections open at once in one process; more are closed unanswered. By default what the limit on "
        "file descriptors leaves, at most 4096.",
    )
    max_bytes_in_flight: int | None = Field(
        None,
        ge=1,
        description="Bytes of uploads that one process holds at once; more are refused with 503. By default a "
        "sixteenth of the memory that the system grants, shared by the processes.",
    )
    max_pixels_in_flight: int | None = Field(
        None,
        ge=1,
        description="Declared pixels, of 8 bytes of memory each, of the pictures that one process decodes at once; "
        "kinds that take more or less memory to decode count accordingly. A picture beyond them waits, one that has "
        "more alone runs alone. By default a third of the memory, shared by the processes.",
    )
    max_batch_bytes: int = Field(
        256 * 2**20, ge=1, description="Largest body of a batch, in bytes, and all that its zip may unpack to."
    )
    max_batch_photos: int = Field(1000, ge=1, description="Most photos in one batch.")
    grace_period: int = Field(
        25, ge=0, description="Seconds that running requests have to finish after SIGTERM, before they are cut off."
    )
    api_keys: Secrets = Field(
        (),
        description="Keys, separated by commas or blanks, of which each request must carry one in `x-api-key`; health "
        "checks and the page `/apidocs` need none. Empty: everybody may ask.",
    )
    cors_origins: Names = Field(
        (), description="Origins whose pages may ask from a browser, `*` for all; by default none."
    )

    models_dir: Path = Field(
        default_factory=lambda: user_cache_path("embedding-calculator") / "models",
        description="Where models are kept once fetched and verified.",
    )
    models_source: Folders = Field(
        (), description="Folders searched for published model files before the network, for machines without one."
    )
    model_catalog: Folders = Field((), description="Folders with further catalogue files (`*.toml`): your own models.")
    accept_model_licences: Flag = Field(
        False, description="`true` accepts licences that forbid commercial use when models are pulled."
    )

    commercial_only: Flag = Field(False, description="`true` pulls only models that are cleared for commercial use.")

    logging_level_name: Level = Field("INFO", description="Least severity that is logged.")
    flask_env: str = Field(
        "production",
        description="`development` logs lines for people, with tracebacks, even where there is no terminal; they are "
        "coloured only at one.",
    )
    app_version_string: str = Field("dev", description="`build_version` in `/status` and in every log line.")
    be_version: str | None = Field(None, description="A warning is logged at start if it differs from the above.")
