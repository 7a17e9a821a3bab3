"""One sample value for every input of the prompts that are shipped: for previews, and for tests."""

from typing import Any

CODE = "def area(w, h):\n    return w * h\n"
DIFF = "--- a/geo.py\n+++ b/geo.py\n@@ -1 +1 @@\n-PI = 3\n+PI = 3.14159\n"

#: By input name: prompts that share a name mean the same by it.
SAMPLES: dict[str, Any] = {
    "agent_scratchpad": [
        {
            "thought": "read it",
            "tool": "issue_reader",
            "tool_input": "issue 5",
            "observation": "author is dana.r",
        },
        {
            "thought": "and its epic",
            "tool": "epic_reader",
            "tool_input": "epic 3",
            "observation": "due in May",
        },
    ],
    "answer": "A runner runs jobs.",
    "candidates": [
        {"username": "dana", "commits": 12, "reviews": 4, "files": ["geo.py", "map.py"]},
        {"username": "kim", "commits": 3, "reviews": 40, "last_active": None},
    ],
    "changed_files": ["geo.py", "test_geo.py"],
    "commits": ["Use a better PI", "Test it"],
    "content": "The login page takes ten seconds to load.",
    "context": "PI = 3",
    "criterion": "says what a runner is",
    "diff": DIFF,
    "draft_notes_content": "Please name this constant.",
    "extracted_diff": DIFF,
    "file_content": CODE + "\nprint(area(2, 3))\n",
    "file_content_reuse": "Use what the file has already.",
    "file_name": "geo/area.py",
    "filename": "geo/query.py",
    "horizon": 2,
    "identifiers": ["CWE-89", "CVE-2024-0001"],
    "input": "What about issue 42?",
    "instruction": "write fib",
    "language": "python",
    "language_info": "The code is written in Python and stored in geo/area.py.",
    "libraries": ["pytest", "hypothesis"],
    "limit": 1,
    "messages": [
        {"role": "user", "content": "What is a runner?"},
        {"role": "assistant", "content": "It runs jobs."},
        {"role": "user", "content": "Who wrote issue 5?"},
    ],
    "metric": "lead time in days",
    "name": "SQL injection",
    "notes_content": "dana: shall we cache it?\nkim: yes, for an hour.",
    "prefix": "def area(w, h):\n    return ",
    "previous_answer": "A runner runs jobs.",
    "prompt": "undo my last commit",
    "question": "And how do I add one?",
    "selected_text": CODE,
    "series": [{"date": "2024-01-01", "value": 3.5}, {"date": "2024-02-01", "value": 3}],
    "source_code": "import db\ndb.run(f'select {name}')\n",
    "suffix": "\n\nprint(area(2, 3))\n",
    "suggestions": "Write valid JSON.",
    "template": "## Why\n\n<!-- the reason -->\n\n/label ~bug",
    "title": "Use a better PI",
    "tools": [
        {
            "name": "issue_reader",
            "description": "reads an issue",
            "resource": "issues",
            "example": "issue 5",
        },
        {"name": "epic_reader", "description": "reads an epic", "resource": "epics", "example": ""},
    ],
    "unavailable_resources": ["Pipelines", "Vulnerabilities"],
    "vulnerability_description": "User input reaches the query.",
    "vulnerability_info": "db.run(f'select {name}')",
    "vulnerable_code": "db.run(f'select {name}')",
}
