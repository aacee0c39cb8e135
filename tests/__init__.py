"""Tests of jupiter, a room of tests for each room of the house."""
