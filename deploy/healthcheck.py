#!/usr/bin/env python3
"""Exits 0 where the service in this container answers: the image has Python, but no curl.

Only http.client is imported, so that a check every ten seconds costs next to nothing.
"""

import http.client
import os
import sys


def healthy(host: str = "127.0.0.1", timeout: float = 2.0) -> bool:
    """Whether ``/healthcheck`` at ``ML_PORT`` (3000 where it is empty or unset) says 200 within ``timeout`` seconds."""
    connection = http.client.HTTPConnection(host, int(os.environ.get("ML_PORT") or 3000), timeout=timeout)
    try:
        connection.request("GET", "/healthcheck")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if healthy() else 1)
