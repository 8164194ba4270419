"""The list of attacks cannot say more than the tests do."""

import re

from tests.docs.attacks import ATTACKS, COUNTS, NOT_HERE, all_tests, controls, read, repelling
from tests.docs.attacks import table as lines_of_table

SOURCE = '''
"""F19: whatever comes when."""

class TestTogether:
    async def test_in_a_class(self):
        """A01, A02, X09: at once."""

def test_f05_by_its_name(): ...

def test_by_its_module():
    """Nothing else."""

def test_the_control():
    """The negative control of A01."""

def helper():
    """K18: no test."""
'''


def test_every_attack_of_the_catalogue_is_listed_once_in_order() -> None:
    wanted = [f"{letter}{n:02}" for letter, count in COUNTS.items() for n in range(1, count + 1)]
    assert list(ATTACKS) == wanted
    assert len(wanted) == 207
    listed = [line.split(" ")[1] for line in lines_of_table() if re.match(r"\| [A-K][0-9]", line)]
    assert listed == wanted


def test_every_attack_is_repelled_by_a_test_or_cannot_be_made_here() -> None:
    assert {attack for attack in ATTACKS if not repelling(attack)} == set(NOT_HERE)


def test_the_tests_of_every_attack_are_known_to_fail_without_its_defence() -> None:
    assert {attack for attack in ATTACKS if not controls(attack)} == set(NOT_HERE)


def test_a_test_speaks_of_the_attacks_and_faults_in_its_docstring_its_name_or_its_module() -> None:
    found = {test.name: (set(test.ids), test.is_control) for test in read(SOURCE, "x/test_y.py")}
    assert found == {
        "test_in_a_class": ({"A01", "A02", "X09"}, False),
        "test_f05_by_its_name": ({"F05"}, False),
        "test_by_its_module": ({"F19"}, False),
        "test_the_control": ({"A01"}, True),
    }


def test_without_its_test_an_attack_is_seen_to_be_open() -> None:
    """The negative control: what is left when the only test of an attack is renamed away."""
    left = list(read(SOURCE.replace("test_f05", "check_f05"), "x/test_y.py"))
    assert not any("F05" in test.ids for test in left)


def test_the_tests_of_this_project_are_found() -> None:
    assert sum(test.is_only_control for test in all_tests()) > 30
    assert len({test.file for test in all_tests()}) > 100
    assert sum(bool(test.ids) for test in all_tests()) > 300
