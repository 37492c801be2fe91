"""Progress counts correctly and writes a machine-readable log."""

import json
import logging
import os

import pytest
from rich.console import Console

from ildfv.progress import SILENT, Bars, EventLog, Lines, _clock


def test_the_event_log_records_start_count_and_end(tmp_path):
    log = EventLog(tmp_path / "events.jsonl", SILENT, every=0)
    with log.task("Encoding", total=5) as advance:
        advance(2)
        advance(3)
    log.note("done")
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [e["event"] for e in events] == ["start", "advance", "advance", "end", "note"]
    assert events[-2] | {"time": 0} == {
        "time": 0,
        "pid": os.getpid(),
        "event": "end",
        "task": "Encoding",
        "done": 5,
        "total": 5,
    }


def test_an_incomplete_line_of_a_killed_run_does_not_corrupt_the_next_one(tmp_path):
    file = tmp_path / "events.jsonl"
    file.write_text('{"event": "note"}\n{"event": "adv')
    log = EventLog(file, SILENT)
    log.note("one")
    log.note("two")
    lines = file.read_text().splitlines()
    assert lines[:2] == ['{"event": "note"}', '{"event": "adv']
    assert [json.loads(line)["event"] for line in lines[2:]] == ["note", "note"]


def test_lines_contain_count_and_rate(caplog):
    caplog.set_level(logging.INFO, logger="ildfv")
    with Lines(every=0).task("Reading", total=4) as advance:
        advance()
    assert "Reading: 1 of 4" in caplog.text
    assert "Reading: done, 1 of 4" in caplog.text


def test_items_of_an_earlier_run_are_excluded_from_the_rate(monkeypatch, caplog):
    caplog.set_level(logging.INFO, logger="ildfv")
    clock = iter([100.0, 110.0, 120.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    with Lines(every=0).task("Encoding", total=2000, done=1000) as advance:
        advance(10)
    assert "Encoding: 1,010 of 2,000, 1.0/s, 10 s, 16:30 left" in caplog.text
    assert "Encoding: done, 1,010 of 2,000, 2.0 s each, 20 s" in caplog.text


@pytest.mark.parametrize(("seconds", "text"), [(8.4, "8 s"), (59.6, "1:00"), (125, "2:05"), (3725, "1:02:05")])
def test_times_are_formatted_as_seconds_minutes_or_hours(seconds, text):
    assert _clock(seconds) == text


def test_bars_appear_and_disappear(capsys):
    from rich.console import Console

    bars = Bars(Console(force_terminal=True, width=100))
    with bars.task("Outer", total=2) as outer:
        with bars.task("Inner", total=None) as inner:
            inner(3)
        outer(2)
    assert "Outer" in capsys.readouterr().out


def test_a_failed_task_is_recorded_in_the_event_log(tmp_path):
    events = EventLog(tmp_path / "events.jsonl", SILENT)

    def walk():
        with events.task("walk", total=3) as advance:
            advance()
            raise ValueError("too far")

    with pytest.raises(ValueError, match="too far"):
        walk()
    last = json.loads((tmp_path / "events.jsonl").read_text().splitlines()[-1])
    assert {name: last[name] for name in ("event", "task", "done", "total", "error")} == {
        "event": "failed",
        "task": "walk",
        "done": 1,
        "total": 3,
        "error": "too far",
    }


def test_without_a_workspace_there_is_no_log(tmp_path):
    log = EventLog(tmp_path / "events.jsonl", SILENT, required=tmp_path / "workspace.toml")
    log.note("lost")
    assert not log.path.exists()
    (tmp_path / "workspace.toml").touch()
    log.note("kept")
    assert json.loads(log.path.read_text())["text"] == "kept"


def test_bars_do_not_interpret_labels_as_markup(capsys):
    shown = Bars(Console(force_terminal=True, width=100, markup=False))
    with shown.task("blocks[0].conv[/1]", total=1) as advance:
        advance()
    assert "blocks[0].conv[/1]" in capsys.readouterr().out
