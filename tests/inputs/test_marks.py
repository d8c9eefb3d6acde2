"""Decisions one by one: listed in order, switched off and on at their place, taken out."""

from __future__ import annotations

import pytest

from wanlab.inputs import edits, marks
from wanlab.mask.prompts import Box, Click, Prompts
from wanlab.mask.strokes import Stroke
from wanlab.pose.corrections import Hide, Move

DECIDED = edits.Edits(
    (1, 4),
    Prompts((Click(3, 1.0, 2.0, True), Click(0, 5.0, 6.0, False, 2)), (Box(2, 1.0, 2.0, 9.0, 9.0),)),
    (Stroke(1, True, 3.0, ((1.0, 1.0),)), Stroke(1, False, 2.0, ((1.0, 1.0),), True)),
    (Hide("head", 0, 2), Move(4, 91, 1.0, 2.0), Move(4, 92, 2.0, 3.0), Hide("face", 0, 0)),
    "fill",
)


def test_all_are_listed_in_the_order_of_their_frames() -> None:
    assert [mark.describe() for mark in marks.listed(DECIDED)] == [
        "mask chain fill",
        "point that does not belong on frame 0 (object 2)",
        "head hidden in frames 0 to 2",
        "face hidden in frame 0",
        "added with the brush on frame 1",
        "erased with the brush on frame 1, carried to other frames",
        "masks are worked on in frames 1 to 4 only",
        "box on frame 2",
        "point on frame 3",
        "2 points of the left hand moved in frame 4",
    ]


@pytest.mark.parametrize("number", range(10))
def test_each_is_switched_off_and_on_again_where_it_was(number: int) -> None:
    mark = marks.listed(DECIDED)[number]
    off = marks.switched(DECIDED, mark)
    assert off.digest() != DECIDED.digest()
    assert len(marks.listed(off)) == 10
    content = edits.as_content(off, 48, 64)
    assert edits.parse(content, "edits.json", 6, 48, 64) == off
    mine = marks.named(off, mark.content() | {"on": False})
    assert marks.switched(off, mine) == DECIDED
    gone = marks.removed(off, mine)
    assert gone == marks.removed(DECIDED, mark)
    assert len(marks.listed(gone)) == 9
    with pytest.raises(ValueError, match="not there any more"):
        marks.named(gone, mark.content())


def test_two_that_are_off_come_back_in_any_order() -> None:
    first, second = (mark for mark in marks.listed(DECIDED) if mark.kind == "stroke")
    off = marks.switched(marks.switched(DECIDED, first), second)
    assert off.strokes == ()
    for order in ((first, second), (second, first)):
        back = off
        for mark in order:
            back = marks.switched(back, mark._replace(on=False))
        assert back == DECIDED


def test_one_chain_is_on_at_a_time() -> None:
    chain = marks.listed(DECIDED)[0]
    off = marks.switched(DECIDED, chain)
    other = edits.Edits(mask_chain="snap:16", off=off.off)
    back = marks.switched(other, chain._replace(on=False))
    assert back.mask_chain == "fill"
    assert [mark.items for mark in marks.listed(back) if not mark.on] == [("snap:16",)]
