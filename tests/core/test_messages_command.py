import pytest
from typer.testing import CliRunner

from otp_service.cli.messages import app


def run(*arguments):
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "300", "TERM": "dumb"})


def test_lint_is_content_with_the_texts_of_the_package_and_tells_the_longest_hosts():
    result = run("lint")
    assert result.exit_code == 0
    assert "nothing is wrong" in result.output
    assert "│ ar      │ 24|43" in result.output


def test_lint_fails_on_a_text_that_reading_refuses(tmp_path):
    (tmp_path / "en.toml").write_text('[texts]\nlogin = "no code"', encoding="utf-8")
    result = run("lint", "--dir", str(tmp_path))
    assert result.exit_code == 1
    assert "must have $code exactly once" in result.output
    assert "en.toml" in result.output


def test_lint_fails_on_a_text_that_is_too_long_and_passes_over_what_was_not_asked(tmp_path):
    (tmp_path / "en.toml").write_text(f'[texts]\nlogin = "{"x" * 200} $code"', encoding="utf-8")
    result = run("lint", "--dir", str(tmp_path), "--digits", "6", "--origin", "example.com")
    assert result.exit_code == 1
    assert "does not fit one SMS" in result.output
    assert run("lint", "--dir", str(tmp_path), "--purpose", "signup").exit_code == 0
    assert run("lint", "--dir", str(tmp_path), "--locale", "de").exit_code == 0


def test_lint_knows_configured_purposes(tmp_path):
    (tmp_path / "en.toml").write_text('[texts]\nparking = "Code: $code"', encoding="utf-8")
    assert run("lint", "--dir", str(tmp_path)).exit_code == 1
    result = run("lint", "--dir", str(tmp_path), "--configured", "parking")
    assert result.exit_code == 0


def test_preview_shows_message_encoding_units_and_segments():
    result = run("preview", "--locale", "FA_ir", "--purpose", "login", "--origin", "example.com")
    assert result.exit_code == 0
    assert "کد ورود: 123456" in result.output
    assert "@example.com #123456" in result.output
    assert "UCS-2" in result.output
    assert "56 of 70" in result.output


def test_an_apps_hash_makes_hosts_shorter_and_is_shown_where_it_fits():
    result = run("lint", "--app-hash", "FA+9qCX9VSu")
    assert result.exit_code == 0
    assert "│ ar      │ 12|31" in result.output
    asked = ("preview", "--locale", "en", "--purpose", "login", "--app-hash", "FA+9qCX9VSu")
    result = run(*asked)
    assert "FA+9qCX9VSu" in result.output
    assert "89 of 140" in result.output
    result = run(*asked, "--origin", "ab." * 36 + "xyz")
    assert "without the app's hash" in result.output


def test_preview_shows_all_of_a_message_also_in_a_narrow_window():
    host = "login.a-rather-long.example.com"
    asked = ("preview", "--locale", "en", "--purpose", "login", "--origin", host)
    shown = CliRunner().invoke(app, asked, env={"COLUMNS": "60", "TERM": "dumb"}).output
    cells = [line.split("│")[3].strip() for line in shown.splitlines() if line.count("│") == 7]
    assert f"@{host}" in "".join(cells)


def test_preview_shows_markup_as_it_is(tmp_path):
    (tmp_path / "en.toml").write_text('[texts]\nlogin = "[bold] $code"', encoding="utf-8")
    result = run("preview", "--dir", str(tmp_path), "--locale", "en", "--purpose", "login")
    assert "[bold] 123456" in result.output
    assert "13 of" not in result.output
    assert "15 of 160" in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("--locale", "../en"),
        ("--purpose", "logn"),
        ("--brand", "acme.com"),
        ("--origin", "https://acme.com"),
        ("--app-hash", "FA+9qCX9VS"),
        ("--amount", "5"),
        ("--digits", "3"),
    ],
)
def test_preview_refuses_what_could_not_be_sent(arguments):
    assert run("preview", *arguments).exit_code == 2
