"""A control server in a process of its own: python -m tests.control.serve PATH. Says `ready`, serves until killed."""

import asyncio
import sys
from pathlib import Path

from jupiter.control.server import ControlServer
from tests.control.executors import Scripted


async def serve(path: Path) -> None:
    await ControlServer(path, Scripted()).start()
    print("ready", flush=True)
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
