"""The card of STYLE.md, read back part by part."""

import pytest

from fitwell.core.cards import Card, read_card

PGD = """Search the ball around `x` for the input that hurts the model most, by projected
    gradient steps.

    The usual first attack: cheap, strong on undefended models. Prefer `APGD` when the
    step size is in doubt.

        x₀   = x + u
        xₖ₊₁ = Π( xₖ )

    Says nothing about hidden gradients.

    Args:
        eps: Radius of the ball: in the units of `x`; 0 returns `x`.
        steps: Gradient steps; each costs one forward
            and one backward pass.
        *more: The rest.

    Shapes:
        x: (B, ...)
        return: (B, ...)

    Returns:
        The worst
        input.

    Raises:
        ValueError: A radius is negative.

    Groups:
        the ball: eps
        search: steps, more

    Source: madry2018towards, section 2.1; goodfellow2015explaining.
    Differs: returns the worst iterate,
        not the last one.
    Reduces to: `FGSM` at `steps=1`.
    Checked against: closed form.

    Example:
        >>> 1 + 1
        2
    """


def test_every_part_of_the_template_is_read() -> None:
    card = read_card(PGD)
    assert card.summary == (
        "Search the ball around `x` for the input that hurts the model most, by projected"
        " gradient steps."
    )
    assert card.use.startswith("The usual first attack")
    assert card.use.endswith("\n\nSays nothing about hidden gradients.")
    assert card.formula == "x₀   = x + u\nxₖ₊₁ = Π( xₖ )"
    assert dict(card.args) == {
        "eps": "Radius of the ball: in the units of `x`; 0 returns `x`.",
        "steps": "Gradient steps; each costs one forward and one backward pass.",
        "more": "The rest.",
    }
    assert dict(card.shapes) == {"x": "(B, ...)", "return": "(B, ...)"}
    assert card.returns == "The worst input."
    assert dict(card.raises) == {"ValueError": "A radius is negative."}
    assert dict(card.groups) == {"the ball": ("eps",), "search": ("steps", "more")}
    assert card.differs == "returns the worst iterate, not the last one."
    assert card.reduces_to == "`FGSM` at `steps=1`."
    assert card.checked_against == "closed form."
    assert card.example == ">>> 1 + 1\n2"
    assert card.keys == ("madry2018towards", "goodfellow2015explaining")


@pytest.mark.parametrize("text", [None, "", "\n   \n"])
def test_nothing_gives_an_empty_card(text: str | None) -> None:
    assert read_card(text) == Card()
    assert read_card(text).to_dict() == {}


def test_prose_after_a_card_line_belongs_to_no_part() -> None:
    card = read_card("Sum.\n\nSource: he2016deep,\ntable 6.\n\nLoose words.")
    assert card.source == "he2016deep, table 6."
    assert "Loose" not in str(card.to_dict())


def test_a_word_with_a_year_is_a_key_only_in_the_form_of_the_reference_file() -> None:
    assert read_card("S.\n\nSource: PyTorch 2018, page 1998.").keys == ()
