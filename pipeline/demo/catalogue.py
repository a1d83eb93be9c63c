"""What the made-up shop sells, and to whom: plain data."""

from typing import NamedTuple


class Product(NamedTuple):
    """One product of the shop, its price in euro cents."""

    product_id: str
    sku: str
    name: str
    category: str
    brand: str
    variant: str
    cents: int


class Place(NamedTuple):
    """Where a person lives; the address lies in a network that MaxMind's published test databases know."""

    city: str
    country: str
    locale: str
    timezone: str
    ip: str


PRODUCTS = (
    Product("P-1001", "LAMP-WAL", "Walnut desk lamp", "Lighting", "Nordljus", "walnut", 8900),
    Product("P-1002", "LAMP-OAK", "Oak floor lamp", "Lighting", "Nordljus", "oak", 18900),
    Product("P-1003", "LANT-RED", "灯籠 paper lantern", "Lighting", "Midori", "red", 2450),
    Product("P-2001", "TEA-GYO-50", "玉露 Gyokuro, 50 g", "Tea", "Midori", "spring harvest", 1500),
    Product("P-2002", "TEA-OOL-75", "凍頂 oolong, 75 g", "Tea", "Midori", "roasted", 1275),
    Product("P-2003", "POT-IRON", "Cast-iron teapot, 0.8 l", "Tea", "Kamin", "black", 6400),
    Product("P-3001", "CUP-BLU-2", "Espresso cups, set of 2", "Kitchen", "Façonné", "blue glaze", 3200),
    Product("P-3002", "KNIFE-18", "Chef's knife, 18 cm", "Kitchen", "Kamin", "ash handle", 9995),
    Product("P-3003", "BOARD-L", "Olive-wood board “Große Tafel”", "Kitchen", "Façonné", "large", 4550),
    Product("P-4001", "BLANK-WOOL", "Wool blanket Särö", "Living", "Nordljus", "sea grey", 12900),
    Product("P-4002", "CUSH-LIN", "Linen cushion 🌿", "Living", "Façonné", "sage", 3900),
    Product("P-4003", "VASE-TALL", "Tall vase „Wrocław”", "Living", "Kamin", "smoke", 5700),
)
CATEGORIES = ("Lighting", "Tea", "Kitchen", "Living")
SEARCHES = ("desk lamp", "teapot", "Geschenk für Mama", "lumière douce", "玉露", "подарок", "هدية", "vase 🏺", "knife under 100")

FIRST_NAMES = ("Zoë", "Omar", "Gita", "Łukasz", "Ana", "Jürgen", "美咲", "Олена", "Noah", "Aoife", "محمد", "Chloé")
LAST_NAMES = ("Ångström", "Haddad", "Rao", "Wójcik", "O'Neill", "Müller", "佐藤", "Шевченко", "Smith", "Nguyễn", "Núñez", "Dubois")

PLACES = (
    Place("London", "GB", "en-GB", "Europe/London", "81.2.69.142"),
    Place("Boxford", "GB", "en-GB", "Europe/London", "2.125.160.216"),
    Place("Linköping", "SE", "sv-SE", "Europe/Stockholm", "89.160.20.112"),
    Place("Milton", "US", "en-US", "America/Los_Angeles", "216.160.83.56"),
    Place("Changchun", "CN", "zh-CN", "Asia/Shanghai", "175.16.199.12"),
    Place("Thimphu", "BT", "en-US", "Asia/Thimphu", "67.43.156.23"),
    Place("Manila", "PH", "fil-PH", "Asia/Manila", "202.196.224.8"),
)

COMPANIES = (
    ("company_71", "Nordljus AB", "Retail", 42, "business"),
    ("company_72", "Café Größenwahn GmbH", "Food and drink", 9, "starter"),
    ("company_73", "株式会社みどり", "Wholesale", 310, "enterprise"),
    ("company_74", "Haddad & Sons", "Hospitality", 57, "business"),
)

#: Campaigns that visits come from: source, medium, name, content.
CAMPAIGNS = (
    ("newsletter", "email", "spring_light", "header_button"),
    ("search", "cpc", "brand_terms", "ad_b"),
    ("social", "paid_social", "tea_time", "carousel_2"),
    ("partner", "affiliate", "home_blog", "inline_link"),
)

#: Coupons with the discount in per cent; an expired one is refused.
COUPONS = (("coupon_spring", "SPRING10", 10), ("coupon_tea", "TEATIME5", 5), ("coupon_old", "WINTER20", 0))
