"""A UDP server that answers many times, and its client.

usage: udp_peer.py serve ADDRESS PORT                   to a datagram "N ...": N datagrams
       udp_peer.py ask ADDRESS PORT REQUESTS ANSWERS    from one socket; prints the answers as they come, a line each
       udp_peer.py insist ADDRESS PORT SOCKETS REQUESTS so many from each socket, each repeated until it is answered
insist prints JSON: {"answered": requests, "repeated": how often, "servers": how many answered each socket}
"""

import json
import socket
import sys


def serve(address: str, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((address, port))
        print("ready", flush=True)
        while True:
            request, client = sock.recvfrom(2048)
            for i in range(int(request.split()[0])):
                sock.sendto(f"{request.decode()}: {i} from {address}".encode(), client)


def ask(address: str, port: int, requests: int, answers: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((address, port))
        sock.settimeout(3)
        for number in range(requests):
            sock.send(f"{answers} request {number}".encode())
            for _ in range(answers):
                print(sock.recv(2048).decode())


class Insistent:
    """One socket; a request is sent again each PATIENCE seconds, TRIES times at most."""

    PATIENCE, TRIES = 0.1, 50

    def __init__(self, target: tuple[str, int]) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.connect(target)
        self.sock.settimeout(self.PATIENCE)
        self.answered = self.repeated = 0
        self.servers: set[str] = set()

    def ask(self, number: int) -> None:
        request = f"1 request {number}"
        for _ in range(self.TRIES):
            self.sock.send(request.encode())
            if self.hears(request):
                self.answered += 1
                return
            self.repeated += 1

    def hears(self, request: str) -> bool:
        """Late and doubled answers to earlier requests are passed over."""
        try:
            while not (answer := self.sock.recv(2048).decode()).startswith(f"{request}: "):
                pass
        except TimeoutError:
            return False
        self.servers.add(answer.split(" from ")[1])
        return True


def insist(address: str, port: int, sockets: int, requests: int) -> None:
    askers = [Insistent((address, port)) for _ in range(sockets)]
    for number in range(requests):
        for asker in askers:
            asker.ask(number)
    report = {"answered": sum(a.answered for a in askers), "repeated": sum(a.repeated for a in askers)}
    print(json.dumps(report | {"servers": [len(a.servers) for a in askers]}))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", address, port]:
            serve(address, int(port))
        case ["ask", address, port, requests, answers]:
            ask(address, int(port), int(requests), int(answers))
        case ["insist", address, port, sockets, requests]:
            insist(address, int(port), int(sockets), int(requests))
        case _:
            sys.exit(__doc__)
