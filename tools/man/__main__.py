"""`python -m tools.man DIRECTORY`: writes the man pages there."""

import os
import sys
from datetime import UTC, date, datetime
from pathlib import Path

from tools.man.pages import PAGES


def main() -> None:
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    epoch = os.environ.get("SOURCE_DATE_EPOCH")  # of builds that are to be the same byte for byte
    day = datetime.fromtimestamp(int(epoch), UTC).date() if epoch else date.today()
    for name, write in PAGES.items():
        (directory / name).write_text(write(day), encoding="ascii")
        print(directory / name)


if __name__ == "__main__":
    main()
