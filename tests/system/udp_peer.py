"""A UDP server that answers many times, and its client.

usage: udp_peer.py serve ADDRESS PORT                   to a datagram "N ...": N datagrams
       udp_peer.py ask ADDRESS PORT REQUESTS ANSWERS    from one socket; prints the answers as they come, a line each
"""

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


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", address, port]:
            serve(address, int(port))
        case ["ask", address, port, requests, answers]:
            ask(address, int(port), int(requests), int(answers))
        case _:
            sys.exit(__doc__)
