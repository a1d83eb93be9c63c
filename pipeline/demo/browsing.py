"""Visits to the shop in a browser: look, search, fill a cart, sign up, check out."""

from collections.abc import Iterator
from random import Random

from pipeline.demo.catalogue import CATEGORIES, COMPANIES, COUPONS, PRODUCTS, SEARCHES, Product
from pipeline.demo.devices import MAIL, SHOP, browser_context
from pipeline.demo.orders import CURRENCY, Line, brief_properties, euros, order_properties, product_properties
from pipeline.demo.shop import Call, Client, Person, Shop


def web_visit(shop: Shop) -> Iterator[Call]:
    """Send a person through the shop in a browser, from landing to leaving, with or without an order."""
    random = shop.random
    person = shop.returning(0.35)
    known = person is not None
    person = person or shop.new_person()
    client = Client(browser_context(random, person.place), shop.new_id(), person.user_id if known else None)

    yield from _land(shop, client)
    cart: list[Line] = []
    for _ in range(random.randint(1, 2)):
        yield from _browse(random, client, cart)
    if not cart:
        return

    cart_id = f"cart_{shop.new_id()[:8]}"
    yield client.page("/cart", "Cart", "Shop")
    yield client.track("Cart Viewed", {"cart_id": cart_id, "currency": CURRENCY, "products": [brief_properties(line) for line in cart]})
    if random.random() < 0.35:
        return
    if known:
        yield client.identify(person)
        yield client.track("Signed In", {"username": person.email})
    else:
        yield from _sign_up(shop, client, person)
    yield from _check_out(shop, client, person, cart, cart_id)


def _land(shop: Shop, client: Client) -> Iterator[Call]:
    """Open the shop's first page, with its promotion and now and then an experiment, a search or a question to the shop."""
    random = shop.random
    yield client.page("/", "Home · Lamps, tea & more", "Home")
    if random.random() < 0.3:
        promotion = {
            "promotion_id": "promo_spring",
            "creative": "hero_2",
            "name": "Spring light sale",
            "position": "home_top",
        }
        yield client.track("Promotion Viewed", promotion)
        if random.random() < 0.4:
            yield client.track("Promotion Clicked", promotion)
    if random.random() < 0.15:
        variation = random.choice("ab")
        experiment = {"experiment_id": "exp_home", "experiment_name": "Home with tea first", "variation_id": f"var_{variation}"}
        yield client.track("Experiment Viewed", {**experiment, "variation_name": variation.upper(), "nonInteraction": True})
    if random.random() < 0.3:
        yield client.track("Products Searched", {"query": random.choice(SEARCHES)})
    if random.random() < 0.05:
        agent = {"agent_id": "agent_14", "agent_name": "Gita Rao", "conversation_id": f"chat_{shop.new_id()[:8]}"}
        yield client.track("Live Chat Conversation Started", agent)
        yield client.track("Live Chat Message Sent", {**agent, "message_id": "msg_1", "message_body": "Ist die Lampe noch da? 🙂"})
        yield client.track("Live Chat Conversation Ended", {**agent, "conversation_duration": random.randint(40, 600)})


def _browse(random: Random, client: Client, cart: list[Line]) -> Iterator[Call]:
    """Look through one category and fill the cart."""
    category = random.choice(CATEGORIES)
    shown = [product for product in PRODUCTS if product.category == category]
    yield client.page(f"/{category.lower()}", category, "Category")
    listed = [product_properties(product, position) for position, product in enumerate(shown, 1)]
    yield client.track("Product List Viewed", {"list_id": f"list_{category.lower()}", "category": category, "products": listed})
    for position, product in enumerate(shown, 1):
        if random.random() < 0.6:
            yield from _look(random, client, product, position, cart)


