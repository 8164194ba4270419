"""The list of broken builds is of this code: each breaks something that stands there, and names tests there are."""

import pytest

from tests.docs.attacks import all_tests
from tests.security.broken_builds import BUILDS, ROOT, Build, text_of


@pytest.mark.parametrize("build", BUILDS, ids=lambda build: build.name)
def test_a_broken_build_breaks_what_stands_there(build: Build) -> None:
    for file, old, new in build.edits:
        assert text_of(ROOT / file).count(old) == 1, (file, old)
        assert old != new


@pytest.mark.parametrize("build", BUILDS, ids=lambda build: build.name)
def test_the_tests_that_must_fail_exist_and_speak_of_its_attacks(build: Build) -> None:
    known: dict[tuple[str, str], frozenset[str]] = {}
    for test in all_tests():
        place = (test.file, test.name)
        known[place] = known.get(place, frozenset()) | test.ids
    named = [(test.split("::")[0], test.split("::")[-1]) for test in build.tests]
    assert named
    assert [test for test in named if test not in known] == []
    spoken = frozenset().union(*(known[test] for test in named))
    assert set(build.ids) <= spoken


def test_names_are_names() -> None:
    assert len({build.name for build in BUILDS}) == len(BUILDS)
