"""Everyone else who sends the shop's calls: people with its app, and its own servers; and the choice of who comes next."""

from collections.abc import Iterator

from pipeline.demo.browsing import order_mail, web_visit
from pipeline.demo.catalogue import COMPANIES, PRODUCTS
from pipeline.demo.devices import MAIL, SERVER, SHOP, phone_context
from pipeline.demo.orders import CURRENCY, Line, brief_properties, euros, order_properties, product_properties
from pipeline.demo.shop import Call, Client, Person, Shop


def next_visit(shop: Shop) -> Iterator[Call]:
    """Begin the next visit: two in three in a browser, the others in the app or by a server."""
    choice = shop.random.random()
    if choice < 0.66:
        return web_visit(shop)
    if choice < 0.88:
        return app_visit(shop)
    if choice < 0.94:
        return company_signs_up(shop)
    return newsletter(shop)


def app_visit(shop: Shop) -> Iterator[Call]:
    """Send a person through the shop's app, from its opening to the background."""
    random = shop.random
    person = shop.returning(0.4)
    known = person is not None
    person = person or shop.new_person()
    context = phone_context(random, person.place, shop.new_id())
    client = Client(context, shop.new_id(), person.user_id if known else None, "mobile")
    app = context["app"]
    version = {"version": app["version"], "build": app["build"]}

    if not known:
        yield client.track("Application Installed", version)
    if random.random() < 0.2:
        campaign = {"medium": "Push", "source": "Shop", "name": "Restock alert", "content": "Back in stock 🎉"}
        push = {"message_id": f"push_{shop.new_id()[:8]}", "campaign": campaign}
        yield client.track("Push Notification Received", push)
        yield client.track("Push Notification Tapped", push)
    yield client.track("Application Opened", {**version, "from_background": False})
    yield client.screen("Home", "Shop")
    if random.random() < 0.15:
        yield client.track("Deep Link Opened", {"provider": "Shop links", "url": "shop://products/lamp-wal"})
    yield from _shop_in_app(shop, client, person, known=known)
    yield client.track("Application Backgrounded", {})


def _shop_in_app(shop: Shop, client: Client, person: Person, *, known: bool) -> Iterator[Call]:
    """Look at products in the app, watch how one is made, and order some."""
    random = shop.random
    cart: list[Line] = []
    for position, product in enumerate(random.sample(PRODUCTS, random.randint(1, 3)), 1):
        yield client.screen(product.name, "Product")
        properties = product_properties(product, position)
        yield client.track("Product Viewed", {**properties, "currency": CURRENCY, "value": euros(product.cents)})
        if random.random() < 0.15:
            yield from _watch(shop, client)
        if random.random() < 0.4:
            cart.append(Line(product, 1))
            yield client.track("Product Added", product_properties(product, position, 1))
    if not cart:
        return
    yield client.screen("Basket", "Shop")
    yield client.track("Cart Viewed", {"currency": CURRENCY, "products": [brief_properties(line) for line in cart]})
    if random.random() < 0.4:
        return
    if not known:
        shop.remember(person)
        yield client.call("alias", {"previousId": client.anonymous_id, "userId": person.user_id})
        yield client.identify(person, {"plan": "basic"})
    order = order_properties(f"order_{shop.new_id()[:8]}", cart, None, 0)
    yield client.track("Checkout Started", {**order, "value": order["revenue"]})
    yield client.track("Order Completed", order)
    yield from order_mail(shop, person, order["order_id"])


def _watch(shop: Shop, client: Client) -> Iterator[Call]:
    """Watch a short film about a product."""
    playback = {"session_id": f"playback_{shop.new_id()[:8]}", "total_length": 90, "video_player": "native", "sound": 80}
    content = {"session_id": playback["session_id"], "asset_id": "film_7", "title": "From leaf to cup · 茶", "total_length": 90}
    yield client.track("Video Playback Started", {**playback, "content_asset_ids": ["film_7"], "position": 0})
    yield client.track("Video Content Started", {**content, "position": 0})
    if shop.random.random() < 0.5:
        yield client.track("Video Playback Exited", {**playback, "position": shop.random.randint(1, 89)})
        return
    yield client.track("Video Content Completed", {**content, "position": 90})
    yield client.track("Video Playback Completed", {**playback, "position": 90})


def company_signs_up(shop: Shop) -> Iterator[Call]:
    """Let a company's buyer sign up; the shop's server sends all of it."""
    random = shop.random
    person = shop.new_person()
    shop.remember(person)
    group_id, name, industry, employees, plan = random.choice(COMPANIES)
    client = Client({**SERVER, "groupId": group_id, "ip": person.place.ip}, None, person.user_id, "server")
    yield client.identify(person, {"title": "Head of Purchasing", "company": {"id": group_id, "name": name}})
    yield client.call("group", {"groupId": group_id, "traits": {"name": name, "industry": industry, "employees": employees, "plan": plan}})
    yield client.track("Account Created", {"account_name": name})
    signed_up = {"type": "organic", "first_name": person.first_name, "last_name": person.last_name, "email": person.email}
    yield client.track("Signed Up", signed_up)
    yield client.track("Trial Started", {"trial_plan_name": plan})
    if random.random() < 0.5:
        colleague = shop.new_person()
        invitation = {"invitee_email": colleague.email, "invitee_first_name": colleague.first_name, "invitee_role": "Admin"}
        yield client.track("Invite Sent", invitation)
        client.user_id = colleague.user_id
        yield client.track("Account Added User", {"role": "Admin"})


def newsletter(shop: Shop) -> Iterator[Call]:
    """Send a customer the newsletter, and hear what became of it."""
    random = shop.random
    person = shop.returning(1.0) or shop.new_person()
    mail = Client({**MAIL, "traits": {"email": person.email}}, None, person.user_id, "server")
    email = {
        "email_id": f"email_{shop.new_id()[:8]}",
        "email_subject": "Spring light · Frühlingslicht · 春の光",
        "campaign_id": "campaign_news",
        "campaign_name": "Newsletter",
    }
    yield mail.track("Email Delivered", email)
    choice = random.random()
    if choice < 0.5:
        yield mail.track("Email Opened", email)
        if choice < 0.2:
            yield mail.track("Email Link Clicked", {**email, "link_id": "link_1", "link_url": f"{SHOP}/lighting"})
    elif choice < 0.53:
        yield mail.track("Email Marked as Spam", email)
    elif choice < 0.56:
        yield mail.track("Unsubscribed", {**email, "list_id": "list_news", "list_name": "Newsletter"})