def _look(random: Random, client: Client, product: Product, position: int, cart: list[Line]) -> Iterator[Call]:
    """Look at one product, and put it into the cart, on a wish list, or on a friend's screen."""
    properties = product_properties(product, position)
    yield client.track("Product Clicked", properties)
    yield client.page(f"/products/{product.sku.lower()}", product.name, "Product")
    yield client.track("Product Viewed", {**properties, "currency": CURRENCY, "value": euros(product.cents)})
    choice = random.random()
    if choice < 0.4:
        line = Line(product, random.choice((1, 1, 1, 2, 3)))
        cart.append(line)
        yield client.track("Product Added", product_properties(product, position, line.quantity))
        if random.random() < 0.08:
            cart.remove(line)
            yield client.track("Product Removed", product_properties(product, position, line.quantity))
    elif choice < 0.47:
        wishlist = {"wishlist_id": "wishlist_1", "wishlist_name": "Für später"}
        yield client.track("Product Added to Wishlist", {**wishlist, **properties})
    elif choice < 0.5:
        share = {"share_via": "email", "share_message": "Regarde ça ! 😍", "recipient": "friend@example.com"}
        yield client.track("Product Shared", {**share, **product_properties(product)})


def _sign_up(shop: Shop, client: Client, person: Person) -> Iterator[Call]:
    """Turn a visitor into a customer, and one in five into a member of a company."""
    shop.remember(person)
    yield client.identify(person, {"plan": "basic", "username": person.email})
    yield client.track(
        "Signed Up",
        {"type": "organic", "first_name": person.first_name, "last_name": person.last_name, "email": person.email},
    )
    if shop.random.random() < 0.2:
        group_id, name, industry, employees, plan = shop.random.choice(COMPANIES)
        traits = {"name": name, "industry": industry, "employees": employees, "plan": plan}
        yield client.call("group", {"groupId": group_id, "traits": traits})


def _check_out(shop: Shop, client: Client, person: Person, cart: list[Line], cart_id: str) -> Iterator[Call]:
    """Walk through the checkout; most people complete the order, and the shop's mail service then writes to them."""
    random = shop.random
    order_id = f"order_{shop.new_id()[:8]}"
    code: str | None = None
    per_cent = 0
    if random.random() < 0.3:
        coupon_id, coupon, per_cent = random.choice(COUPONS)
        entered = {"cart_id": cart_id, "coupon_id": coupon_id}
        yield client.track("Coupon Entered", entered)
        if per_cent:
            code = coupon
            yield client.track("Coupon Applied", {**entered, "coupon_name": coupon})
        else:
            yield client.track("Coupon Denied", {**entered, "coupon_name": coupon, "reason": "Coupon expired"})
    order = order_properties(order_id, cart, code, per_cent)
    yield client.page("/checkout", "Checkout", "Shop")
    yield client.track("Checkout Started", {**order, "value": order["revenue"]})
    checkout = {"checkout_id": f"checkout_{shop.new_id()[:8]}", "shipping_method": "Parcel box", "payment_method": "Card"}
    for step in (1, 2):
        yield client.track("Checkout Step Viewed", {**checkout, "step": step})
        if random.random() < 0.08:
            return
        yield client.track("Checkout Step Completed", {**checkout, "step": step})
    yield client.track("Payment Info Entered", {**checkout, "step": 2, "order_id": order_id})
    yield client.track("Order Completed", {**order, "checkout_id": checkout["checkout_id"]})
    yield client.page(f"/orders/{order_id}", "Thank you · merci · ありがとう", "Shop")
    yield from order_mail(shop, person, order_id)


def order_mail(shop: Shop, person: Person, order_id: str) -> Iterator[Call]:
    """Tell a customer by e-mail that the order is on its way, and hear what became of the mail."""
    random = shop.random
    mail = Client(MAIL, None, person.user_id, "server")
    email = {
        "email_id": f"email_{shop.new_id()[:8]}",
        "email_subject": "Your order is on its way 📦",
        "campaign_id": "campaign_orders",
        "campaign_name": "Order updates",
    }
    if random.random() < 0.03:
        yield mail.track("Email Bounced", email)
        return
    yield mail.track("Email Delivered", email)
    if random.random() < 0.6:
        yield mail.track("Email Opened", email)
        if random.random() < 0.5:
            yield mail.track("Email Link Clicked", {**email, "link_id": "link_order", "link_url": f"{SHOP}/orders/{order_id}"})
