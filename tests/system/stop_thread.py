"""python stop_thread.py TID: stop that thread alone, as a hang would, until its process ends or we do. Says our pid.

ptrace(2): PTRACE_SEIZE sends no signal, PTRACE_INTERRUPT stops one thread and no other of its process.
"""

import ctypes
import os
import sys

PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207  # linux/ptrace.h
WALL = 0x40000000  # linux/wait.h: threads too
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
LIBC.ptrace.restype = ctypes.c_long


def main() -> None:
    tid = int(sys.argv[1])
    for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
        if LIBC.ptrace(request, tid, None, None):
            sys.exit(f"ptrace {request:#x} of {tid}: {os.strerror(ctypes.get_errno())}")
    _, status = os.waitpid(tid, WALL)
    assert os.WIFSTOPPED(status), status
    print(os.getpid(), flush=True)
    os.waitpid(tid, WALL)  # a thread that nobody waits for holds up the end of its process


if __name__ == "__main__":
    main()
