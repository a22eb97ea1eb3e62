"""The command line, and a browser."""

import pytest

from p3dfeat.cli.app import run
from tests.explore import browser as browsers


@pytest.fixture
def p3dfeat_command(capfd):
    """Runs a command; gives its exit code, stdout and stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = run([str(argument) for argument in arguments])
        printed, said = capfd.readouterr()
        assert "Traceback" not in said
        return code, printed, said

    return call


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    reason = browsers.missing()
    if reason is not None:
        pytest.skip(reason)
    with browsers.started(tmp_path_factory.mktemp("profile")) as found:
        yield found
