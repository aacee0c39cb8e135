"""Numbers for what the data plane keeps in arrays."""

from collections import deque

from jupiter.errors import JupiterError


class Ids:
    """Numbers below a limit; one that comes back is given out again as late as possible."""

    def __init__(self, what: str, limit: int) -> None:
        self._what = what
        self._limit = limit
        self._fresh = 0
        self._returned: deque[int] = deque()

    def take(self) -> int:
        """Raises JupiterError("too-many") when all are in use."""
        if self._fresh < self._limit:
            self._fresh += 1
            return self._fresh - 1
        if not self._returned:
            raise JupiterError("too-many", f"Cannot have another {self._what}, expected at most {self._limit}.")
        return self._returned.popleft()

    def give_back(self, number: int) -> None:
        self._returned.append(number)
