"""The one exception that operators see."""


class JupiterError(Exception):
    """Something that an operator or a program asked for cannot be done.

    code: stable kebab-case name, part of the API (`service-not-found`); programs compare it.
    text: one sentence for people that names the object, its value and what was expected.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def shorten(value: object) -> str:
    """A value of a stranger's, fit for an error message of one line."""
    text = str(value)
    text = text if len(text) <= 64 else text[:60] + " ..."
    return text if text.isprintable() else ascii(text)
