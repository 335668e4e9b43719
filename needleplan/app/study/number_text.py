"""A number of a study as text that no other number has."""


def number_text(value: float) -> str:
    """A number in six digits where they are all of it, else in as many as tell it from every other number."""
    text = f"{value:g}"
    return text if float(text) == value else repr(float(value))
