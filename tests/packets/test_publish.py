"""A publication happens whole or not at all: B28."""

from typing import Any

import pytest

from fastpath import engine
from tests.packets.director import Director
from tests.packets.frames import OTHER_SERVER, SERVER, inbound, tcp, udp


def server(**changes: Any) -> engine.Server:
    return engine.Server(1, bytes([1, 1, 1, 4]), 80, 1)._replace(**changes)


def service(**changes: Any) -> engine.Service:
    return engine.Service(5, bytes([10, 0, 1, 5]), 80, engine.TCP, 0, 0, (server(),))._replace(**changes)


REFUSED = {
    "a service id too large": service(id=engine.MAX_SERVICES),
    "a negative service id": service(id=-1),
    "a protocol that is neither TCP nor UDP": service(protocol=1),
    "no such scheduler": service(scheduler=len(engine.SCHEDULERS)),
    "a service address of 16 bytes": service(address=bytes(16)),
    "a server address of 3 bytes": service(servers=(server(address=b"\1\1\1"),)),
    "a server id too large": service(servers=(server(id=engine.MAX_SERVERS),)),
    "a negative server id": service(servers=(server(id=-1),)),
    "a weight too large": service(servers=(server(weight=65536),)),
    "a negative weight": service(servers=(server(weight=-1),)),
}


@pytest.mark.parametrize("bad", REFUSED.values(), ids=REFUSED)
def test_one_bad_service_refuses_all(director: Director, bad: engine.Service) -> None:
    """B28: the good services beside a bad one are not published, the removal beside it is not done, the message names
    the value; what was there goes on."""
    director.service()
    director.send(inbound(tcp("S", sport=1)))
    good = service(id=6, address=bytes([10, 0, 1, 6]))
    for order in ([good, bad], [bad, good]):
        with pytest.raises(engine.EngineError, match=r"\d"):
            engine.publish(order, [0])
    director.send(inbound(tcp("A", sport=1)), inbound(tcp("S", sport=2)))
    for address in ("10.0.1.5", "10.0.1.6"):
        stranger = inbound(tcp("S"), dst=address)
        assert director.send(stranger).to_kernel == [stranger]


REFUSED_UNSEEN = {
    "a service port too large": service(port=65536),
    "a negative service port": service(port=-1),
    "a server port too large": service(servers=(server(port=70000),)),
    "a negative timeout": service(established_timeout=-1),
    "a timeout that the clock cannot hold": service(established_timeout=1 << 32),
    "an address that is text": service(address="1111"),
    "one server id twice": service(servers=(server(), server(address=bytes([1, 1, 1, 5])))),
}


@pytest.mark.parametrize("bad", REFUSED_UNSEEN.values(), ids=REFUSED_UNSEEN)
def test_every_bad_value_is_refused(director: Director, bad: engine.Service) -> None:
    """B28: each value outside its range is refused with an EngineError."""
    director.services.add(bad.id)
    director.servers.add(1)
    with pytest.raises(engine.EngineError):
        engine.publish([bad])


def test_many_services_at_once(director: Director) -> None:
    """B28: one publication may add, replace and remove many; each does what its own last version says."""
    some = [service(id=n, address=bytes([10, 0, 4, n]), servers=(server(id=n),)) for n in range(1, 201)]
    engine.publish(some)
    director.services.update(range(1, 201))
    director.servers.update(range(1, 201))
    for n in range(1, 201):
        engine.set_next_hop(n, 0, bytes(5) + bytes([n]))
    syns = [inbound(tcp("S"), dst=f"10.0.4.{n}") for n in range(1, 201)]
    assert [p.dst for p in director.send(*syns).to_network] == [f"00:00:00:00:00:{n:02x}" for n in range(1, 201)]
    engine.publish([s._replace(servers=()) for s in some[:100]], range(151, 201))
    director.services -= set(range(151, 201))
    again = [inbound(tcp("S", sport=2), dst=f"10.0.4.{n}") for n in range(1, 201)]
    sent = director.send(*again, drops={"no_server": 100})
    assert [p.dst for p in sent.to_network] == [f"00:00:00:00:00:{n:02x}" for n in range(101, 151)]
    assert sent.to_kernel == again[150:]


def test_an_untouched_service_feels_nothing(director: Director) -> None:
    """B28: publishing others loses no packet of this one and does not move its round."""
    director.service([SERVER, OTHER_SERVER])
    chosen = []
    for n in range(10):
        engine.publish([service(servers=())], [])
        chosen.append(director.send(inbound(tcp("S", sport=1 + n))).one().payload.dst)
        engine.publish([], [5])
    assert chosen[0::2] == [chosen[0]] * 5
    assert chosen[1::2] == [chosen[1]] * 5
    assert chosen[0] != chosen[1]


@pytest.mark.parametrize(("id", "changes"), [(0, {"vport": 81}), (0, {"vip": "10.0.1.9"}), (1, {})])
def test_a_key_keeps_its_id_and_an_id_its_key(director: Director, id: int, changes: dict[str, Any]) -> None:
    """B28: as long as they are published, for a worker may be between the two; refused whole."""
    director.service()
    with pytest.raises(engine.EngineError, match=f"service {id}: "):
        director.service(id=id, first=id, **changes)
    with pytest.raises(engine.EngineError, match="published as service 0"):
        engine.publish([service(id=1, address=bytes([10, 0, 1, 1]), servers=())], [0])
    director.services.add(1)
    director.send(inbound(tcp("S")))
    director.remove(0)
    director.service(**changes)


def test_tcp_and_udp_of_one_port(director: Director) -> None:
    """B28: the same address and port for TCP and for UDP are two services."""
    director.service([SERVER])
    director.service([OTHER_SERVER], engine.UDP, id=1, first=1, vport=80)
    sent = director.send(inbound(tcp("S")), inbound(udp(dport=80))).to_network
    assert [p.payload.dst for p in sent] == [SERVER, OTHER_SERVER]
