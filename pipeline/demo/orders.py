"""What is in a cart and what it costs: whole cents until they are shown, so that every total is the sum of its parts."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from pipeline.demo.catalogue import Product
from pipeline.demo.devices import SHOP

CURRENCY = "EUR"
SHIPPING_CENTS = 500
FREE_SHIPPING_FROM_CENTS = 10_000
TAX_PER_CENT = 25


class Line(NamedTuple):
    """One line of a cart."""

    product: Product
    quantity: int


def euros(cents: int) -> float:
    """Show whole cents as the decimal number that SDKs send."""
    return cents / 100


def product_properties(product: Product, position: int | None = None, quantity: int | None = None) -> dict[str, Any]:
    """Describe a product as the ecommerce events do."""
    path = product.sku.lower()
    properties: dict[str, Any] = {
        "product_id": product.product_id,
        "sku": product.sku,
        "category": product.category,
        "name": product.name,
        "brand": product.brand,
        "variant": product.variant,
        "price": euros(product.cents),
        "url": f"{SHOP}/products/{path}",
        "image_url": f"{SHOP}/images/{path}.jpg",
    }
    if position is not None:
        properties["position"] = position
    if quantity is not None:
        properties["quantity"] = quantity
    return properties


def brief_properties(line: Line) -> dict[str, Any]:
    """Describe a line of a cart with what later events need of it."""
    product = line.product
    return {
        "product_id": product.product_id,
        "sku": product.sku,
        "name": product.name,
        "category": product.category,
        "price": euros(product.cents),
        "quantity": line.quantity,
    }


def order_properties(order_id: str, lines: Sequence[Line], coupon: str | None, discount_per_cent: int) -> dict[str, Any]:
    """Add up an order.

    Args:
        order_id: id of the order.
        lines: what is ordered; not empty.
        coupon: code of the coupon that was applied, if any.
        discount_per_cent: what the coupon takes off the products, rounded down to a cent.

    Returns:
        Properties in which subtotal is the products less the discount, revenue the same, and total adds shipping and tax.
    """
    goods = sum(line.product.cents * line.quantity for line in lines)
    discount = goods * discount_per_cent // 100
    subtotal = goods - discount
    shipping = 0 if subtotal >= FREE_SHIPPING_FROM_CENTS else SHIPPING_CENTS
    tax = subtotal * TAX_PER_CENT // 100
    properties: dict[str, Any] = {
        "order_id": order_id,
        "affiliation": "Online shop",
        "total": euros(subtotal + shipping + tax),
        "subtotal": euros(subtotal),
        "revenue": euros(subtotal),
        "shipping": euros(shipping),
        "tax": euros(tax),
        "discount": euros(discount),
        "currency": CURRENCY,
        "products": [brief_properties(line) for line in lines],
    }
    if coupon:
        properties["coupon"] = coupon
    return properties
