"""The application: an analyzer, the routes and the shell around them, put together."""

from __future__ import annotations

import structlog
from anyio import CapacityLimiter
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from embedding_calculator.engine.assembly import build
from embedding_calculator.engine.choices import Choices
from embedding_calculator.http import errors, openapi
from embedding_calculator.http.logs import configure
from embedding_calculator.http.routes import router
from embedding_calculator.http.service import Service
from embedding_calculator.http.shell import Shell
from embedding_calculator.settings import Settings


def create_app(choices: Choices | None = None, settings: Settings | None = None) -> FastAPI:
    """The service, with every model open and warm.

    Raises:
        ConfigurationError: the settings name what does not exist.
        ModelError: a model is missing or damaged.
    """
    settings = settings or Settings()
    configure(settings)
    if settings.be_version and settings.be_version != settings.app_version_string:
        structlog.get_logger(__name__).warning(
            "BE_VERSION differs from APP_VERSION_STRING", be_version=settings.be_version
        )
    # The pages of the documentation come from the package, so that they open where there is no internet.
    app = FastAPIOffline(
        docs_url="/apidocs", redoc_url=None, openapi_url="/frs-core-api.json", redirect_slashes=False, **openapi.ABOUT
    )
    app.state.service = Service(choices or build(settings), settings, CapacityLimiter(settings.uwsgi_threads))
    app.include_router(router)
    app.add_middleware(Shell)
    errors.install(app)
    return app
