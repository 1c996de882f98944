"""What an expected error of a command looks like."""


def require_error(result, *words):
    """Check that a command ended with one clear line and exit status 1."""
    status, _, errors = result
    assert status == 1
    lines = [line for line in errors.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1
    assert "Traceback" not in errors
    assert all(word in lines[0] for word in words), lines
