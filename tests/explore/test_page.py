"""The page in a real browser: clicks, keys and drags, and what is then to be seen."""

import numpy as np
import pytest
from PIL import Image

from tests.explore.browser import CHROMIUM, Browser

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs the chromium browser")
VQ, NORMAL, SPARSE = (f"article:nth-child({i})" for i in (1, 2, 3))
READY = (
    "document.querySelectorAll('.palette').length === 2 && "
    "S.cards.every(card => card.shown.file || card.shown.no_file)"
)
ALERT = "$('alert').textContent"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def page(browser, address):
    browser.events.clear()
    browser.open(address)
    browser.until(READY)
    yield browser
    assert browser.value(ALERT) == ""
    said = {e["method"]: e["params"] for e in browser.events}
    assert "Runtime.exceptionThrown" not in said
    assert "400" in said.get("Log.entryAdded", {"entry": {"text": "400"}})["entry"]["text"]
    asked = [e["params"] for e in browser.events if e["method"] == "Network.requestWillBeSent"]
    urls = [one["request"]["url"] for one in asked]
    assert all(url.startswith((address, "data:")) for url in urls)


def changes(page, card, act):
    """Does something, and waits until the card has another code, which it returns."""
    before = page.value(f"S.cards[{card}].history.length")
    act()
    page.until(f"S.cards[{card}].history.length !== {before} && !S.cards[{card}].busy")
    return numbers(page, card)


def numbers(page, card):
    return page.value(f"S.cards[{card}].shown.code[0].numbers")


def press(page, card, text):
    page.value(
        f"[...document.querySelectorAll('{card} button')]"
        f".find(b => b.textContent === '{text}').click()"
    )


def test_a_codeword_is_swapped_by_a_click_and_back(page):
    before = numbers(page, 0)
    picture = f"document.querySelector('{VQ} .trio figure:nth-child(2) img').src"
    first = page.value(picture)
    page.click(f"{VQ} .sites", 0.9, 0.1)
    page.until(f"document.querySelector('{VQ} .editor h3').textContent.includes('0, 3')")
    after = changes(page, 0, lambda: page.click(f"{VQ} .palette button:nth-child(5)"))
    assert np.flatnonzero(np.not_equal(before, after)).tolist() == [3]
    assert page.value(picture) != first
    pressed = f"document.querySelector('{VQ} .palette [aria-pressed=true] img + *, {VQ} .palette "
    assert page.value(f"{pressed}[aria-pressed=true]').textContent") == str(after[3])
    page.until(f"document.querySelector('{VQ} dl').textContent.includes('of which code')")
    page.click(f"{VQ} .sites + p + .row button")
    page.until("S.cards[0].history.length === 0")
    assert numbers(page, 0) == before
    assert page.value(picture) == first


def test_a_value_is_moved_with_the_arrow_keys(page):
    before = numbers(page, 1)
    page.value(f"document.querySelector('{NORMAL} .slider input').focus()")
    after = changes(page, 1, lambda: page.press("ArrowRight"))
    assert np.flatnonzero(np.not_equal(before, after)).tolist() == [(2 * 4 + 2) * 3]
    page.value(f"document.querySelector('{NORMAL} .sites').focus()")
    page.press("ArrowUp")
    page.until("S.cards[1].site.join() === '1,2'")


def test_an_atom_is_switched_off_and_on(page):
    box = f"{SPARSE} .palette .tile input[type=checkbox]"
    active = "S.cards[2].active(S.cards[2].site).length"
    held = page.value(active)
    changes(page, 2, lambda: page.click(box))
    assert page.value(active) == held - 1
    page.click(box)
    page.until(f"{active} === {held}")


def test_a_path_a_draw_and_a_completion(page):
    page.value("$('target').value = 'b'")
    page.click("#strip button:nth-child(4)")
    page.until("S.b && S.b.name === 'test-3'")
    changes(page, 1, lambda: page.click('[aria-label="place on the path of normal"]'))
    assert page.value(f"document.querySelectorAll('{NORMAL} .trio figure').length") == 1
    before = numbers(page, 0)
    press(page, VQ, "second half")
    assert page.value("S.cards[0].missing.size") == 8
    after = changes(page, 0, lambda: press(page, VQ, "complete"))
    assert after[:8] == before[:8]
    drawn = changes(page, 0, lambda: press(page, VQ, "draw"))
    assert drawn[:8] != before[:8]


def test_a_drawing_becomes_the_example_of_every_model(page):
    page.click("#drawing")
    page.drag("#pad", [(0.5, 0.1), (0.5, 0.5), (0.5, 0.9)])
    page.until("S.a.name.startsWith('own-') && S.cards.every(c => c.example === S.a.name)")
    first = page.value("S.a.name")
    page.value("$('pad').focus()")
    page.press("ArrowRight")
    page.press(" ")
    page.until(f"S.a.name !== '{first}' && S.cards[2].shown.mse > 0")


def test_what_is_refused_is_said_on_the_page(page):
    page.value("own(new Blob(['no picture']))")
    page.until(f"{ALERT}.includes('cannot be used as a picture')")
    page.click("#strip button:nth-child(2)")
    page.until(f"S.a.name === 'test-1' && {ALERT} === ''")


def test_everything_that_is_used_has_a_name_and_can_be_reached_by_keyboard(page):
    used = {"button", "slider", "checkbox", "combobox", "spinbutton", "application"}
    nodes = page.send("Accessibility.getFullAXTree")["nodes"]
    roles = [node for node in nodes if node.get("role", {}).get("value") in used]
    assert len(roles) > 60
    assert all(node.get("name", {}).get("value") for node in roles)
    ours = "[...document.querySelectorAll('button, input, select, .sites, summary')]"
    assert page.value(f"{ours}.every(e => e.tabIndex === 0)")


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_and_paints(page, tmp_path, width, dark):
    page.resize(width, 900, dark=dark)
    assert page.value("document.documentElement.scrollWidth") <= width
    right = "Math.max(...[...document.querySelectorAll('article *')].map("
    assert page.value(f"{right}e => e.getBoundingClientRect().right))") <= width
    page.screenshot(tmp_path / "page.png")
    picture = np.asarray(Image.open(tmp_path / "page.png").convert("L"))
    assert (picture[2, 2] < 40) if dark else (picture[2, 2] > 240)
    assert np.ptp(picture) > 150


@pytest.mark.parametrize("width", [1280, 400])
def test_what_is_decoded_stays_in_sight_of_the_last_atom(page, width):
    page.resize(width, 700)
    page.value(f"document.querySelector('{SPARSE} .palette .tile:last-child').scrollIntoView()")
    box = f"document.querySelector('{SPARSE} .trio').getBoundingClientRect()"
    top, bottom = page.value(f"(b => [b.top, b.bottom])({box})")
    page.resize(1280, 900)
    assert 0 <= top < bottom < 350
