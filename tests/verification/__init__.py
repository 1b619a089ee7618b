"""Tests of the verification levels."""
