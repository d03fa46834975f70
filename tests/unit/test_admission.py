"""Overload, clients that leave, clients that dawdle: what is refused, what is dropped, and that nothing is lost."""

from __future__ import annotations

import io
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from PIL import Image

from embedding_calculator.engine.admission import Admission, Budget
from embedding_calculator.engine.timing import Stopwatch
from embedding_calculator.errors import AbandonedError, BusyError
from embedding_calculator.http.server import MAX_HEADER_BYTES
from embedding_calculator.http.service import Service
from fakes import fake_choices
from serving import Gate, serving, wait_for


def png(size: tuple[int, int] = (100, 90)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, (200, 200, 200)).save(stream, "PNG")
    return stream.getvalue()


PICTURE = png()


def ask(url: str, data: bytes = PICTURE, **query: str) -> httpx.Response:
    return httpx.post(url + "/find_faces", params={"face_plugins": "age", **query}, files={"file": ("a", data)})


@contextmanager
def clients(count: int) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(count) as pool:
        yield pool


def refusal(response: httpx.Response, reason: str) -> None:
    assert response.status_code == 503
    assert response.headers["x-reason"] == reason
    assert int(response.headers["retry-after"]) >= 1
    assert list(response.json()) == ["message"]
    assert response.json()["message"].startswith("503 Service Unavailable: ")


# ---------------------------------------------------------------- the queue


def test_a_burst_fills_the_queue_and_no_more_and_nobody_in_it_is_lost() -> None:
    gate = Gate()
    with serving(fake_choices(gate), uwsgi_threads=2, queue_limit=3) as (url, service), clients(30) as pool:
        accepted = [pool.submit(ask, url) for _ in range(5)]
        wait_for(lambda: (service.admission.running, service.admission.waiting) == (2, 3))
        for response in pool.map(lambda _: ask(url), range(20)):
            refusal(response, "queue_full")
        # Who only asks how it goes waits for nobody.
        for path in ("/healthcheck", "/livez", "/readyz", "/status", "/metrics"):
            assert httpx.get(url + path).status_code == 200
        gate.open.set()
        assert [answer.result().status_code for answer in accepted] == [200] * 5
        assert ask(url).status_code == 200
        assert gate.faces_seen == [2] * 6
        wait_for(lambda: service.admission.bytes.in_use == service.admission.pixels.in_use == 0)


def test_without_a_queue_there_are_only_the_threads() -> None:
    gate = Gate()
    with serving(fake_choices(gate), uwsgi_threads=1, queue_limit=0) as (url, service), clients(1) as pool:
        first = pool.submit(ask, url)
        wait_for(lambda: service.admission.running == 1)
        refusal(ask(url), "queue_full")
        gate.open.set()
        assert first.result().status_code == 200


def test_who_waits_too_long_is_told_and_never_computed() -> None:
    gate = Gate()
    settings = {"uwsgi_threads": 1, "request_timeout": 0.2}
    with serving(fake_choices(gate), **settings) as (url, service), clients(3) as pool:
        for response in pool.map(lambda _: ask(url), range(3)):
            refusal(response, "deadline")
        gate.open.set()
        wait_for(lambda: service.admission.running == 0)
        assert len(gate.faces_seen) == 1  # The one that had a thread; the others were taken out of the queue.


def test_clients_that_leave_the_queue_are_never_computed() -> None:
    gate = Gate()
    with serving(fake_choices(gate), uwsgi_threads=1) as (url, service), clients(1) as pool:
        first = pool.submit(ask, url)
        wait_for(lambda: service.admission.running == 1)
        body = b"--b\r\nContent-Disposition: form-data; name=file; filename=a\r\n\r\n" + PICTURE + b"\r\n--b--\r\n"
        leaving = [open_socket(url) for _ in range(4)]
        for client in leaving:
            client.sendall(
                b"POST /find_faces?face_plugins=age HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n"
                b"Content-Type: multipart/form-data; boundary=b\r\n\r\n" % len(body) + body
            )
        wait_for(lambda: service.admission.waiting == 4)
        for client in leaving:
            client.close()
        wait_for(lambda: service.admission.waiting == 0)
        gate.open.set()
        assert first.result().status_code == 200
        assert ask(url).status_code == 200
        assert len(gate.faces_seen) == 2
        assert "embedding_calculator_abandoned_total 4.0" in httpx.get(url + "/metrics").text


