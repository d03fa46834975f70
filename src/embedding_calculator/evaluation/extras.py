"""What the tools need beyond the service: an optional part of the installation, and a sentence where it is absent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from embedding_calculator.errors import ConfigurationError, install_extra


@contextmanager
def tools_extra() -> Iterator[None]:
    """Import packages of the extra ``tools`` inside.

    Raises:
        ConfigurationError: one is not installed; the text says how to get it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"this tool needs more packages than the service does; run, {install_extra('tools')} "
            f"({error.name} is not installed)"
        ) from error


def require_reports() -> None:
    """Before hours of work: make sure that the report at its end can be written.

    Raises:
        ConfigurationError: the extra ``tools`` is not installed.
    """
    with tools_extra():
        import jinja2  # noqa: F401
        import matplotlib as mpl  # noqa: F401
