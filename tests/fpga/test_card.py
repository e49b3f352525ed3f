"""Programming is kept, durably and whole."""

from pathlib import Path

from thorax.fpga.card import list_cards, program

RESNET = "2019R1_RC_FP11_ResNet_SqueezeNet_VGG"


def test_cards_come_unprogrammed_and_keep_what_they_are_given(tmp_path: Path) -> None:
    state = tmp_path / "deep" / "fpga.json"
    assert [(card.name, card.bitstream) for card in list_cards(state)] == [
        (f"FPGA.{number}", None) for number in range(4)
    ]
    (made,) = program("FPGA.1", RESNET, state=state)
    cards = list_cards(state)
    assert cards[1] == made
    assert [card.bitstream.name if card.bitstream else None for card in cards] == [
        None, RESNET, None, None,
    ]  # fmt: skip
    assert made.full_name == f"Intel PAC with Arria 10 GX (simulated), {RESNET}"
