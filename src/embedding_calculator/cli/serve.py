"""``embedding-calculator serve``."""

from __future__ import annotations

from typing import Annotated

import typer


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; default: ML_HOST, 0.0.0.0.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; default: ML_PORT, 3000.")] = None,
) -> None:
    """Serve the HTTP interface. Everything else is set by environment variables: see docs/configuration.md.

    Example: ML_PORT=8080 embedding-calculator serve
    """
    import uvicorn

    from embedding_calculator.engine.assembly import require_models
    from embedding_calculator.http.app import create_app
    from embedding_calculator.settings import Settings

    settings = Settings()
    several = settings.uwsgi_processes > 1
    if several:
        # Each worker opens the models for itself; what is missing is told once, here, and not by every worker.
        require_models(settings)
    uvicorn.run(
        "embedding_calculator.http.app:create_app" if several else create_app(settings=settings),
        factory=several,
        workers=settings.uwsgi_processes if several else None,
        host=host or settings.ml_host,
        port=settings.ml_port if port is None else port,
        log_config=None,
        access_log=False,
        server_header=False,
    )
