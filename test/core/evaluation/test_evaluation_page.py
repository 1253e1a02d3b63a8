from __future__ import annotations

import re
from pathlib import Path

from ppd_core.cli import main
from ppd_core.evaluation.failures import FAILURES
from ppd_core.evaluation.session import CSV_NAME, HTML_NAME, JSON_NAME

PAGE = (Path(__file__).parents[3] / "docs" / "evaluation.md").read_text(encoding="utf-8")


def test_the_page_has_every_reason_of_a_failure():
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", PAGE, re.MULTILINE))
    for reason, meaning in FAILURES.items():
        assert rows[reason].startswith(meaning), reason


def test_the_page_names_the_files_and_no_option_that_does_not_exist(capsys):
    assert all(f"`{name}`" in PAGE for name in (CSV_NAME, JSON_NAME, HTML_NAME))
    main(["eval", "--help"])
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    commands = "\n".join(re.findall(r"ppd eval.*(?:\\\n.*)*", PAGE))
    named = set(re.findall(r"(?<![\w-])--[a-z-]+", commands)) | set(
        re.findall(r"`(--[a-z-]+)", PAGE)
    )
    assert len(named) > 10
    assert named <= known
