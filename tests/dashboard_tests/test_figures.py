"""What all charts share: colours that everybody can see and tell apart, and ticks."""

from __future__ import annotations

import pytest

from dashboard import figures


def test_ticks_are_1_2_5() -> None:
    assert figures.ticks_1_2_5(0.04, 3.0) == [0.05, 0.1, 0.2, 0.5, 1.0, 2.0]
    assert figures.ticks_1_2_5(1e-3, 1e4) == [10.0**power for power in range(-3, 5)]
    assert figures.ticks_1_2_5(1.3, 3.4) == [1.5, 2.0, 3.0]


def test_a_device_keeps_its_colour_whichever_others_are_shown_and_no_two_are_alike() -> None:
    among = [f"device-{number}" for number in range(20)]
    alone = figures.device_paints(among[3:4], among)
    assert figures.device_paints(among[2:5], among)[among[3]] == alone[among[3]]
    clashing = [among[0], among[len(figures.PAINTS)], among[1]]
    assert len(set(figures.device_paints(clashing, among).values())) == 3
    assert len(set(figures.device_paints(among[: len(figures.PAINTS)], among).values())) == len(
        figures.PAINTS
    )


def test_each_family_has_a_form_of_its_own_and_the_common_ones_theirs() -> None:
    families = ["once-for-all", "LayerDrop", "DPF", "ticket", "single network", "imported"]
    mixed = [*families, "once-for-all + DPF", "once-for-all + mixout", "MABN", "LayerDrop + mixout"]
    forms = figures.family_forms(mixed)
    assert len(set(forms.values())) == len(mixed)
    assert {name: forms[name] for name in families} == {
        name: figures.FAMILY_FORMS[name] for name in families
    }
    assert figures.family_forms(["once-for-all + DPF"]) == {"once-for-all + DPF": "triangle-up"}
    many = figures.family_forms([f"way {number}" for number in range(40)])
    assert len(many) == 40, "more than there are forms"


@pytest.mark.parametrize("ground", ["#ffffff", "#191919"])
@pytest.mark.parametrize("paint", [*figures.COLOURS.values(), *figures.PAINTS])
def test_every_colour_is_seen_on_light_and_dark(paint: str, ground: str) -> None:
    lighter, darker = sorted((_luminance(paint), _luminance(ground)), reverse=True)
    assert (lighter + 0.05) / (darker + 0.05) >= 3


def _luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
