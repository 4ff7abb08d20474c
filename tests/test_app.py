"""What create_app() puts around every resource, for each configuration of its own: origins, https, an old schema."""

import pytest

ORIGIN = "https://app.example.com"


def granted(answer):
    """The headers that let a browser's script in."""
    return {name for name in dict(answer.headers) if name.lower().startswith("access-control-")}


def preflight(house, path, origin, method):
    return house.request("OPTIONS", path, headers={"Origin": origin, "Access-Control-Request-Method": method})


@pytest.mark.settings(CORS_ORIGINS="")
@pytest.mark.parametrize("origin", [ORIGIN, "null", "*", "http://localhost:3000", ""])
def test_without_a_list_no_origin_is_let_in(house, origin):
    for answer in (house.get("/healthz", headers={"Origin": origin}), preflight(house, "/login", origin, "POST")):
        assert granted(answer) == set()
        assert "Origin" in answer.headers["Vary"]


@pytest.mark.settings(CORS_ORIGINS="https://App.Example.com")
def test_an_origin_is_listed_however_its_letters_are_written(house):
    assert house.get("/healthz", headers={"Origin": ORIGIN}).headers["Access-Control-Allow-Origin"] == ORIGIN


@pytest.mark.settings(RATE_LIMIT_ENABLED=True, RATE_LIMIT_ANONYMOUS="2 per day")
def test_preflights_are_not_counted_and_a_limited_answer_can_be_read(house):
    assert {preflight(house, "/password-policy", ORIGIN, "GET").status for _ in range(5)} == {200}
    assert [house.get("/password-policy").status for _ in range(2)] == [200, 200]
    limited = house.get("/password-policy", headers={"Origin": ORIGIN})
    assert limited.status == 429
    assert limited.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "Retry-After" in limited.headers["Access-Control-Expose-Headers"]


@pytest.mark.settings(FORCE_HTTPS=True, BASE_URL="https://gatehouse.example")
@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("/password-policy", "/password-policy"),
        ("/password-policy?a=b%20c&d", "/password-policy?a=b%20c&d"),
        ("/nowhere/%c3%a9", "/nowhere/%C3%A9"),
        ("/a%3fb", "/a%3Fb"),
        ("/%0d%0aSet-Cookie:x=1", "/%0D%0ASet-Cookie:x=1"),
        ("/%00%1b", "/%00%1B"),
        ("/a%25b", "/a%25b"),
    ],
)
def test_plain_http_is_sent_to_the_same_path_over_https(house, asked, told):
    for method in ("GET", "HEAD"):
        answer = house.request(method, asked)
        assert (answer.status, answer.headers["Location"]) == (308, f"https://gatehouse.example{told}")
        assert "Set-Cookie" not in answer.headers


@pytest.mark.settings(FORCE_HTTPS=True, BASE_URL="https://gatehouse.example")
def test_a_change_over_plain_http_is_refused(house):
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert house.request(method, "/login").code == "https_required"
    assert [house.get(path).status for path in ("/healthz", "/readyz")] == [200, 200]


@pytest.mark.settings(FORCE_HTTPS=True, BASE_URL="https://gatehouse.example", TRUSTED_PROXIES=1)
def test_behind_a_proxy_the_proxys_word_counts(house):
    assert (
        house.get("/healthz", headers={"X-Forwarded-Proto": "https"}).headers["Strict-Transport-Security"]
        == "max-age=31536000; includeSubDomains"
    )
    assert house.get("/password-policy", headers={"X-Forwarded-Proto": "https"}).status == 200
    assert house.get("/password-policy", headers={"X-Forwarded-Proto": "https, http"}).status == 308
    assert house.get("/password-policy", headers={"X-Forwarded-Proto": "http, https"}).status == 200


def test_without_a_trusted_proxy_nobodys_word_counts(house):
    for name in ("X-Forwarded-Proto", "X-Forwarded-Ssl", "Front-End-Https", "Forwarded"):
        assert "Strict-Transport-Security" not in house.get("/healthz", headers={name: "https"}).headers
