"""
The attacks that are tried on every build, and which test repels each: what docs/attacks.md is made of.

A test repels an attack when its docstring or its name has the attack's id; the docstring of a module speaks for all of
its tests that name no id themselves. Its negative control is a test whose docstring says so, or a broken build
(`tests.security.broken_builds`), which must fail a test.
"""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.security.broken_builds import BUILDS

TESTS = Path(__file__).parent.parent
COUNTS = {
    "A": 20, "B": 33, "C": 28, "D": 23, "E": 18, "F": 20, "G": 12, "H": 14, "I": 10, "J": 11, "K": 18,
}  # fmt: skip
HEADINGS = {
    "A": "Guessing and counters",
    "B": "Single use, replay, binding",
    "C": "Input",
    "D": "Numbers, texts, fraud",
    "E": "Enumeration, privacy, leaks",
    "F": "Callers and tokens",
    "G": "The WordPress site and webhooks",
    "H": "Redis",
    "I": "Exhaustion",
    "J": "Pages in a browser",
    "K": "Keys, randomness, operation, supply",
}
ATTACKS = dict(
    line.split(" ", 1)
    for line in """
A01 Many wrong codes at the same moment, before the first is counted
A02 As A01, released by one packet or over one multiplexed connection
A03 A resend to reset the attempts
A04 A new request to reset the attempts
A05 Many live challenges, each with its own attempts
A06 Each guess from another address
A07 A few guesses a day, for weeks
A08 A call that accepts codes without a limit
A09 One guess at each of many people
A10 Guesses at another factor when one is blocked
A11 The right code after a block that began after the request
A12 A failure that is not counted because of another fault
A13 A caller that sets attempts, lifetime or code
A14 A limit of zero, below zero or a billion in the settings
A15 One guess more than allowed
A16 Wrong codes for another person's challenge to use up its attempts
A17 Wrong codes to lock a person out
A18 Several spellings of one person's id, counted separately
A19 A success of one's own that clears another person's count
A20 Twice the limit around the edge of a window
B01 The same code a second time
B02 The same code many times at the same moment
B03 A verification concurrent with a resend, so that two codes are valid
B04 The old code after a resend
B05 A code of one purpose for another
B06 Another caller's challenge
B07 Another number at the verification
B08 A code used in another session than it was requested in
B09 A code at its expiry, or after it while a key still exists
B10 A code for a removed factor
B11 A spent code after a failover
B12 A proof redeemed twice
B13 A proof for another person, purpose or session
B14 An idempotency key with another body
B15 One idempotency key many times at the same moment
B16 Another caller's idempotency key
B17 Secrets shown again by a retried call
B18 A recovery code twice
B19 A recovery code many times at the same moment
B20 Two concurrent recovery codes, one of which becomes unused again
B21 An old recovery code concurrent with the issue of new ones
B22 An app's code twice in its half minute
B23 An app's code twice, spelled otherwise
B24 An app's code many times at the same moment
B25 An older step after a newer one
B26 A code of past or future time steps
B27 A clock set back to reuse a time step
B28 A time sent by the caller
B29 An unconfirmed authenticator, or a second one beside the first
B30 A seed read a second time
B31 Weak parameters or a foreign secret for an app
B32 Local time, in the hour that comes twice
B33 Another person's authenticator, by its id
C01 A number, a boolean or a list in place of a code
C02 A code without its leading zeros
C03 Digits of other scripts
C04 Blanks, line feeds and invisible characters around a code
C05 A code of another length
C06 A name twice in one object
C07 NaN, Infinity and out-of-range numbers
C08 Very deep nesting
C09 Numbers of thousands of digits
C10 Bodies that are huge, endless or of another length than they say
C11 A compressed bomb
C12 Other encodings, bad UTF-8, half surrogates
C13 Nothing, or something that is no object
C14 JSON under another content type
C15 Forms with a million fields
C16 Fields that the caller must not set
C17 Fields and codes in the query
C18 Another method, or a header that names one
C19 A poisoned Host
C20 Alternative spellings of a path
C21 A head of one byte a second
C22 A body of one byte a second
C23 Idle connections
C24 Request smuggling; headers in trailers; upgrades
C25 A head of megabytes or of thousands of lines
C26 Texts that make regular expressions slow
C27 Ranges of ranges
C28 Line feeds and escapes for logs and terminals
D01 One number in many spellings, counted separately
D02 Extensions, counted separately
D03 Trunk zeros
D04 Several numbers in one field
D05 Line feeds in a number
D06 Premium numbers, for their revenue
D07 Satellite and global networks
D08 Expensive islands behind a cheap calling code
D09 Numbers in a row
D10 Few sends to many ranges, below every limit
D11 A caller's budget used up
D12 SMS to harass one person
D13 Resends at the same moment
D14 Lines, links and codes in what a message shows
D15 The site's own placeholders in a message
D16 Links that the site rewrites
D17 Template languages in texts and values
D18 A last line for another host
D19 Last lines that browsers do not read
D20 Characters that make one SMS three
D21 Paths as a locale
D22 A second number that looks like the code
D23 Other fields of the site, such as more recipients
E01 Known and unknown people told apart by answers
E02 Known and unknown people told apart by time
E03 Unknown, wrong, expired and spent codes told apart by other callers
E04 Another caller's use visible in limits
E05 Reading another caller's challenge
E06 A code in an answer
E07 A code that always works
E08 Codes, numbers and secrets in logs
E09 Codes, numbers and secrets in metrics; labels without bound
E10 Codes, numbers and secrets in tracebacks and prints
E11 Codes, numbers and seeds at rest in Redis
E12 A dump of Redis, and a million guesses at a digest
E13 Codes in what Redis logs and appends
E14 Codes that stay readable in WordPress
E15 Answers kept by caches and browsers
E16 Another call's response after a canceled call
E17 Pseudonyms turned back into numbers
E18 Masked numbers that show too much
F01 No credential, an empty one, garbage, another scheme
F02 A credential found by timing, or forged in Redis
F03 Calls beyond the caller's scopes
F04 Another caller's name in a field or header
F05 Unsigned tokens
F06 A public key used as a secret
F07 Algorithms that are not allowed
F08 Unknown critical extensions
F09 Keys inside a token
F10 Tokens expired, too early, for others, without claims
F11 A token of one kind in the place of another
F12 An issuer that is overloaded, slow or sends garbage
F13 A credential in a query, or anywhere but in its header
F14 A credential that was revoked
F15 Addresses and certificates claimed by a client
F16 An IPv6 address for each call
F17 Ids of another caller's things
F18 Proofs guessed or introspected by other callers
F19 Calls out of order
F20 Sample secrets in production
G01 A site that redirects
G02 Proxies and passwords of the environment
G03 Certificates that are wrong, and old TLS
G04 An SMS twice after a time-out
G05 An SMS twice after a crash
G06 False success, garbage and endless responses
G07 Secrets in a site's error messages
G08 An SMS sent after its code has expired
G09 Webhooks into the inner network
G10 Webhooks forged, changed or repeated
G11 A dead endpoint and ten thousand events
G12 Personal data in webhooks
H01 Special characters in Redis keys
H02 Many keys forced into one slot
H03 Counters evicted from a full Redis
H04 Counters flushed
H05 Counters lost in a restart
H06 Reading from a stale replica
H07 A script cache that is flushed
H08 Scripts over several slots
H09 Slots that move
H10 A Redis user that may do anything
H11 Servers whose scripts can be broken out of
H12 Keys without a TTL
H13 Scripts that get slower
H14 Malformed responses of Redis
I01 Verifications to burn processors
I02 Verifications to fill memory
I03 Hashes that block everything else
I04 More threads than cores
I05 More requests than the site can send
I06 Challenges to fill Redis
I07 Keys of limits and calls to fill Redis
I08 Labels and log lines without bound
I09 Unlimited connections
I10 All clients reconnecting at the same time
J01 A foreign page that posts
J02 A foreign page that reads
J03 A page inside of a foreign page
J04 Markup in what is shown
J05 A redirect to wherever a parameter says
J06 A proof in a URL
J07 Links built from a forged Host
J08 Cookies readable by scripts and other hosts
J09 A code filled into another host's page
J10 Markup in the place of a code
J11 A page from the browser's cache
K01 A weak source of randomness
K02 Codes with a non-uniform distribution
K03 Predictable ids
K04 Codes and proofs over the rotation of a key
K05 Limits reset by a new key
K06 A leaked key and data made with it
K07 A key unknown to consumers
K08 A key used as another kind
K09 Documents, metrics and consoles on the public port
K10 A debug mode left on
K11 Misspelt and empty settings that weaken security
K12 A container with unneeded privileges
K13 Secrets in packages and images
K14 A replaced package
K15 A build that others can start or change
K16 A replaced release
K17 Dependency confusion
K18 Abuse by operators and help desks
""".strip().splitlines()
)
NOT_HERE = {
    "J05": "The service has no pages and redirects nobody",
    "J06": "The service has no pages; a proof is in the body of an answer",
    "J10": "The service has no pages; what a caller's page sends is checked as C01 to C05 say",
    "J11": "The service has no pages, and no answer may be kept (E15)",
}
# What befalls the parts: the lab's list, of which tests speak as they do of attacks. There is no table of them.
FAULTS = frozenset(f"X{number:02}" for number in range(1, 43))

