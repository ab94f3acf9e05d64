"""Tests of Flower's links."""