def test_readiness_ends_when_the_service_is_told_to_stop() -> None:
    with serving(fake_choices()) as (url, service):
        assert httpx.get(url + "/readyz").status_code == 200
        service.admission.draining = True
        refusal(httpx.get(url + "/readyz"), "shutting_down")
        assert httpx.get(url + "/livez").status_code == 200
        assert ask(url).status_code == 200


# ---------------------------------------------------------------- memory


def test_uploads_share_a_bounded_room() -> None:
    with serving(fake_choices(), max_bytes_in_flight=10_000) as (url, service), open_socket(url) as dawdler:
        dawdler.sendall(
            b"POST /find_faces HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n\r\n" + b"--b\r\n\r\n" + bytes(9000)
        )
        wait_for(lambda: service.admission.bytes.in_use > 9000)
        refusal(ask(url, bytes(5000)), "bytes_in_flight")  # Told by its declared length, before it was read.

        def undeclared() -> Iterator[bytes]:
            yield from (bytes(1000) for _ in range(5))

        headers = {"content-type": "multipart/form-data; boundary=b"}
        refusal(httpx.post(url + "/find_faces", content=undeclared(), headers=headers), "bytes_in_flight")
        dawdler.close()
        wait_for(lambda: service.admission.bytes.in_use == 0)
        assert ask(url).status_code == 200


def test_pictures_beyond_the_pixels_in_flight_wait_for_each_other() -> None:
    gate = Gate()
    settings = {"uwsgi_threads": 4, "max_pixels_in_flight": 20_000}  # Two pictures of 9,000.
    with serving(fake_choices(gate), **settings) as (url, service), clients(5) as pool:
        answers = [pool.submit(ask, url) for _ in range(4)]
        wait_for(lambda: service.admission.running == 4)
        wait_for(lambda: len(gate.faces_seen) == 2)
        assert service.admission.pixels.in_use == 18_000
        gate.open.set()
        assert {answer.result().status_code for answer in answers} == {200}
        assert service.admission.pixels.in_use == 0
        assert ask(url, png((300, 200))).status_code == 200  # More than there is at all: alone.


def test_a_budget_serves_in_order_and_the_too_large_alone() -> None:
    budget = Budget(10)
    budget.take(8, lambda: None)
    order: list[int] = []

    def take(amount: int) -> None:
        budget.take(amount, lambda: None)
        order.append(amount)

    threads = []
    for amount in (25, 3):
        threads.append(threading.Thread(target=take, args=(amount,)))
        threads[-1].start()
        wait_for(lambda: len(budget._line) == len(threads))
    assert budget.try_take(2)
    assert not budget.try_take(1)
    budget.give_back(10)
    wait_for(lambda: order == [25])
    budget.give_back(25)
    for thread in threads:
        thread.join(30)
    assert order == [25, 3]
    assert budget.in_use == 3


def test_who_gives_up_waiting_leaves_the_line() -> None:
    admission = Admission(1, 1, timeout=0, max_bytes=10, max_pixels=10)
    admission.pixels.take(10, lambda: None)
    ticket = admission.open(0, Stopwatch())
    ticket.abandon()
    with pytest.raises(AbandonedError):
        ticket.take_pixels(5)
    admission.pixels.give_back(10)
    assert admission.pixels.try_take(10)
    assert admission.pixels.in_use == 10


def test_tickets_are_released_once() -> None:
    admission = Admission(1, 0, timeout=0, max_bytes=10, max_pixels=10)
    ticket = admission.open(5, Stopwatch())
    ticket.grow(5)
    admission.seat(ticket)
    with pytest.raises(BusyError) as refused:
        admission.open(1, Stopwatch())
    assert refused.value.reason == "queue_full"
    ticket.release()
    ticket.release()
    assert admission.bytes.in_use == 0
    admission.open(10, Stopwatch())


# ---------------------------------------------------------------- slow and hostile connections


