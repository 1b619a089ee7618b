import pytest

# The shared parts' assertions should say what they compared, as those of the test modules do.
pytest.register_assert_rewrite("tests.adapters.live")