_ID = re.compile(r"\b([A-K](?:0[1-9]|[12][0-9]|3[0-3]))\b")
_FAULT = re.compile(r"\b(X[0-4][0-9])\b")
_ID_IN_NAME = re.compile(r"(?<=_)([a-k][0-3][0-9])(?=_)")
_CONTROL = re.compile(r"\bcontrols?\b(?! char)|vulnerable build", re.IGNORECASE)
# One that is nothing else: "The negative control …", "B19's negative control", "A01's vulnerable build".
_ONLY_CONTROL = re.compile(
    r"(?:[A-K][0-9]{2}(?:'s)?[:, ]+)*(?:the |linter's )*(?:negative |vulnerable )?(?:controls?|build)\b(?! char)",
    re.IGNORECASE,
)


@dataclass(frozen=True, order=True)
class Test:
    """
    One test, with the attacks and faults that it speaks of.

    Attributes:
        is_control: It shows that the others of these attacks can fail.
        is_only_control: And it repels none itself.
    """

    file: str
    name: str
    ids: frozenset[str]
    is_control: bool
    is_only_control: bool


def read(source: str, file: str) -> Iterator[Test]:
    """Yield the tests of one module."""
    tree = ast.parse(source)
    of_controls = "negative_controls" in file
    of_all = frozenset(_ID.findall(ast.get_docstring(tree) or ""))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    bodies = [tree.body, *(node.body for node in tree.body if isinstance(node, ast.ClassDef))]
    for node in (found for body in bodies for found in body if isinstance(found, functions)):
        if node.name.startswith("test_"):
            said = ast.get_docstring(node) or ""
            in_name = {found.upper() for found in _ID_IN_NAME.findall(node.name)}
            ids = frozenset(in_name | set(_ID.findall(said))) or of_all
            only = of_controls or bool(_ONLY_CONTROL.match(said))
            shows = only or bool(_CONTROL.search(said))
            known = ids & set(ATTACKS) | FAULTS & set(_FAULT.findall(said))
            yield Test(file, node.name, known, shows, only)


