"""The page of the API document: complete, from this server alone, in a real browser without one violation of its policy."""

import re
import shutil

import pytest
from playwright.sync_api import sync_playwright

from resources import docs

CHROMIUM = next((found for found in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if found), None)


def test_the_page_names_only_files_of_this_server(house):
    page = house.get("/docs")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(links) == 4
    for link in links:
        assert house.get(link).status == 200
    assert "<script>" not in page.text
    assert "style=" not in page.text


def test_the_page_allows_scripts_of_this_server_only(house):
    policy = dict(part.strip().split(" ", 1) for part in house.get("/docs").headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert (policy["script-src"], policy["style-src"], policy["connect-src"]) == ("'self'", "'self'", "'self'")
    assert "unsafe" not in str(policy)
    assert "script-src" not in house.get("/healthz").headers["Content-Security-Policy"]


@pytest.mark.parametrize("name", docs.NAMES)
def test_its_files_are_served_and_kept_by_browsers(house, name):
    answer = house.get(f"/docs/{name}")
    kind = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "png": "image/png"}[name.rpartition(".")[2]]
    assert (answer.status, answer.headers["Content-Type"]) == (200, kind)
    assert "max-age" in answer.headers["Cache-Control"]
    assert house.get(f"/docs/{name}", headers={"If-None-Match": answer.headers["ETag"]}).status == 304


@pytest.mark.parametrize("name", ["index.html", "swagger-ui.js", "..", "%2e%2e", "..%2fapp.py", "__init__.py"])
def test_nothing_else_of_the_package_is_served(house, name):
    assert house.get(f"/docs/{name}").status == 404


@pytest.mark.settings(RATE_LIMIT_ENABLED=True, RATE_LIMIT_ANONYMOUS="1 per day")
def test_it_is_not_counted(house):
    assert {house.get(path).status for path in ("/docs", "/openapi.json", "/docs/swagger-ui.css") for _ in range(3)} == {200}


@pytest.mark.skipif(CHROMIUM is None, reason="There is no Chromium on this machine.")
def test_a_browser_shows_every_operation_asks_nobody_else_and_complains_about_nothing(server):
    complaints, asked = [], []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(server.base + "/docs")
        page.wait_for_selector(".opblock")
        shown = page.locator(".opblock").count()
        page.click("#operations-auth-postLogin .opblock-summary-control")
        page.wait_for_selector("#operations-auth-postLogin .responses-table")
        text = page.locator("#operations-auth-postLogin").inner_text()
        browser.close()
    paths = server.get("/openapi.json").json["paths"].values()
    assert shown == sum(len(methods) for methods in paths)
    assert "too_many_attempts" in text
    assert complaints == []
    assert {url.startswith((server.base + "/", "data:")) for url in asked} == {True}