def open_socket(url: str) -> socket.socket:
    host, _, port = url.removeprefix("http://").partition(":")
    client = socket.create_connection((host, int(port)), timeout=30)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def everything_from(client: socket.socket) -> bytes:
    received = b""
    try:
        while data := client.recv(65536):
            received += data
    except ConnectionResetError:
        pass
    return received


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b"GET /sta",
        b"GET /status HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        b"POST /find_faces HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n",
        b"POST /find_faces_base64 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n",
    ],
    ids=["silent", "request line", "headers", "body", "chunks"],
)
def test_a_client_that_dawdles_is_disconnected_and_honest_ones_go_on(beginning: bytes) -> None:
    with serving(fake_choices(), client_timeout=0.3) as (url, service), open_socket(url) as client:
        client.sendall(beginning)
        assert ask(url).status_code == 200
        answer = everything_from(client)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert answer.endswith(b'{"message":"408 Request Timeout: the request arrives too slowly"}\n')
        wait_for(lambda: service.admission.bytes.in_use == 0)
        assert httpx.get(url + "/livez").status_code == 200


def test_a_byte_now_and_then_is_no_progress() -> None:
    with serving(fake_choices(), client_timeout=0.4) as (url, _), open_socket(url) as client:
        head = b"POST /find_faces HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        client.sendall(head + b"Content-Length: 100000\r\n\r\n--b\r\n\r\n")
        client.settimeout(0.05)
        for _ in range(200):
            try:
                client.sendall(b"-")
                answer = client.recv(1000)
            except TimeoutError:
                continue
            break
        assert answer.startswith(b"HTTP/1.1 408 ")


def test_who_waits_for_a_slow_answer_is_not_called_slow() -> None:
    gate = Gate()
    with serving(fake_choices(gate), client_timeout=0.1) as (url, service), clients(1) as pool:
        answer: Future[Any] = pool.submit(ask, url)
        wait_for(lambda: service.admission.running == 1)
        threading.Event().wait(0.4)
        gate.open.set()
        assert answer.result().status_code == 200


def test_header_floods_are_cut_off() -> None:
    many = b"".join(b"X-%d: 1\r\n" % number for number in range(20_000))
    with serving(fake_choices()) as (url, _):
        tiny = b"a:\r\n" * 60_000  # Each within the limit: what is done for one must not grow with their number.
        for flood in (
            many,
            tiny,
            b"X: " + bytes([97]) * (MAX_HEADER_BYTES * 8),
            b"X: " + b"a" * (MAX_HEADER_BYTES + 1),
        ):
            with open_socket(url) as client:
                try:
                    client.sendall(b"GET /status HTTP/1.1\r\nHost: x\r\n" + flood + b"\r\n\r\n")
                except ConnectionError:
                    continue
                answer = everything_from(client)
            assert not answer or answer.startswith(b"HTTP/1.1 400 ")
        assert httpx.get(url + "/status").status_code == 200


def test_what_is_no_http_is_told_in_the_contracts_form() -> None:
    with serving(fake_choices()) as (url, _), open_socket(url) as client:
        client.sendall(b"\x16\x03\x01 no http\r\n\r\n")
        answer = everything_from(client)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert answer.endswith(b'{"message":"400 Bad Request: Invalid HTTP request received."}\n')


def test_connections_beyond_the_limit_are_closed_at_once() -> None:
    with serving(fake_choices(), max_connections=3) as (url, _):
        held = [open_socket(url) for _ in range(3)]
        for client in held:  # An answer each, so that the server has seen them all.
            client.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(1000).startswith(b"HTTP/1.1 200")
        with open_socket(url) as more:
            assert everything_from(more) == b""
        for client in held:
            client.close()
        wait_for(lambda: status_or_none(url) == 200)


def status_or_none(url: str) -> int | None:
    try:
        return httpx.get(url + "/livez").status_code
    except httpx.TransportError:
        return None


