"""The gap in code that models are asked to fill, and how the answer is judged."""

PREFIX = "def area(width, height):\n    return "
SUFFIX = "\n\n\nprint(area(width=2, height=3))\n"
FILE_NAME = "area.py"
LANGUAGE = "python"

_RIGHT = ("width*height", "height*width")


def is_right(answer: str) -> bool:
    """Tell whether `answer` begins with what belongs in the gap; it may be fenced as Markdown."""
    lines = [line for line in answer.splitlines() if not line.lstrip().startswith("```")]
    return "".join("".join(lines).split()).startswith(_RIGHT)
