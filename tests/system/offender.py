"""usage: offender.py ADDRESS PORT    a datagram with TTL 1; prints who said that its time was exceeded."""

import select
import socket
import sys

IP_RECVERR = 11  # linux/in.h
EXTENDED_ERROR = 16  # bytes of struct sock_extended_err, then comes the offender's struct sockaddr_in


def main(address: str, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        sock.sendto(b"1 x", (address, port))
        select.select([sock], [], [], 3)
        ((_, _, error),) = sock.recvmsg(2048, 256, socket.MSG_ERRQUEUE)[1]
        print(socket.inet_ntoa(error[EXTENDED_ERROR + 4 : EXTENDED_ERROR + 8]))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
