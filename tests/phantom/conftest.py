import pytest

from medssl.phantom.scan import phantom_case


@pytest.fixture(scope="package")
def cases():
    """Phantoms of the usual size, one of every kind of grid; not to be changed."""
    return [phantom_case(seed) for seed in range(4)]
