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
A03 A resend to have the tries back
A04 A new request to have the tries back
A05 Many live challenges, each with tries of its own
A06 Each guess from another address
A07 A few guesses a day, for weeks
A08 A call that takes a code and was never limited
A09 One guess at each of many people
A10 The other factor's door, when one is blocked
A11 The right code after a block that came later than the request
A12 A failure that is not counted, because something else broke
A13 A caller that sets tries, life or code by itself
A14 A limit of nothing, less than nothing or a billion in the settings
A15 One guess more than allowed
A16 Junk at somebody's challenge until its tries are gone
A17 Wrong codes to keep a person locked out
A18 Spellings of one person's id, to be counted as several
A19 An own success to clear another's count
A20 Twice the limit around the edge of a window
B01 The same code a second time
B02 The same code many times at the same moment
B03 A verification beside a resend, so that two codes are good
B04 The old code after a resend
B05 A code of one purpose for another
B06 Another caller's challenge
B07 Another number, named when the code comes back
B08 A code brought into another session than it was asked for in
B09 A code at the edge of its time, or past it where a key still lies
B10 A code for a factor that is gone
B11 A spent code after a failover
B12 A proof redeemed twice
B13 A proof for somebody else, something else or another session
B14 An idempotency key with another body
B15 One idempotency key many times at the same moment
B16 Another caller's idempotency key
B17 Secrets shown again by a retried call
B18 A recovery code twice
B19 A recovery code many times at the same moment
B20 Two recovery codes at once, of which one comes back
B21 An old recovery code beside the issue of new ones
B22 An app's code twice in its half minute
B23 An app's code twice, spelled otherwise
B24 An app's code many times at the same moment
B25 An older step after a newer one
B26 A code of steps that are past or to come
B27 A clock set back, to open a step again
B28 A caller's own idea of the time
B29 An authenticator that nobody confirmed, or a second one put beside the first
B30 A seed read a second time
B31 Weak parameters or a foreign secret for an app
B32 Local time, in the hour that comes twice
B33 Another person's authenticator, by its id
C01 A number, a truth or a list in place of a code
C02 A code without its leading zeros
C03 Digits of other scripts
C04 Blanks, line feeds and invisible characters around a code
C05 A code of another length
C06 A name twice in one object
C07 NaN, Infinity and numbers beyond
C08 Nesting without end
C09 Numbers of thousands of digits
C10 Bodies that are huge, endless or of another length than they say
C11 A compressed bomb
C12 Other encodings, bad UTF-8, half surrogates
C13 Nothing, or something that is no object
C14 JSON under another content type
C15 Forms with a million fields
C16 Fields that are not the caller's to set
C17 Fields and codes in the query
C18 Another method, or a header that names one
C19 A poisoned Host
C20 Other spellings of a path
C21 A head of one byte a second
C22 A body of one byte a second
C23 Connections that say nothing
C24 Two readings of where a request ends; headers in trailers; upgrades
C25 A head of megabytes or of thousands of lines
C26 Texts that make patterns slow
C27 Ranges of ranges
C28 Line feeds and escapes for logs and terminals
D01 One number in many spellings, to be counted as many
D02 Extensions, to be counted as many
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
D23 The site's other fields, such as who else gets it
E01 Known and unknown people told apart by answers
E02 Known and unknown people told apart by time
E03 Unknown, wrong, expired and spent told apart by strangers
E04 Another's use seen in one's own limits
E05 Another's challenge looked at
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
E16 Another's answer after a canceled call
E17 Pseudonyms turned back into numbers
E18 Masks that show too much
F01 No credential, an empty one, garbage, another scheme
F02 A credential found by timing, or forged in Redis
F03 More than one's scopes
F04 Another caller's name in a field or header
F05 Tokens that nobody signed
F06 A public key used as a secret
F07 Algorithms that are not allowed
F08 Critical extensions that nobody understands
F09 Keys that a token brings along
F10 Tokens expired, too early, for others, without claims
F11 A token of one kind in the place of another
F12 An issuer that is stormed, slow or sends garbage
F13 A credential in a query, or anywhere but in its header
F14 A credential that was revoked
F15 Addresses and certificates that a client names itself
F16 An IPv6 address for each call
F17 Ids of another caller's things
F18 Proofs guessed or asked about by strangers
F19 Steps out of order
F20 Sample secrets in production
G01 A site that redirects
G02 Proxies and passwords of the environment
G03 Certificates that are wrong, and old TLS
G04 An SMS twice after a time-out
G05 An SMS twice after a crash
G06 Success that is none, garbage, endless answers
G07 Secrets in what a site says went wrong
G08 An SMS that comes when its code is over
G09 Webhooks into the inner network
G10 Webhooks forged, changed or repeated
G11 A dead endpoint and ten thousand events
G12 Personal things in webhooks
H01 Characters that mean something in keys
H02 All of one's keys in one slot
H03 Counters evicted from a full Redis
H04 Counters flushed
H05 Counters lost in a restart
H06 Reading from a replica that is behind
H07 A script cache that is flushed
H08 Scripts over several slots
H09 Slots that move
H10 A Redis user that may do anything
H11 Servers whose scripts can be broken out of
H12 Keys without an end
H13 Scripts that get slower
H14 Answers of Redis that make no sense
I01 Verifications to burn processors
I02 Verifications to fill memory
I03 Hashes that hold everything else up
I04 More threads than cores
I05 More requests than the site can send
I06 Challenges to fill Redis
I07 Keys of limits and calls to fill Redis
I08 Labels and log lines without bound
I09 Connections without end
I10 Everybody coming back at the same moment
J01 A foreign page that posts
J02 A foreign page that reads
J03 A page inside of a foreign page
J04 Markup in what is shown
J05 A redirect to wherever a parameter says
J06 A proof in an address
J07 Links built from a forged Host
J08 Cookies that scripts and other hosts get
J09 A code filled into another host's page
J10 Markup in the place of a code
J11 A page from the browser's memory
K01 A source of randomness that is none
K02 Codes that are not all as likely
K03 Ids that can be foretold
K04 Codes and proofs over the rotation of a key
K05 Limits that start anew with a new key
K06 A key that leaked, and what it made
K07 A key that consumers do not know yet
K08 A key in the place of another
K09 Documents, metrics and consoles on the public port
K10 A debug mode left on
K11 Misspelt and empty settings that open something
K12 A container with more than it needs
K13 Secrets in packages and images
K14 A package that was exchanged
K15 A build that others can start or change
K16 A release that was exchanged
K17 A package of the same name elsewhere
K18 Operators and help desks that go too far
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
