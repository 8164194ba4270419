"""
The files that messages are written in: one TOML file per locale, checked whole when read.

A file has ``encoding`` ("GSM-7" or "UCS-2"), ``with_brand`` (how a brand is put to a text, from
``$brand`` and ``$text``), ``amount`` (1234567.89 as the locale writes it) and a table ``texts``:
for each purpose one text or a list of them, the longest first. Texts are `string.Template`:
nothing in them is executed, and only known placeholders are replaced.
"""

import re
import tomllib
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from string import Template
from typing import Any, Final

from otp_service.core.locale_tags import canonical_tag, is_locale_tag
from otp_service.core.message_values import CONTEXT_FIELDS, NUMBER_FORMATS
from otp_service.core.segments import Encoding

PURPOSES: Final = (
    "default",
    "login",
    "signup",
    "verification",
    "recovery",
    "payment",
    "opt_in",
)
PLACEHOLDERS: Final = frozenset({"code", "minutes"})

_KEYS = frozenset({"encoding", "with_brand", "amount", "texts"})
_JOINERS = "\u200c\u200d"
_LINK = re.compile(r"://|www\.|\w[.．｡]+[^\W\d_]|[a-z0-9]。[a-z]", re.IGNORECASE)
_LAST_LINE = "the last line, @host #code, is written by the service alone"
_FORBIDDEN = {
    "%": "WSMS replaces what stands between two of them",
    "％": "it could become a percent sign, and WSMS replaces what stands between two of them",
    "|": "some gateways take what follows for the number of a template",
    "@": _LAST_LINE,
    "＠": _LAST_LINE,
    "#": _LAST_LINE,
    "＃": _LAST_LINE,
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong with the texts: where (file, locale, purpose or key) and what to change."""

    file: str
    locale: str
    key: str
    problem: str

    def __str__(self) -> str:
        return f"{self.file}: {self.key}: {self.problem}"


class MessagesInvalid(ValueError):
    """Texts that can't be used; `findings` names each file, key and reason."""

    def __init__(self, findings: Collection[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__("\n".join(str(finding) for finding in self.findings))


@dataclass(frozen=True, slots=True, eq=False)  # hashed by identity, for the linter's cache
class LocaleTexts:
    """Everything one locale says; `files` names the file that each purpose's texts came from."""

    locale: str
    file: str
    encoding: Encoding
    with_brand: Template
    amount: str
    texts: Mapping[str, tuple[Template, ...]]
    files: Mapping[str, str]


def read_locale(
    file: str, source: str, *, purposes: Collection[str], overridden: LocaleTexts | None = None
) -> LocaleTexts:
    """
    Read the file of one locale.

    Args:
        file: Its name for people; what stands before ``.toml`` is the locale's tag.
        source: Its text.
        purposes: The purposes it may have texts for.
        overridden: The texts of the same locale that it replaces where it says something. Without
            them it must say everything for the purposes in `PURPOSES`.

    Raises:
        MessagesInvalid: with everything that is wrong with it.
    """
    tag = file.rpartition("/")[2].removesuffix(".toml")
    findings: list[Finding] = []

    def wrong(key: str, problem: str) -> None:
        findings.append(Finding(file, tag, key, problem))

    if not is_locale_tag(tag) or canonical_tag(tag) != tag:
        wrong("file name", "must be a language tag in the usual case, such as pt.toml, pt-BR.toml")
    try:
        said: dict[str, Any] = tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        wrong("file", f"is not TOML: {error}")
        raise MessagesInvalid(findings) from None

    for key in sorted(said.keys() - _KEYS):
        wrong(key, f"is not known; known are {', '.join(sorted(_KEYS))}")
    required = frozenset() if overridden else _KEYS
    for key in sorted(required - said.keys()):
        wrong(key, "is missing")
    for key, problem in _setting_problems(said):
        wrong(key, problem)
    texts = said.get("texts", {})
    if not isinstance(texts, dict):
        wrong("texts", "must be a table")
        texts = {}
    if not overridden:
        for purpose in PURPOSES:
            if purpose not in texts:
                wrong(purpose, "is missing: a new locale needs a text for every purpose")
    written: dict[str, tuple[Template, ...]] = {}
    for purpose, value in texts.items():
        variants = [value] if isinstance(value, str) else value
        if purpose not in purposes:
            wrong(purpose, f"is no purpose; known are {', '.join(purposes)}")
        elif not isinstance(variants, list) or not variants:
            wrong(purpose, "must be a text or a list of texts, the longest first")
        else:
            for number, variant in enumerate(variants, 1):
                for problem in text_problems(purpose, variant):
                    wrong(purpose, problem if len(variants) == 1 else f"text {number} {problem}")
            written[purpose] = tuple(Template(str(variant)) for variant in variants)
    if findings:
        raise MessagesInvalid(findings)

    files = dict.fromkeys(written, file)
    if overridden is None:
        return LocaleTexts(
            locale=tag,
            file=file,
            encoding=Encoding(said["encoding"]),
            with_brand=Template(said["with_brand"]),
            amount=said["amount"],
            texts=written,
            files=files,
        )
    return replace(
        overridden,
        file=file,
        encoding=Encoding(said.get("encoding", overridden.encoding)),
        with_brand=Template(said.get("with_brand", overridden.with_brand.template)),
        amount=said.get("amount", overridden.amount),
        texts={**overridden.texts, **written},
        files={**overridden.files, **files},
    )


def _setting_problems(said: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    if "encoding" in said and said["encoding"] not in list(Encoding):
        yield "encoding", "must be GSM-7 or UCS-2"
    if "amount" in said and said["amount"] not in list(NUMBER_FORMATS):
        yield "amount", f"must be one of {' | '.join(NUMBER_FORMATS)}"
    if "with_brand" in said:
        for problem in _template_problems(
            said["with_brand"], once={"brand", "text"}, allowed=frozenset({"brand", "text"})
        ):
            yield "with_brand", problem


def text_problems(purpose: str, text: object) -> Iterator[str]:
    """Yield what is wrong with one text of a purpose, each as the end of a sentence about it."""
    fields = CONTEXT_FIELDS.get(purpose, frozenset())
    yield from _template_problems(text, once={"code"} | fields, allowed=PLACEHOLDERS | fields)


def _template_problems(
    text: object, *, once: Collection[str], allowed: frozenset[str]
) -> Iterator[str]:
    if not isinstance(text, str):
        yield "must be a string"
        return
    template = Template(text)
    if not template.is_valid():
        yield "has a lone $: write $$ for a dollar sign, and placeholders as $code"
        return
    counts = Counter(
        found["named"] or found["braced"]
        for found in Template.pattern.finditer(text)
        if not found["escaped"]
    )
    for name in template.get_identifiers():
        if name not in allowed:
            yield f"has ${name}, which is not known here; known are {_listed(allowed)}"
    for name in sorted(once):
        if counts[name] != 1:
            yield f"must have ${name} exactly once, and has it {counts[name]} times"
    for name in sorted(counts.keys() & (allowed - set(once))):
        if counts[name] > 1:
            yield f"has ${name} more than once"
    yield from _unsafe_characters(text)


def _listed(names: Collection[str]) -> str:
    return ", ".join(f"${name}" for name in sorted(names))


def _unsafe_characters(text: str) -> Iterator[str]:
    for character in sorted(set(text) & _FORBIDDEN.keys()):
        yield f"has {character}: {_FORBIDDEN[character]}"
    for character in sorted(set(text) - {"\n", *_JOINERS}):
        if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}:
            name = unicodedata.name(character, "a control character")
            yield f"has U+{ord(character):04X} ({name}), which phones show in different ways"
    if looks_like_link(text):
        yield "has something like a link: networks block those, and WSMS may rewrite them"
    if re.search(r"\d{4}", text):
        yield "has four or more digits together, which could be taken for the code"


def looks_like_link(text: str) -> bool:
    """Say whether a phone could make a link of a text or of some of it."""
    return _LINK.search(text) is not None
