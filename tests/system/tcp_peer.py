"""TCP connections that last, and how they end.

usage: tcp_peer.py serve ADDRESS PORT           first says its address to each client
       tcp_peer.py hold ADDRESS PORT MODE       MODE: idle; pull, the server sends; push, the client does
Both print a line when a connection has ended: "MODE reset|closed TIME"; hold first "ready ADDRESS" once it is under
way.
TIME is that of time.monotonic(), which all processes of a machine share.
"""

import socket
import sys
import threading
import time

CHUNK = bytes(32 << 10)
PAUSE = 0.004
"""Seconds between chunks: 8 MB a second."""
UNDER_WAY = 1 << 20


def move(sock: socket.socket, sends: bool, ready: str = "") -> str:
    """Send or receive until the connection ends; how. ready: what to print when it is under way."""
    moved = 0
    try:
        while True:
            if sends:
                sock.sendall(CHUNK)
                moved += len(CHUNK)
                time.sleep(PAUSE)
            elif received := len(sock.recv(len(CHUNK))):
                moved += received
            else:
                return "closed"
            if ready and moved >= UNDER_WAY:
                print(ready, flush=True)
                ready = ""
    except ConnectionResetError:
        return "reset"


def end(mode: str, how: str) -> None:
    print(f"{mode} {how} {time.monotonic()}", flush=True)


def serve_one(sock: socket.socket, address: str) -> None:
    with sock:
        sock.sendall(f"{address:15}".encode())
        mode = sock.recv(4).decode()
        end(mode, move(sock, mode == "pull"))


def serve(address: str, port: int) -> None:
    with socket.create_server((address, port)) as listener:
        print("ready", flush=True)
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=serve_one, args=(sock, address), daemon=True).start()


def hold(address: str, port: int, mode: str) -> None:
    with socket.create_connection((address, port), timeout=5) as sock:
        ready = f"ready {sock.recv(15).decode().strip()}"
        sock.settimeout(None)
        sock.sendall(mode.encode())
        if mode == "idle":
            print(ready, flush=True)
            ready = ""
        end(mode, move(sock, mode == "push", ready))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", address, port]:
            serve(address, int(port))
        case ["hold", address, port, mode]:
            hold(address, int(port), mode)
        case _:
            sys.exit(__doc__)
