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
    from embedding_calculator.http.logs import configure
    from embedding_calculator.http.tracing import require_tracing
    from embedding_calculator.settings import Settings

    if (tls_cert is None) != (tls_key is None):
        raise typer.BadParameter("--tls-cert and --tls-key go together")
    settings = Settings()
    address = host or settings.ml_host, settings.ml_port if port is None else port
    _refuse_taken(*address)
    several = settings.uwsgi_processes > 1
    with tempfile.TemporaryDirectory(prefix="embedding-calculator-") as counts:
        if several:
            # Each worker opens the models for itself; what is missing is told once, here, and not by every worker.
            require_models(settings)
            require_tracing(os.environ)
            # Where the workers add up what /metrics tells; it must be known before they import anything.
            os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", counts)
            configure(settings)  # This process tells where they listen; each of them does the same for itself.

        from embedding_calculator.http.server import options, worker

        uvicorn.run(
            "embedding_calculator.http.server:worker" if several else worker(),
            factory=several,
            workers=settings.uwsgi_processes if several else None,
            host=address[0],
            port=address[1],
            ssl_certfile=tls_cert,
            ssl_keyfile=tls_key,
            **options(settings),
        )


def _refuse_taken(host: str, port: int) -> None:
    """Tell at once, and not after all models are open, that nobody can listen there.

    Raises:
        ConfigurationError: the port is taken, or is not for this user, or there is no such address.
    """
    import socket

    from embedding_calculator.errors import ConfigurationError

    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {host} port {port}: {error.strerror}; ML_PORT chooses another port"
        ) from error