def test_hundreds_of_rude_clients_leave_nothing_behind() -> None:
    with serving(fake_choices(), uwsgi_threads=2, queue_limit=8) as (url, service), clients(16) as pool:

        def rude(number: int) -> int:
            if number % 3:
                return ask(url).status_code
            with open_socket(url) as client:
                client.sendall(b"POST /find_faces HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nx"[: 20 + number])
            return 0

        seen = Counter(pool.map(rude, range(200)))
        assert set(seen) <= {0, 200, 503}
        assert seen[200]
        wait_for(lambda: service.admission.bytes.in_use == service.admission.waiting == service.admission.running == 0)
        assert ask(url).status_code == 200


# ---------------------------------------------------------------- answers sent before their requests have arrived

REFUSALS: dict[str, tuple[dict[str, Any], bytes, bytes]] = {
    "too large": ({"max_image_bytes": 1000}, b"Content-Length: 8000000", b"413"),
    "no key": ({"api_keys": "secret"}, b"Content-Length: 8000000", b"401"),
    "no room": ({"max_bytes_in_flight": 1000}, b"Transfer-Encoding: chunked", b"503"),
}


def refused_request(headers: bytes) -> bytes:
    """The beginning of one that is answered early, and of a body that goes on."""
    head = b"POST /find_faces HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    chunk = b"7a1200\r\n" if b"chunked" in headers else b""  # 8,000,000 in hexadecimal.
    return head + headers + b"\r\n\r\n" + chunk


@contextmanager
def held_room(service: Service) -> Iterator[None]:
    """All bytes in flight are somebody else's."""
    service.admission.bytes.take(1000, lambda: None)
    try:
        yield
    finally:
        service.admission.bytes.give_back(1000)


@pytest.mark.parametrize("closing", [b"", b"\r\nConnection: close"], ids=["kept alive", "to be closed"])
@pytest.mark.parametrize("name", REFUSALS)
def test_who_sends_everything_first_and_reads_then_sees_the_refusal(name: str, closing: bytes) -> None:
    settings, headers, status = REFUSALS[name]
    with serving(fake_choices(), **settings) as (url, service), held_room(service), open_socket(url) as client:
        client.sendall(refused_request(headers + closing))
        for _ in range(8):  # Were the connection closed, sending would soon break.
            client.sendall(bytes(1_000_000))
            threading.Event().wait(0.02)
        client.sendall(b"\r\n0\r\n\r\n" if b"chunked" in headers else b"")
        if not closing:
            client.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = everything_from(client)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert (b"connection: close" in answer.partition(b"\r\n\r\n")[0]) == bool(closing)
    assert closing or answer.endswith(b'{"status":"OK"}\n')


@pytest.mark.parametrize("name", REFUSALS)
def test_who_goes_on_sending_after_a_refusal_is_disconnected(name: str) -> None:
    settings, headers, status = REFUSALS[name]
    with (
        serving(fake_choices(), max_batch_bytes=1_000_000, **settings) as (url, service),
        held_room(service),
        open_socket(url) as client,
    ):
        client.sendall(refused_request(headers) + bytes(1000))
        assert client.recv(1000).startswith(b"HTTP/1.1 " + status)
        with pytest.raises(ConnectionError):
            for _ in range(8):
                client.sendall(bytes(1_000_000))
                threading.Event().wait(0.02)
        assert httpx.get(url + "/livez").status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"--b\r\nContent-Disposition: form-data; name=x\r\n\r\n\r\n" * 5000 + b"--b--\r\n",
        b"--b\r\n" + b"X-A: b\r\n" * 20_000 + b"\r\n\r\n--b--\r\n",
        b"--b\r\nX-A: " + b"b" * 1_000_000 + b"\r\n\r\n\r\n--b--\r\n",
    ],
    ids=["parts", "headers of a part", "one header of a part"],
)
def test_thousands_of_parts_or_of_their_headers_are_refused(body: bytes) -> None:
    with serving(fake_choices()) as (url, service):
        headers = {"content-type": "multipart/form-data; boundary=b"}
        response = httpx.post(url + "/find_faces", content=body, headers=headers)
        assert response.status_code == 400
        assert response.json()["message"].startswith("400 Bad Request: The browser (or proxy) sent a request")
        assert service.admission.bytes.in_use == 0
        assert ask(url).status_code == 200
