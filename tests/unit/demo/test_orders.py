"""What an order of the demo costs."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.demo.catalogue import PRODUCTS
from pipeline.demo.orders import Line, order_properties

LINES = st.lists(st.builds(Line, st.sampled_from(PRODUCTS), st.integers(1, 9)), min_size=1, max_size=6)


def cents(amount: float) -> int:
    """Turn an amount in euros back into whole cents."""
    return round(amount * 100)


def test_a_small_order_pays_shipping() -> None:
    """A lamp at 89.00 with 10 % off makes 80.10, 5.00 of shipping, 20.02 of tax, 105.12 in all."""
    order = order_properties("order_1", [Line(PRODUCTS[0], 1)], "SPRING10", 10)

    assert (8.9, 80.1, 80.1, 5.0, 20.02, 105.12) == tuple(order[name] for name in ("discount", "subtotal", "revenue", "shipping", "tax", "total"))
    assert "SPRING10" == order["coupon"]


def test_a_large_order_ships_free() -> None:
    """Two lamps at 89.00 make 178.00 and 44.50 of tax, without shipping or coupon."""
    order = order_properties("order_1", [Line(PRODUCTS[0], 2)], None, 0)

    assert (0.0, 44.5, 222.5) == (order["shipping"], order["tax"], order["total"])
    assert "coupon" not in order


@given(lines=LINES, per_cent=st.integers(0, 100))
def test_totals_are_the_sum_of_their_parts(lines: list[Line], per_cent: int) -> None:
    """Products less discount make the subtotal, and with shipping and tax the total, to the cent."""
    order = order_properties("order_1", lines, None, per_cent)
    goods = sum(cents(product["price"]) * product["quantity"] for product in order["products"])

    assert cents(order["subtotal"]) == goods - cents(order["discount"])
    assert cents(order["total"]) == cents(order["subtotal"]) + cents(order["shipping"]) + cents(order["tax"])
