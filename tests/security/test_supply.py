"""What is built and run is what was meant: sources of randomness, packages, images, and who may build."""

import ast
import hashlib
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import Service

LOCKS = ("runtime", "dev", "test")
# For pauses, and for a client's idempotency key: what must differ and need not be secret.
PLAIN_RANDOM = {
    "otp_service/client/call.py",
    "otp_service/client/retrying.py",
    "otp_service/services/webhooks.py",
}
PREDICTABLE = {"random", "uuid", "numpy"}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def test_nothing_that_must_not_be_guessed_is_drawn_predictably(root: Path) -> None:
    """K01, K03: `random` and `uuid` are imported for pauses and names, and nowhere else but in the sandbox."""
    sources = [
        path
        for path in (root / "otp_service").rglob("*.py")
        if "sandbox" not in path.relative_to(root).parts
    ]
    used = {str(path.relative_to(root)) for path in sources if imports(path) & PREDICTABLE}
    assert len(sources) > 150
    assert used == PLAIN_RANDOM


@pytest.mark.parametrize(
    "text", ["import random", "from uuid import uuid4", "def f():\n    import random as r"]
)
def test_a_predictable_source_is_seen(text: str, tmp_path: Path) -> None:
    """K01's negative control."""
    (tmp_path / "x.py").write_text(text)
    assert imports(tmp_path / "x.py") & PREDICTABLE


def unpinned(text: str) -> list[str]:
    """Requirements of a lock file that are not one version with hashes, from whatever index is configured."""
    joined = text.replace("\\\n", " ")
    lines = [line.strip() for line in joined.splitlines() if line.strip() and line[0] != "#"]
    whole = re.compile(
        r"[a-z0-9.-]+==[A-Za-z0-9.!+]+(?: ; [^@]*?)?(?: +--hash=sha256:[0-9a-f]{64})+", re.ASCII
    )
    return [line for line in lines if not whole.fullmatch(line)]


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_is_pinned_by_hash_and_comes_from_one_index(name: str, root: Path) -> None:
    """K14, K17: no range, no address, no second index."""
    text = (root / f"requirements/{name}.lock").read_text()
    assert text.count("--hash=") > 50
    assert unpinned(text) == []


@pytest.mark.parametrize(
    "line",
    [
        "httpx==0.28.1",
        "httpx>=0.28 --hash=sha256:" + "a" * 64,
        "httpx @ https://example.com/httpx.whl --hash=sha256:" + "a" * 64,
        "--extra-index-url https://example.com/simple",
        "git+https://example.com/httpx.git",
    ],
)
def test_a_package_that_is_not_pinned_is_seen(line: str) -> None:
    """K14's and K17's negative control."""
    assert unpinned(line) == [line]


def test_every_installation_checks_hashes(root: Path) -> None:
    """K14, K17: what is installed without is our own source and the wheel that was just built of it."""
    for path in ("Makefile", "docker/Dockerfile"):
        text = (root / path).read_text()
        assert "index-url" not in text.replace("--no-emit-index-url", "")
        lines = [line for line in text.splitlines() if not line.startswith("PIP ")]
        installs = [line for line in lines if re.search(r"^\t\$\(PIP\)|pip.* install ", line)]
        assert len(installs) >= 3
        for line in installs:
            assert re.search("--require-hashes|--no-deps|--force-reinstall", line), line


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as the image gets it."""
    root, into = Path(__file__).parent.parent.parent, tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "--wheel-dir",
            into,
            root,
        ],
        check=True,
        capture_output=True,
    )
    return next(into.glob("*.whl"))


SECRET = re.compile(
    rb"otpc_[a-z0-9-]+_[A-Za-z0-9_-]{20}|whsec_[A-Za-z0-9+/]{20}|-----BEGIN [A-Z ]*PRIVATE KEY"
    rb"|\"secret\": *\"[A-Za-z0-9+/=]{30}"
)


def test_the_package_holds_the_package_and_no_secret(wheel: Path) -> None:
    """K13: neither a test, a setting nor a key comes along."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            assert name.startswith(("otp_service/", "otp_service-")), name
            assert not name.endswith((".env", ".pem", ".key", ".sqlite", ".rdb", ".aof")), name
            assert SECRET.search(archive.read(name)) is None, name
        assert len(archive.namelist()) > 150


def test_a_secret_would_be_seen() -> None:
    """K13's negative control."""
    for secret in (
        b"otpc_shop_1_" + b"a" * 43,
        b"whsec_" + b"A" * 32,
        b"-----BEGIN EC PRIVATE KEY-----",
        b'"secret": "' + b"A" * 44 + b'"',
    ):
        assert SECRET.search(b"x = " + secret), secret


def test_a_package_that_is_another_than_the_locked_one_is_not_installed(
    wheel: Path, tmp_path: Path
) -> None:
    """K14: the flag that all installations have does what it says; the right hash is the negative control."""

    def install(digest: str) -> int:
        (tmp_path / "one.lock").write_text(f"otp-service==0.1.0 --hash=sha256:{digest}\n")
        done = subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--no-deps", "--no-index",
             "--find-links", wheel.parent, "--ignore-installed", "--require-hashes", "-r", tmp_path / "one.lock"],
            capture_output=True, check=False,
        )  # fmt: skip
        return done.returncode

    right = hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert install(right) == 0
    assert install(right[::-1]) != 0


# Where platforms look for what they are to run.
HOSTED = (
    ".github", ".gitea", ".forgejo", ".gitlab-ci.yml", ".circleci", ".travis.yml", ".drone.yml", ".woodpecker",
    ".woodpecker.yml", ".buildkite", ".semaphore", ".cirrus.yml", ".appveyor.yml", "appveyor.yml",
    "azure-pipelines.yml", "bitbucket-pipelines.yml", "cloudbuild.yaml", "Jenkinsfile",
)  # fmt: skip
PUBLISHES = re.compile(
    r"twine|(?:uv|flit|poetry|hatch|npm|cargo) +publish|(?:docker|podman|buildah|git|oras) +push|--push\b"
    r"|skopeo +copy|gh +release|glab +release"
)


def test_nobody_elses_machine_builds_or_publishes(root: Path) -> None:
    """
    K15, K16: there is no workflow of a hosting platform to take over, and no release but the source.

    Whoever adds one takes this test away, and pins its actions, narrows its token and signs what it releases.
    """
    assert [name for name in HOSTED if (root / name).exists()] == []
    assert [path.name for path in (root / ".ci").iterdir()] == ["run"]
    for path in ("Makefile", ".ci/run", "docker/Dockerfile", "docker/secrets.sh"):
        assert PUBLISHES.findall((root / path).read_text()) == [], path


INSIDE = (
    "/metrics", "/docs", "/redoc", "/debug", "/debug/pprof", "/admin", "/status", "/env", "/.env", "/.git/config",
    "/config", "/callers", "/keys", "/audit", "/sandbox", "/sandbox/messages", "/wp-json", "/server-status",
    "/swagger.json", "/console", "/actuator/env", "/hooks", "/hooks/wsms", "/robots.txt", "/favicon.ico",
)  # fmt: skip


@pytest.mark.parametrize("credential", [True, False])
async def test_nothing_of_the_inside_is_on_the_public_port(
    service: Service, credential: bool
) -> None:
    """K09, N-071: metrics have a port of their own; openapi.json is public on purpose and is all there is to read."""
    if not credential:
        del service.http.headers["authorization"]
    for path in INSIDE:
        answer = await service.http.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), path
        assert "server" not in answer.headers
    assert (await service.http.get("/openapi.json")).status_code == 200  # what is there is found
