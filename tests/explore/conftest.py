"""A browser."""

import pytest

from tests.explore import browser as browsers


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    reason = browsers.missing()
    if reason is not None:
        pytest.skip(reason)
    with browsers.started(tmp_path_factory.mktemp("profile")) as found:
        yield found
