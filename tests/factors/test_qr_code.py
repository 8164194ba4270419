"""What a phone sees: the QR code on a screen and in a terminal, read and turned into codes by nothing of ours."""

import base64
import hashlib
import hmac
import io
import re
import struct
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import resvg_py
import zxingcpp
from PIL import Image, ImageOps

from tests.conftest import Service
from tests.factors.test_totp import enroll, now, verify

DARK_PAGE, WHITE_PAGE = "#101418", "#ffffff"


def read(image: Image.Image) -> str:
    """What a reader makes of it; the way round that QR codes are printed, no other."""
    [found] = zxingcpp.read_barcodes(image.convert("L"), try_invert=False)
    assert found.format == zxingcpp.BarcodeFormat.QRCode
    return str(found.text)


def on_a_page(svg: str, page: str) -> Image.Image:
    png = resvg_py.svg_to_bytes(svg_string=svg, background=page, zoom=2)
    return ImageOps.expand(Image.open(io.BytesIO(bytes(png))).convert("RGB"), 80, page)


def in_a_terminal(text: str) -> Image.Image:
    """Light half blocks on black."""
    halves = {" ": (0, 0), "▀": (255, 0), "▄": (0, 255), "█": (255, 255)}
    lines = text.splitlines()
    image = Image.new("L", (len(lines[0]), 2 * len(lines)))
    for y, line in enumerate(lines):
        for x, block in enumerate(line):
            for half, light in enumerate(halves[block]):
                image.putpixel((x, 2 * y + half), light)
    return ImageOps.expand(image.resize((image.width * 4, image.height * 4), 0), 40, 0)


def code_of(uri: str, unix: int) -> str:
    """RFC 6238 as it stands there, and nothing of ours."""
    asked = {name: values[0] for name, values in parse_qs(urlsplit(uri).query).items()}
    seed = base64.b32decode(asked["secret"] + "=" * (-len(asked["secret"]) % 8))
    hash_of = getattr(hashlib, asked.get("algorithm", "SHA1").lower())
    digits, period = int(asked.get("digits", 6)), int(asked.get("period", 30))
    mac = hmac.digest(seed, struct.pack(">Q", unix // period), hash_of)
    [number] = struct.unpack(">I", mac[mac[-1] & 15 :][:4])
    return f"{(number & 0x7FFFFFFF) % 10**digits:0{digits}d}"


@pytest.mark.parametrize("page", [WHITE_PAGE, DARK_PAGE])
@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"algorithm": "SHA256", "digits": 8, "issuer": "Ümlaut & Söhne"},
        {"algorithm": "SHA512", "account_name": "a" * 64, "issuer": "i" * 64},
    ],
)
async def test_what_a_phone_reads_off_the_screen_is_an_authenticator_that_is_accepted(
    service: Service, chosen: dict[str, Any], page: str
) -> None:
    enrolled, _ = await enroll(service, **{"account_name": "ann", **chosen})

    uri = read(on_a_page(enrolled["qr_svg"], page))

    assert uri == enrolled["provisioning_uri"]
    confirmed = await service.post(
        f"/factors/totp/{enrolled['factor_id']}/confirm", code=code_of(uri, await now(service))
    )
    assert confirmed.status_code == 200, confirmed.text
    service.advance(60)
    assert (await verify(service, code_of(uri, await now(service)))).status_code == 200


@pytest.mark.parametrize("width", [150, 900])
async def test_code_scales_to_the_size_that_the_page_gives(service: Service, width: int) -> None:
    """As CSS does it: the size changes, the viewBox stays. All of it is white around the code, also on a dark page."""
    enrolled, _ = await enroll(service)
    svg = re.sub(r'(width|height)="[0-9]+px"', rf'\1="{width}px"', enrolled["qr_svg"])
    png = resvg_py.svg_to_bytes(svg_string=svg, background=DARK_PAGE)
    image = Image.open(io.BytesIO(bytes(png))).convert("RGB")

    assert image.size == (width, width)
    [modules] = re.findall(r'viewBox="0 0 ([0-9]+) \1"', svg)
    quiet = int(width / (int(modules) / 4) * 4) - 1
    frame = [image.crop((0, 0, width, quiet)), image.crop((0, 0, quiet, width)),
             image.crop((0, width - quiet, width, width)), image.crop((width - quiet, 0, width, width))]  # fmt: skip
    assert {part.getextrema() for part in frame} == {((255, 255),) * 3}
    assert read(ImageOps.expand(image, 80, DARK_PAGE)) == enrolled["provisioning_uri"]


async def test_code_has_a_title_without_a_secret(service: Service) -> None:
    enrolled, _ = await enroll(service)
    assert re.findall(r"<title>(.*?)</title>", enrolled["qr_svg"]) == [
        "QR code for an authenticator app"
    ]


async def test_a_terminal_shows_the_same(service: Service) -> None:
    enrolled, _ = await enroll(service)

    assert read(in_a_terminal(enrolled["qr_terminal"])) == enrolled["provisioning_uri"]


async def test_a_code_without_its_own_white_is_lost_on_a_dark_page(service: Service) -> None:
    """The negative control: the reader sees what is shown, and not what is meant."""
    enrolled, _ = await enroll(service)
    bare = enrolled["qr_svg"].replace('fill="#fff"', 'fill="none"')

    assert read(on_a_page(bare, WHITE_PAGE)) == enrolled["provisioning_uri"]
    with pytest.raises(ValueError, match="unpack"):
        read(on_a_page(bare, DARK_PAGE))


async def test_the_uri_names_what_a_person_sees_in_the_app(service: Service) -> None:
    enrolled, _ = await enroll(service, issuer="Acme & Co", account_name="ann@example.com")
    uri = urlsplit(enrolled["provisioning_uri"])

    assert (uri.scheme, uri.netloc) == ("otpauth", "totp")
    assert unquote(uri.path) == "/Acme & Co:ann@example.com"
    assert parse_qs(uri.query)["issuer"] == ["Acme & Co"]
