"""Pages come in the visitor's language, say which it is, and may be an operator's own."""

import pytest

HTML = {"Accept": "text/html"}
PATHS = ["/confirm/x", "/reset-password/x", "/profile/email/confirm/x", "/profile/email/undo/x", "/not-me/x", "/profile/restore/x"]
BUTTONS = {
    "en": [
        "Confirm my address",
        "Set the password",
        "Confirm the new address",
        "Bring my address back",
        "This was not me",
        "Restore my account",
    ],
    "de": [
        "Meine Adresse bestätigen",
        "Passwort festlegen",
        "Neue Adresse bestätigen",
        "Meine Adresse zurückholen",
        "Das war ich nicht",
        "Mein Konto wiederherstellen",
    ],
}


def look(house, path, languages):
    return house.get(path, headers={**HTML, "Accept-Language": languages} if languages else HTML)


@pytest.mark.parametrize(
    ("languages", "language"),
    [
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("en-US,en;q=0.9,de;q=0.8", "en"),
        ("fr,de;q=0.5", "de"),
        ("fr,it", "en"),
        ("de;q=0,en", "en"),
        ("*", "en"),
        ("", "en"),
        ("../../etc,de", "de"),
        ("x" * 5000, "en"),
    ],
)
@pytest.mark.parametrize(("path", "number"), [(path, number) for number, path in enumerate(PATHS)])
def test_a_page_is_in_the_first_language_of_the_visitor_that_there_is(house, path, number, languages, language):
    page = look(house, path, languages)
    assert page.status == 200
    assert BUTTONS[language][number] in page.text
    assert f'<html lang="{language}">' in page.text
    assert page.headers["Content-Language"] == language
    vary = ", ".join(page.headers.getlist("Vary"))
    assert "Accept-Language" in vary
    assert "Origin" in vary


def test_a_refusal_is_told_in_the_visitors_language(house):
    german = {**HTML, "Accept-Language": "de"}
    refused = house.post("/confirm/x", headers=german)
    assert (refused.status, "Dieser Link ist unbekannt" in refused.text) == (400, True)
    assert refused.headers["Content-Language"] == "de"
    assert "This link is unknown" in house.post("/confirm/x", headers=HTML).text


def test_what_is_wrong_with_a_password_is_told_in_the_visitors_language(house, email):
    house.join(email)
    house.post("/forgot-password", {"email": email})
    form = {**HTML, "Accept-Language": "de", "Content-Type": "application/x-www-form-urlencoded"}
    refused = house.post(house.mailbox.last(email).path, data="password=short", headers=form)
    assert refused.status == 400
    assert "Das Passwort ist zu kurz" in refused.text
    assert "Use at least" not in refused.text


@pytest.mark.parametrize(("language", "said"), [("de", "Registriert wurde am"), ("en", "The sign-up came on")])
def test_the_page_after_confirming_says_when_in_words(house, email, language, said):
    house.sign_up(email)
    page = house.post(house.mailbox.last(email).path, headers={**HTML, "Accept-Language": language})
    assert said in page.text
    assert "UTC" in page.text


@pytest.fixture
def own(settings, tmp_path):
    """TEMPLATES_DIR."""
    folder = tmp_path / "own"
    (folder / "pages" / "de").mkdir(parents=True)
    (folder / "pages" / "en").mkdir(parents=True)
    settings["TEMPLATES_DIR"] = folder
    return folder / "pages"


def test_an_own_page_goes_before_the_built_in_one_and_escapes_what_is_in_it(own, house):
    (own / "de" / "refusal.html").write_text("<p>Oje: {{ '<b>' ~ problem.code }}</p>")
    assert house.post("/confirm/x", headers={**HTML, "Accept-Language": "de"}).text == "<p>Oje: &lt;b&gt;link_invalid</p>"
    assert "That did not work" in house.post("/confirm/x", headers=HTML).text


def test_a_broken_own_page_is_replaced_by_the_built_in_one(own, house, caplog):
    (own / "en" / "confirm.html").write_text("{{ nothing.at.all }}")
    assert "Confirm my address" in house.get("/confirm/x", headers=HTML).text
    assert "confirm.html:1" in caplog.text


@pytest.mark.settings(DEFAULT_LOCALE="de")
def test_who_names_no_language_gets_the_default_one(house):
    assert BUTTONS["de"][0] in house.get("/confirm/x", headers=HTML).text
    assert BUTTONS["en"][0] in look(house, "/confirm/x", "en").text
