"""How a run goes, as JSON lines: whole ones, in order, also behind those of a process that was killed."""

from __future__ import annotations

import json
import math
from pathlib import Path

from finetune.job.event_log import opened_log, read_events
from finetune.training.result import Epoch, EpochProgress


def of_epoch(number: int, ended: Epoch | None = None) -> EpochProgress:
    return EpochProgress("head", number, 5, 1, 2, 0.5, None, None, ended)


def test_all_that_a_run_says_is_a_line(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    with opened_log(file) as log:
        log.begin("scan", 60)
        log.advance(60)
        log.end("scan", 0.1234)
        log.begin("train")
        log.train(of_epoch(1))
        log.train(of_epoch(1, Epoch(0.1, 0.5, 0.75, None, math.nan, None, 0.8, None)))
        log.say("few images\nof ünß")
    events, end = read_events(file)
    assert end == file.stat().st_size
    assert [event["event"] for event in events] == [
        "stage", "progress", "stage_end", "stage", "progress", "epoch", "log"
    ]  # fmt: skip
    scan, progress, ended, _, training, epoch, log_line = events
    assert (scan["words"], scan["total"]) == ("looking at the images", 60)
    assert (progress["done"], progress["total"], progress["seconds_left"]) == (60, 60, 0.0)
    assert ended["seconds"] == 0.123
    assert (training["done"], training["total"]) == (1, 10)
    assert (epoch["accuracy"], epoch["validation_loss"], epoch["validation_accuracy"]) == (0.75, None, 0.8)
    assert log_line["text"] == "few images\nof ünß"


def test_of_progress_five_lines_a_second_are_written_and_the_last(tmp_path: Path) -> None:
    file, now = tmp_path / "events.jsonl", 100.0
    with opened_log(file) as log:
        log._clock = lambda: now
        log.begin("features", 1000)
        for done in range(1, 1001):
            now += 0.001
            log.advance(done)
    told = [event["done"] for event in read_events(file)[0] if event["event"] == "progress"]
    assert told[-1] == 1000
    assert 5 <= len(told) <= 7
    (first, *_) = (event for event in read_events(file)[0] if event["event"] == "progress")
    assert first["seconds_left"] == 1.0


def test_the_time_that_is_left_is_at_the_pace_of_this_phase_and_of_this_process(tmp_path: Path) -> None:
    file, now = tmp_path / "events.jsonl", 100.0
    with opened_log(file) as log:
        log._clock = lambda: now
        log.begin("train")
        for phase, first in (("head", 41), ("blocks", 1)):  # the head goes on from a checkpoint
            now += 50.0  # until the first word
            for epoch in range(first, first + 3):
                log.train(EpochProgress(phase, epoch, 50, 1, 2, 0.5))
                now += 4.0
    left = [event["seconds_left"] for event in read_events(file)[0] if event["event"] == "progress"]
    # Two steps each 4 s; after 83 and 85 of 100 steps, then after 3 and 5.
    assert left == [None, 34.0, 30.0, None, 194.0, 190.0]


def test_a_line_that_is_not_whole_is_not_read_yet_and_one_that_was_cut_spoils_no_other(
    tmp_path: Path,
) -> None:
    file = tmp_path / "events.jsonl"
    assert read_events(file) == ([], 0)
    with opened_log(file) as log:
        log.say("one")
    whole = file.stat().st_size
    with file.open("ab") as stream:
        stream.write(b'{"event": "lo')
    events, end = read_events(file)
    assert ([event["text"] for event in events], end) == (["one"], whole)
    with opened_log(file) as log:
        log.say("two")
    events, _ = read_events(file, whole)
    assert [event["event"] for event in events] == ["broken", "log"]
    assert json.loads(file.read_text(encoding="utf-8").splitlines()[-1])["text"] == "two"