@cache
def all_tests() -> tuple[Test, ...]:
    """Return every test there is."""
    paths = sorted(TESTS.rglob("test_*.py"))
    found = [
        test
        for path in paths
        for test in read(path.read_text("utf-8"), path.relative_to(TESTS).as_posix())
    ]
    return tuple(sorted(found, key=lambda test: (test.file, test.name)))


def repelling(attack: str) -> list[Test]:
    """Return the tests that name it, controls left out unless there is nothing else."""
    named = [test for test in all_tests() if attack in test.ids]
    return [test for test in named if not test.is_only_control] or named


def controls(attack: str) -> list[str]:
    """Return what shows that those tests can fail: other tests, then broken builds."""
    named = [
        test.name.removeprefix("test_")
        for test in all_tests()
        if attack in test.ids and test.is_control
    ]
    return named + [f"build `{build.name}`" for build in BUILDS if attack in build.ids]


def table() -> Iterable[str]:
    """Yield the document's tables."""
    for letter, heading in HEADINGS.items():
        yield f"## {heading}"
        yield ""
        yield "| id | attack | repelled by | shown to fail by |"
        yield "| --- | --- | --- | --- |"
        for attack in (name for name in ATTACKS if name[0] == letter):
            yield f"| {attack} | {ATTACKS[attack]} | {_by(attack)} | {'; '.join(controls(attack))} |"
        yield ""


def _by(attack: str) -> str:
    if attack in NOT_HERE:
        return NOT_HERE[attack]
    if not repelling(attack):
        return "Not yet"
    files: dict[str, list[str]] = {}
    for test in repelling(attack):
        files.setdefault(test.file, []).append(test.name.removeprefix("test_"))
    return "; ".join(
        f"[{file.removesuffix('.py').replace('/test_', '/')}](../tests/{file}): {', '.join(dict.fromkeys(names))}"
        for file, names in files.items()
    )
