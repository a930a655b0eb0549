"""The client gives what the Tagger gives, and tries again where that helps."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from pathlib import Path

import httpx
import pytest
from conftest import Replica
from small_corpus import make_documents

from kogner_ray.client import AsyncClient, Client, Retries, ServiceError
from kogner_ray.tagger import Tagger
from kogner_ray.tagging import TaggedEntity, TagRequest

TEXTS = [document.text for document in make_documents(40, seed=6)]
SOON = Retries(most=4, first_pause_s=0.05)


def places(tagged: list[list[TaggedEntity]]) -> list[list[tuple[object, ...]]]:
    return [[(e.start, e.end, e.text, e.type, e.kg_id) for e in own] for own in tagged]


@pytest.fixture(scope="module")
def expected(tiny_checkpoint: Path) -> list[list[tuple[object, ...]]]:
    return places(Tagger.load(tiny_checkpoint).tag(TEXTS, threshold=0.3))


def test_both_clients_give_what_the_tagger_gives(replica: Replica, expected: list[list[tuple[object, ...]]]) -> None:
    address, request = str(replica().base_url), TagRequest(TEXTS, threshold=0.3)
    with Client(address) as client:
        assert places(client.tag(request)) == expected
        streamed = dict(client.stream(request))
        assert places([streamed[index] for index in range(len(TEXTS))]) == expected
        assert client.models()[0]["name"] == "default"

    async def run() -> None:
        async with AsyncClient(address) as client:
            both = await asyncio.gather(client.tag(request), client.tag(request))
            assert [places(found) for found in both] == [expected, expected]
            streamed = {index: entities async for index, entities in client.stream(request)}
            assert places([streamed[index] for index in range(len(TEXTS))]) == expected

    asyncio.run(run())


def test_refusals_are_typed_and_not_repeated(replica: Replica) -> None:
    with Client(str(replica().base_url)) as client:
        with pytest.raises(ServiceError, match="threshold") as refused:
            client.tag(TagRequest(["x"], threshold=7))
        assert refused.value.status == 422
        with pytest.raises(ServiceError, match="per_type_thresholds"):
            list(client.stream(TagRequest(["x"], per_type_thresholds={"Unknown": 0.5})))
        with pytest.raises(ServiceError, match="no entity"):
            client.entity("no/such entity?")


def test_nobody_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    with Client(address, retries=SOON) as client, pytest.raises(ServiceError, match="no answer after 5 tries"):
        client.tag(TagRequest(["x"]))


class Breaking:
    """In front of a service: cuts the first connections after some bytes of the answer."""

    def __init__(self, target: httpx.URL, *, cuts: list[int]) -> None:
        self._target, self.cuts = (target.host, target.port or 80), cuts
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            caller, _ = self._socket.accept()
            left = self.cuts.pop(0) if self.cuts else 1 << 40
            server = socket.create_connection(self._target)
            threading.Thread(target=self._pass_on, args=(caller, server), daemon=True).start()
            threading.Thread(target=self._answer, args=(server, caller, left), daemon=True).start()

    @staticmethod
    def _pass_on(caller: socket.socket, server: socket.socket) -> None:
        try:
            while part := caller.recv(1 << 16):
                server.sendall(part)
        except OSError:
            pass

    @staticmethod
    def _answer(server: socket.socket, caller: socket.socket, left: int) -> None:
        try:
            while left > 0 and (part := server.recv(min(left, 1 << 16))):
                caller.sendall(part)
                left -= len(part)
        except OSError:
            pass
        for end in (caller, server):  # a mere `close` leaves it open while the other thread reads
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def test_broken_connections_cost_another_try(replica: Replica, expected: list[list[tuple[object, ...]]]) -> None:
    breaking = Breaking(replica().base_url, cuts=[0, 100, 3000, 5000])
    with Client(breaking.address, retries=Retries(most=8, first_pause_s=0.05)) as client:
        found = list(client.stream(TagRequest(TEXTS, threshold=0.3)))
        assert breaking.cuts == []
        assert sorted(index for index, _ in found) == list(range(len(TEXTS))), "each text once"
        assert places([entities for _, entities in sorted(found, key=lambda item: item[0])]) == expected
        breaking.cuts += [0, 200]
        client_again = Client(breaking.address, retries=SOON)
        assert places(client_again.tag(TagRequest(TEXTS, threshold=0.3))) == expected
        assert breaking.cuts == []
