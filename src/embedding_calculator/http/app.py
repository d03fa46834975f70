"""The application: an analyzer, the routes and the shell around them, put together."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import FrameType

import structlog
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi_offline import FastAPIOffline
from starlette.types import Lifespan

from embedding_calculator.engine.admission import Admission
from embedding_calculator.engine.assembly import build
from embedding_calculator.engine.choices import Choices
from embedding_calculator.http import batch, errors, openapi, routes
from embedding_calculator.http.keys import OPEN_PATHS, Keys
from embedding_calculator.http.logs import configure
from embedding_calculator.http.memory import trim_regularly
from embedding_calculator.http.metrics import Metrics
from embedding_calculator.http.service import Service
from embedding_calculator.http.shell import Shell
from embedding_calculator.http.tracing import tracing_of
from embedding_calculator.settings import Settings


def create_app(choices: Choices | None = None, settings: Settings | None = None) -> FastAPI:
    """The service, with every model open and warm.

    Raises:
        ConfigurationError: the settings name what does not exist, or tracing is asked for and cannot be had.
        ModelError: a model is missing or damaged.
    """
    start = time.perf_counter()
    settings = settings or Settings()
    configure(settings)
    if settings.be_version and settings.be_version != settings.app_version_string:
        structlog.get_logger(__name__).warning(
            "BE_VERSION differs from APP_VERSION_STRING", be_version=settings.be_version
        )
    tracing = tracing_of(os.environ)
    choices = choices or build(settings)
    admission = Admission.of(settings)
    metrics = Metrics(admission, choices)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        structlog.get_logger(__name__).info(
            "models are open and warm",
            plugins=list(choices.named().versions.values()),
            engines=_engines(choices),
            seconds=round(time.perf_counter() - start, 1),
        )
        trimming = asyncio.create_task(trim_regularly())
        with _told_to_stop(admission), tracing:
            yield
        trimming.cancel()

    app = interface(with_keys=bool(settings.api_keys), lifespan=lifespan)
    app.state.service = Service(choices, settings, admission, metrics, tracing)
    if settings.api_keys:
        app.add_middleware(Keys, keys=[key.get_secret_value() for key in settings.api_keys])
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=["Retry-After", "Server-Timing", "X-Reason", "X-Request-Id"],
        )
    app.add_middleware(Shell, metrics=metrics, tracing=tracing)
    errors.install(app, metrics)
    return app


def interface(*, with_keys: bool, lifespan: Lifespan[FastAPI] | None = None) -> FastAPI:
    """Every route and its documentation, with nothing behind them yet."""
    # The pages of the documentation come from the package, so that they open where there is no internet.
    app = FastAPIOffline(
        docs_url="/apidocs",
        redoc_url=None,
        openapi_url="/frs-core-api.json",
        redirect_slashes=False,
        lifespan=lifespan,
        **openapi.ABOUT,
    )
    app.include_router(routes.router)
    app.include_router(batch.router)
    if with_keys:
        openapi.with_keys(app.openapi(), free=OPEN_PATHS)  # FastAPI keeps the document that it has made once.
    return app


def _engines(choices: Choices) -> dict[str, str]:
    """Model -> on what it runs."""
    return {
        model: ", ".join(sorted({f"{running.engine} {running.precision}" for running in networks.values()}))
        for model, networks in choices.running.items()
    }


@contextmanager
def _told_to_stop(admission: Admission) -> Iterator[None]:
    """Let the readiness check know of SIGTERM at once; what the server does about it comes after."""
    if threading.current_thread() is not threading.main_thread():  # Only the main thread hears signals.
        yield
        return
    server = signal.getsignal(signal.SIGTERM)

    def on_signal(number: int, frame: FrameType | None) -> None:
        admission.draining = True
        if callable(server):
            server(number, frame)

    signal.signal(signal.SIGTERM, on_signal)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, server)
