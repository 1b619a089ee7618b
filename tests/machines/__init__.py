import pytest

# The builders' assertions should say what they compared, as those of the test modules do.
pytest.register_assert_rewrite("tests.machines.builders")
