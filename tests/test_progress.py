"""Progress counts right and leaves a log that machines can read."""

import json
import logging

from ildfv.progress import SILENT, Bars, EventLog, Lines


def test_the_event_log_tells_start_count_and_end(tmp_path):
    log = EventLog(tmp_path / "events.jsonl", SILENT, every=0)
    with log.task("Encoding", total=5) as advance:
        advance(2)
        advance(3)
    log.note("done")
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [e["event"] for e in events] == ["start", "advance", "advance", "end", "note"]
    assert events[-2] | {"time": 0} == {"time": 0, "event": "end", "task": "Encoding", "done": 5, "total": 5}


def test_lines_say_count_and_rate(caplog):
    caplog.set_level(logging.INFO, logger="ildfv")
    with Lines(every=0).task("Reading", total=4) as advance:
        advance()
    assert "Reading: 1 of 4" in caplog.text
    assert "Reading: done, 1 of 4" in caplog.text


def test_bars_come_and_go(capsys):
    from rich.console import Console

    bars = Bars(Console(force_terminal=True, width=100))
    with bars.task("Outer", total=2) as outer:
        with bars.task("Inner", total=None) as inner:
            inner(3)
        outer(2)
    assert "Outer" in capsys.readouterr().out
