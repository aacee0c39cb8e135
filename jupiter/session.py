"""Who is at the other end of a connection, and what it has sent ahead for its next command. Pure.

A draft is a text too long for one message: its pieces come as `draft` requests, the command that follows them on the
same connection (apply, diff, check) takes the whole. It is for that command alone: used or not, it is gone afterwards.
A draft of which a piece was refused is never taken in part: whoever asks for it gets the error that the piece got.
"""

from collections.abc import Callable

from jupiter.errors import JupiterError

MAX_DRAFT = 64 << 20
"""Bytes of one connection's draft, in UTF-8."""
MAX_DRAFTS = 128 << 20
"""Bytes of all drafts together."""
MAX_READERS_DRAFTS = 8 << 20
"""The part of these for sessions that only read: everybody may have one, and reading a text takes thirty times that."""


class DraftBudget:
    """Room for the drafts of all connections, those of several servers too.

    Sessions that may only read get a small part of it: they cannot keep an operator from applying a large one.
    """

    def __init__(self, size: int = MAX_DRAFTS) -> None:
        self._size = size
        self._used = 0

    @property
    def used(self) -> int:
        return self._used

    def take(self, size: int, read_only: bool) -> bool:
        """Whether there was room for `size` bytes more."""
        if self._used + size > (MAX_READERS_DRAFTS if read_only else self._size):
            return False
        self._used += size
        return True

    def give_back(self, size: int) -> None:
        self._used -= size


class Session:
    """One connection. pid, uid and gid: the process that connected, as the kernel says (SO_PEERCRED, unix(7)).

    read_only: the executor must refuse commands that change anything.
    kept: the executor's own, to go on with in this connection's next request; None in the beginning.
    """

    def __init__(
        self,
        pid: int,
        uid: int,
        gid: int,
        *,
        user: str | None = None,
        read_only: bool = False,
        budget: DraftBudget | None = None,
    ) -> None:
        self.pid = pid
        self.uid = uid
        self.gid = gid
        self.user = user
        self.read_only = read_only
        self.kept: object = None
        self._budget = budget or DraftBudget()
        self._endings: list[Callable[[], None]] = []
        self._draft: bytearray | None = None  # and no list of pieces: empty ones cost memory too
        self._spoiled: JupiterError | None = None

    def __str__(self) -> str:
        """For the log: `uid 0 (root) pid 123`."""
        name = f" ({self.user})" if self.user else ""
        return f"uid {self.uid}{name} pid {self.pid}"

    def at_end(self, do: Callable[[], None]) -> None:
        """Have this done when the connection is over, if the session ends before the service does."""
        self._endings.append(do)

    def end(self) -> None:
        """The connection is over."""
        self.drop_draft()
        for do in self._endings:
            do()

    @property
    def has_draft(self) -> bool:
        return self._draft is not None

    def add_draft(self, text: str) -> int:
        """Bytes of the draft so far. Raises JupiterError, and empties the draft for good: "draft-too-large", or
        "invalid-argument" for a text that is no UTF-8 (half of a surrogate pair)."""
        if self._spoiled:
            raise self._spoiled
        try:
            piece = text.encode()
        except UnicodeEncodeError:
            raise self.spoil_draft(
                JupiterError("invalid-argument", "Invalid text of a draft, expected UTF-8.")
            ) from None
        draft = bytearray() if self._draft is None else self._draft
        if len(draft) + len(piece) > MAX_DRAFT:
            raise self.spoil_draft(_too_large(f"a connection's draft may have {MAX_DRAFT} bytes"))
        if not self._budget.take(len(piece), self.read_only):
            raise self.spoil_draft(_too_large("the drafts of other clients leave no room, try again later"))
        self._draft = draft
        draft += piece
        return len(draft)

    def take_draft(self) -> str:
        """The whole draft; there is none afterwards. Raises JupiterError: the error that a piece of it got, or
        "draft-missing" where no `draft` was sent (one of "" is a draft)."""
        if self._spoiled:
            raise self._spoiled
        if self._draft is None:
            raise JupiterError("draft-missing", "There is no text: send it ahead with `draft`, on the same connection.")
        text = self._draft.decode()
        self.drop_draft()
        return text

    def spoil_draft(self, error: JupiterError) -> JupiterError:
        """A piece was refused: the rest of it is worth nothing until the next command. Returns the error."""
        self.drop_draft()
        self._spoiled = error
        return error

    def drop_draft(self) -> None:
        self._budget.give_back(len(self._draft or b""))
        self._draft = self._spoiled = None


def _too_large(why: str) -> JupiterError:
    return JupiterError("draft-too-large", f"The draft is too large: {why}.")
