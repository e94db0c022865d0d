"""What is installed may come along with an Apache-2.0 project, or a reason is given."""

import pytest

from tests.licences import EXCEPTIONS, judge, list_licences


def test_every_library_may_come_along():
    """Each that is installed here, with what it brought itself."""
    found = list_licences()
    assert len(found) > 100
    assert [one for one in found.items() if judge(*one) is None] == []


@pytest.mark.parametrize(
    "licence",
    ["", "GPL-3.0-only", "GNU Affero General Public License v3", "MIT AND LGPL-2.1", "Proprietary"],
)
def test_what_asks_for_more_has_to_be_looked_into(licence):
    """Copyleft, even beside another licence, and what says nothing."""
    assert judge("something", licence) is None


def test_exceptions_have_reasons():
    """In words, and name what was chosen or found."""
    assert all(len(reason.split()) > 3 for reason in EXCEPTIONS.values())
