"""``embedding-calculator serve``."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; default: ML_HOST, 0.0.0.0.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; default: ML_PORT, 3000.")] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="Certificate chain (PEM): serve HTTPS.", exists=True, dir_okay=False)
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(help="The certificate's private key (PEM).", exists=True, dir_okay=False)
    ] = None,
) -> None:
    """Serve the HTTP interface. Everything else is set by environment variables: see docs/configuration.md.

    Example: ML_PORT=8080 embedding-calculator serve
    """
    import uvicorn

    from embedding_calculator.engine.assembly import require_models
    from embedding_calculator.settings import Settings

    if (tls_cert is None) != (tls_key is None):
        raise typer.BadParameter("--tls-cert and --tls-key go together")
    settings = Settings()
    several = settings.uwsgi_processes > 1
    with tempfile.TemporaryDirectory(prefix="embedding-calculator-") as counts:
        if several:
            # Each worker opens the models for itself; what is missing is told once, here, and not by every worker.
            require_models(settings)
            # Where the workers add up what /metrics tells; it must be known before they import anything.
            os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", counts)

        from embedding_calculator.http.app import create_app
        from embedding_calculator.http.server import options, return_memory_promptly

        return_memory_promptly()
        uvicorn.run(
            "embedding_calculator.http.server:worker" if several else create_app(settings=settings),
            factory=several,
            workers=settings.uwsgi_processes if several else None,
            host=host or settings.ml_host,
            port=settings.ml_port if port is None else port,
            ssl_certfile=tls_cert,
            ssl_keyfile=tls_key,
            **options(settings),
        )
